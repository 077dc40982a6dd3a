"""Residual networks on the (frequency, time) plane as WeSpeaker and 3D-Speaker name their weights.

ResNet, Res2Net, ERes2Net and ERes2NetV2; the modules of both toolkits call read_planes.
"""

from typing import Any

from torch import Tensor

from timbre.nnet.imports.foreign import Change, Rule, Weights
from timbre.nnet.imports.mapped import Mapped, embedding, statistics
from timbre.utils.errors import DataError

LIMIT = 20.0  # of ReLU in the blocks of Res2Net and ERes2Net
# where a part of theirs is, among those between stages: of ERes2Net and of ERes2NetV2
JOINTS = {"fuse_mode12": 0, "fuse_mode123": 1, "fuse_mode1234": 2, "fuse34": 0}
DOWNSAMPLES = {"layer1_downsample": 0, "layer2_downsample": 1, "layer3_downsample": 2, "layer3_ds": 0}


def read_planes(weights: Weights, floor: float) -> Mapped:
    """The network that WEIGHTS are.

    Poolings without weights are not told by them: mean and standard deviation, as in all recipes of both.

    Args:
        weights: those of `conv1`, `layer1` to `layer4`, `pool` and `seg_1`
        floor: what the pooling adds to variances
    """
    stem = weights.size("conv1.weight")
    channels = [stem << stage for stage in range(4)]
    sizes: dict[str, Any] = {
        "channels": channels,
        "blocks": [weights.count(rf"layer{stage}\.(\d+)\.") for stage in range(1, 5)],
        "strides": [1, 2, 2, 2],
    }
    expansion = weights.size("layer1.0.conv3.weight") // stem if "layer1.0.conv3.weight" in weights else 1
    changed: dict[str, Tensor] = {}
    if "layer1.0.convs.0.weight" in weights or "layer1.0.conv2_1.weight" in weights:
        trunk, rules = _res2net(weights, sizes, expansion)
        for name in weights:
            if name.endswith("local_att.0.weight"):
                changed[_second(name)] = weights[name].chunk(2, 1)[1]
    else:
        block = "bottleneck" if expansion > 1 else "basic"
        trunk = {"class_path": "ResNet", "init_args": {**sizes, "block": block, "expansion": expansion}}
        rules = []
        for stage in range(4):
            there, here = rf"layer{stage + 1}\.(\d+)", rf"trunk.blocks.{stage}.\1"
            rules += [
                (rf"{there}\.conv(\d)\.weight", rf"{here}.conv\2.conv.weight"),
                (rf"{there}\.bn(\d)\.(\w+)", rf"{here}.conv\2.norm.\3"),
            ]
    pooling, pooling_rules, pooling_changed = statistics(weights, floor)
    pooled = weights.size("seg_1.weight", 1)
    last = channels[-1] * expansion
    if pooled % (2 * last):
        raise DataError(f"'seg_1.weight' takes {pooled}: not mean and deviation of {last} channels", weights.path)
    settings, embedding_rules = embedding(weights)
    return Mapped(
        {"trunk": trunk, "pooling": pooling, **settings},
        8 * pooled // (2 * last),
        [*rules, *outer_rules(), *pooling_rules, *embedding_rules],
        {**changed, **pooling_changed},
    )


def outer_rules(there: str = "") -> list[Rule]:
    """Rules for the first convolution, and for the ways around blocks; THERE is what all names begin with."""
    rules: list[Rule] = [
        (rf"{there}conv1\.(\w+)", r"trunk.stem.layer.conv.\1"),
        (rf"{there}bn1\.(\w+)", r"trunk.stem.layer.norm.\1"),
    ]
    for stage in range(4):
        around = rf"{there}layer{stage + 1}\.(\d+)\.(?:shortcut|downsample)"
        rules += [
            (rf"{around}\.0\.weight", rf"trunk.blocks.{stage}.\1.shortcut.conv.weight"),
            (rf"{around}\.1\.(\w+)", rf"trunk.blocks.{stage}.\1.shortcut.norm.\2"),
        ]
    return rules


