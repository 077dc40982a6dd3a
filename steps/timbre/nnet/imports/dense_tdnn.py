"""CAM++ as WeSpeaker and 3D-Speaker name its weights; the modules of both call read_campplus."""

import torch

from timbre.nnet.imports.foreign import Rule, Weights
from timbre.nnet.imports.mapped import Mapped, statistics

DILATIONS = (1, 2, 2)  # of the blocks, which weights do not tell


def read_campplus(weights: Weights, floor: float) -> Mapped:
    """The network that WEIGHTS are.

    Their layer before the last BatchNorm has no bias: it is zero here.

    Args:
        weights: those of `head` and `xvector`
        floor: what the pooling adds to variances
    """
    planes, frames = weights.size("head.conv1.weight"), weights.size("xvector.tdnn.linear.weight", 1)
    first = "xvector.block1.tdnnd1"
    bottleneck = weights.size(f"{first}.linear1.weight")
    num_blocks = weights.count(r"xvector\.block(\d+)\.")
    layers = [weights.count(rf"xvector\.block{block + 1}\.tdnnd(\d+)\.") for block in range(num_blocks)]
    embedding_dim = weights.size("xvector.dense.linear.weight")
    pooling, pooling_rules, changed = statistics(weights, floor)
    network = {
        "trunk": {
            "class_path": "CamPlusPlus",
            "init_args": {
                "planes": planes,
                "stem_channels": weights.size("xvector.tdnn.linear.weight"),
                "growth": weights.size(f"{first}.cam_layer.linear_local.weight"),
                "bottleneck": bottleneck,
                "blocks": layers,
                "dilations": list(DILATIONS[:num_blocks]),
                "reduction": bottleneck // weights.size(f"{first}.cam_layer.linear1.weight"),
            },
        },
        "pooling": pooling,
        "embedding_dim": embedding_dim,
        "embedding_norm": True,
        "affine_norm": "xvector.dense.nonlinear.batchnorm.weight" in weights,
    }
    rules = [*_front_end(), *pooling_rules]
    for block, num_layers in enumerate(layers):
        rules += _block(block, num_layers)
    return Mapped(network, 8 * frames // planes, rules, {**changed, "segment.0.bias": torch.zeros(embedding_dim)})


def _front_end() -> list[Rule]:
    """All but the blocks."""
    rules: list[Rule] = []
    for index in range(4):
        there, here = rf"head\.layer{1 + index // 2}\.{index % 2}", f"trunk.front_end.blocks.{index}"
        rules += [
            (rf"{there}\.conv(\d)\.weight", rf"{here}.conv\1.weight"),
            (rf"{there}\.bn(\d)\.(\w+)", rf"{here}.norm\1.\2"),
            (rf"{there}\.shortcut\.(\d)\.(\w+)", rf"{here}.shortcut.\1.\2"),
        ]
    return [
        *rules,
        (r"head\.conv1\.weight", "trunk.front_end.entry.weight"),
        (r"head\.bn1\.(\w+)", r"trunk.front_end.entry_norm.\1"),
        (r"head\.conv2\.weight", "trunk.front_end.exit.weight"),
        (r"head\.bn2\.(\w+)", r"trunk.front_end.exit_norm.\1"),
        (r"xvector\.tdnn\.linear\.weight", "trunk.stem.weight"),
        (r"xvector\.tdnn\.nonlinear\.batchnorm\.(\w+)", r"trunk.stem_norm.\1"),
        (r"xvector\.out_nonlinear\.batchnorm\.(\w+)", r"trunk.norm.\1"),
        (r"xvector\.dense\.linear\.weight", "segment.0.weight"),
        (r"xvector\.dense\.nonlinear\.batchnorm\.(\w+)", r"segment.1.\1"),
    ]


def _block(block: int, num_layers: int) -> list[Rule]:
    """Of a dense block and what halves its channels."""
    transit = rf"xvector\.transit{block + 1}"
    rules: list[Rule] = [
        (rf"{transit}\.nonlinear\.batchnorm\.(\w+)", rf"trunk.transits.{block}.norm.\1"),
        (rf"{transit}\.linear\.weight", f"trunk.transits.{block}.affine.weight"),
    ]
    for layer in range(num_layers):
        there, here = rf"xvector\.block{block + 1}\.tdnnd{layer + 1}", f"trunk.blocks.{block}.{layer}"
        rules += [
            (rf"{there}\.nonlinear1\.batchnorm\.(\w+)", rf"{here}.bottleneck.norm.\1"),
            (rf"{there}\.linear1\.weight", f"{here}.bottleneck.affine.weight"),
            (rf"{there}\.nonlinear2\.batchnorm\.(\w+)", rf"{here}.norm.\1"),
            (rf"{there}\.cam_layer\.linear_local\.weight", f"{here}.convolution.weight"),
            (rf"{there}\.cam_layer\.linear1\.(\w+)", rf"{here}.context.gate.0.\1"),
            (rf"{there}\.cam_layer\.linear2\.(\w+)", rf"{here}.context.gate.2.\1"),
        ]
    return rules
