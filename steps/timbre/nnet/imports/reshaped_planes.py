"""ReDimNet as its authors and WeSpeaker name its weights; the modules of both call read_redimnet."""

from typing import Any

import torch
from torch import Tensor

from timbre.nnet.imports.foreign import Rule, Weights
from timbre.nnet.imports.mapped import Mapped, statistics
from timbre.nnet.imports.voxceleb_trainer import time_first
from timbre.utils.errors import DataError

FLOOR = 1e-7  # of variances, in both


def read_redimnet(weights: Weights, settings: dict[str, Any], rules: list[Rule]) -> Mapped:
    """The network that WEIGHTS are.

    Args:
        weights: those of `backbone` and `pool`
        settings: of what follows the pooling
        rules: for it
    """
    channels = weights.size("backbone.stem.0.weight")
    pooling, pooling_rules, changed = statistics(weights, FLOOR)
    volume = weights.size("seg_1.weight" if "seg_1.weight" in weights else "linear.weight", 1) // 2
    rules = [
        *rules,
        *pooling_rules,
        (r"backbone\.stem\.0\.weight", "trunk.stem.filters.weight", time_first),
        (r"backbone\.stem\.0\.bias", "trunk.stem.filters.bias"),
        (r"backbone\.stem\.1\.(\w+)", r"trunk.stem_norm.\1"),
    ]
    sizes: dict[str, list[int]] = {name: [] for name in ("strides", "blocks", "expansions", "reductions")}
    num_stages = weights.count(r"backbone\.stage(\d+)\.")
    width, kind, group_width = channels, "convnext", 1
    for stage in range(num_stages):
        there, here = f"backbone.stage{stage}", f"trunk.parts.{stage}"
        by_number = sorted({int(name.split(".")[2]) for name in weights if name.startswith(f"{there}.")})
        by_number = [number for number in by_number if f"{there}.{number}.w" not in weights]
        entry, blocks, context = f"{there}.{by_number[0]}", 0, 0
        stride = weights.size(f"{entry}.weight", 2)
        width *= stride
        sizes["strides"].append(stride)
        sizes["expansions"].append(weights.size(f"{entry}.weight") // width)
        name = _escaped(entry)
        rules += [
            (rf"{name}\.weight", f"{here}.planes.entry.weight", _entry),
            (rf"{name}\.bias", f"{here}.planes.entry.bias"),
        ]
        for number in by_number[1:]:
            part = f"{there}.{number}"
            if f"{part}.red_dim_conv.0.weight" in weights:
                context = volume // weights.size(f"{part}.red_dim_conv.0.weight")
                rules += _context(part, f"{here}.context")
                changed |= _projections(weights, part, f"{here}.context.attention.project")
            elif f"{part}.3.weight" in weights:
                rules += _contraction(part, f"{here}.planes.exit")
            else:
                found, group_width = _block(weights, part)
                kind = found
                rules += _block_rules(f"{part}.conv_block", f"{here}.planes.blocks.{blocks}")
                blocks += 1
        sizes["blocks"].append(blocks)
        sizes["reductions"].append(context)
        rules += [
            (rf"backbone\.inputs_weights\.{stage + 1}", f"trunk.sums.{stage}.scores"),
            (rf"backbone\.stage{stage + 1}\.0\.w", f"trunk.sums.{stage}.scores"),
        ]
    rules.append((r"backbone\.fin_wght1d\.w", f"trunk.sums.{num_stages - 1}.scores"))
    trunk = {
        "class_path": "ReDimNet",
        "init_args": {"channels": channels, **sizes, "block": kind, "group_width": group_width},
    }
    unused = [r"backbone\.inputs_weights\.0", r"backbone\.stage0\.0\.w", r".*\.[qkv]_proj\.(?:weight|bias)"]
    network = {"trunk": trunk, "pooling": pooling, **settings}
    return Mapped(network, volume // channels, rules, changed, unused)


def _escaped(name: str) -> str:
    return name.replace(".", r"\.")


def _entry(weight: Tensor) -> Tensor:
    """A convolution (outputs, inputs, stride, 1) as a map of neighbouring frequencies: (outputs, stride * inputs)."""
    return weight.squeeze(3).transpose(1, 2).flatten(1)


def _block(weights: Weights, part: str) -> tuple[str, int]:
    """(kind, channels that a filter sees) of a two-dimensional block."""
    if f"{part}.conv_block.dwconvs.0.weight" in weights:
        return "convnext", weights.size(f"{part}.conv_block.dwconvs.0.weight", 1)
    if f"{part}.conv_block.conv1pw.weight" not in weights:
        raise DataError(f"'{part}' is no block of ReDimNet that is known here", weights.path)
    kind = "residual_se" if f"{part}.conv_block.se.squeeze.weight" in weights else "residual"
    return kind, weights.size(f"{part}.conv_block.conv1.weight", 1)


def _block_rules(there: str, here: str) -> list[Rule]:
    there = _escaped(there)
    return [
        (rf"{there}\.dwconvs\.0\.weight", f"{here}.spatial.filters.weight", time_first),
        (rf"{there}\.dwconvs\.0\.bias", f"{here}.spatial.filters.bias"),
        (rf"{there}\.norm\.(\w+)", rf"{here}.norm.\1"),
        (rf"{there}\.pwconv1\.(\w+)", rf"{here}.pointwise.\1"),
        (rf"{there}\.conv(\d)\.weight", rf"{here}.spatial\1.filters.weight", time_first),
        (rf"{there}\.conv(\d)pw\.(\w+)", rf"{here}.pointwise\1.\2"),
        (rf"{there}\.bn(\d)\.(\w+)", rf"{here}.norm\1.\2"),
        (rf"{there}\.se\.squeeze\.(\w+)", rf"{here}.gate.gate.0.\1"),
        (rf"{there}\.se\.exitation\.(\w+)", rf"{here}.gate.gate.2.\1"),
    ]


def _contraction(there: str, here: str) -> list[Rule]:
    there = _escaped(there)
    return [
        (rf"{there}\.0\.weight", f"{here}.spatial.filters.weight", time_first),
        (rf"{there}\.0\.bias", f"{here}.spatial.filters.bias"),
        (rf"{there}\.1\.(\w+)", rf"{here}.norm.\1"),
        (rf"{there}\.3\.(\w+)", rf"{here}.pointwise.\1"),
    ]


def _context(there: str, here: str) -> list[Rule]:
    """Of the layers along time, but the projections of the attention."""
    there = _escaped(there)
    convolution, attention = rf"{there}\.tcm\.(\d+)", rf"{there}\.tcm\.\d+"
    return [
        (rf"{there}\.red_dim_conv\.0\.(\w+)", rf"{here}.reduce.\1"),
        (rf"{there}\.red_dim_conv\.1\.(\w+)", rf"{here}.norm.\1"),
        (rf"{convolution}\.dwconvs\.0\.(\w+)", rf"{here}.convolutions.\1.depthwise.filters.\2"),
        (rf"{convolution}\.norm\.(\w+)", rf"{here}.convolutions.\1.norm.\2"),
        (rf"{convolution}\.pwconv1\.(\w+)", rf"{here}.convolutions.\1.pointwise.\2"),
        (rf"{attention}\.attention\.out_proj\.(\w+)", rf"{here}.attention.combine.\1"),
        (rf"{attention}\.layer_norm\.(\w+)", rf"{here}.attention_norm.\1"),
        (rf"{attention}\.feed_forward\.intermediate_dense\.(\w+)", rf"{here}.feed_forward.0.\1"),
        (rf"{attention}\.feed_forward\.output_dense\.(\w+)", rf"{here}.feed_forward.2.\1"),
        (rf"{attention}\.final_layer_norm\.(\w+)", rf"{here}.feed_forward_norm.\1"),
        (rf"{there}\.exp_dim_conv\.(\w+)", rf"{here}.expand.\1"),
    ]


def _projections(weights: Weights, part: str, here: str) -> dict[str, Tensor]:
    """Query, key and value of the attention, which are one map here."""
    layer = next((name.split(".")[4] for name in weights if name.startswith(part) and ".q_proj." in name), "")
    names = [f"{part}.tcm.{layer}.attention.{letter}_proj" for letter in "qkv"]
    joined: dict[str, Tensor] = {}
    for end in ("weight", "bias"):
        for name in names:
            weights.size(f"{name}.{end}")  # it is there
        joined[f"{here}.{end}"] = torch.cat([weights[f"{name}.{end}"] for name in names])
    return joined