def _res2net(weights: Weights, sizes: dict[str, Any], expansion: int) -> tuple[dict[str, Any], list[Rule]]:
    """(trunk, rules) of Res2Net or ERes2Net."""
    width = weights.size("layer4.0.convs.0.weight")
    scale = weights.size("layer4.0.conv1.weight") // width
    local = sum(f"layer{stage}.0.fuse_models.0.local_att.0.weight" in weights for stage in range(1, 5))
    group_width = width / sizes["channels"][-1]
    options = {"expansion": expansion, "scale": scale, "group_width": group_width, "relu_limit": LIMIT}
    joined = sum(f"{name}.weight" in weights for name in DOWNSAMPLES)
    trunk = {"class_path": "Res2Net", "init_args": {**sizes, **options}}
    if joined:
        fusions = {"local_fusion": local, "global_fusion": 1 + joined}
        trunk = {"class_path": "ERes2Net", "init_args": {**sizes, **options, **fusions}}
    rules: list[Rule] = []
    for stage in range(4):
        there, here = rf"layer{stage + 1}\.(\d+)", rf"trunk.blocks.{stage}.\1"
        first = 1 if f"layer{stage + 1}.0.conv2_1.weight" in weights else 0  # of convs there: it has the first apart
        rules += [
            (rf"{there}\.conv1\.weight", f"{here}.before.conv.weight"),
            (rf"{there}\.bn1\.(\w+)", rf"{here}.before.norm.\2"),
            (rf"{there}\.conv2_1\.weight", f"{here}.convs.0.conv.weight"),
            (rf"{there}\.bn2_1\.(\w+)", rf"{here}.convs.0.norm.\2"),
            (rf"{there}\.conv3\.weight", f"{here}.after.conv.weight"),
            (rf"{there}\.bn3\.(\w+)", rf"{here}.after.norm.\2"),
        ]
        for index in range(scale):
            rules += [
                (rf"{there}\.convs\.{index}\.weight", f"{here}.convs.{index + first}.conv.weight"),
                (rf"{there}\.bns\.{index}\.(\w+)", rf"{here}.convs.{index + first}.norm.\2"),
                *_fusion(rf"{there}\.fuse_models\.{index}", f"{here}.fusions.{index}", r"\2"),
            ]
    for name, place in DOWNSAMPLES.items():
        rules.append((rf"{name}\.weight", f"trunk.downsamples.{place}.weight"))
    for name, place in JOINTS.items():
        rules += _fusion(name, f"trunk.fusions.{place}", r"\1")
    return trunk, rules


def _first_half(weight: Tensor) -> Tensor:
    return weight.chunk(2, 1)[0]


def _fusion(there: str, here: str, last: str) -> list[Rule]:
    """Of an attentional fusion; LAST is the group of the last part of a name."""
    halved: Change = _first_half  # the convolution of the first of the two planes: that of the other is in `changed`
    return [
        (rf"{there}\.local_att\.0\.weight", f"{here}.first.weight", halved),
        (rf"{there}\.local_att\.0\.bias", f"{here}.first.bias"),
        (rf"{there}\.local_att\.1\.(\w+)", f"{here}.gate.0.{last}"),
        (rf"{there}\.local_att\.3\.(\w+)", f"{here}.gate.2.{last}"),
        (rf"{there}\.local_att\.4\.(\w+)", f"{here}.gate.3.{last}"),
    ]


def _second(name: str) -> str:
    """Where the second half of the weight NAME of a fusion goes."""
    parts = name.split(".")
    if parts[0] in JOINTS:
        return f"trunk.fusions.{JOINTS[parts[0]]}.second.weight"
    return f"trunk.blocks.{int(parts[0].removeprefix('layer')) - 1}.{parts[1]}.fusions.{parts[3]}.second.weight"
