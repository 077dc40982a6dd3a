"""TDY-CNN (temporal_dynamic_cnn): networks of temporal dynamic convolutions on the features of voxceleb_trainer.

TDy_ResNet34_quarter and _half, their ordinary ResNets, and TDy_VGGVox. Planes there have frequency before time, and
channels before both when they become frames; here it is the other way round.
"""

from functools import partial

import torch
from torch import Tensor

from timbre.nnet.imports.foreign import Change, Foreign, Rule, Weights
from timbre.nnet.imports.mapped import Kinds, Mapped, tell
from timbre.nnet.imports.voxceleb_trainer import on_mels, pool_frames, time_first
from timbre.utils.errors import DataError

# of a block: convolution and norm there, and here
PARTS = (
    ("conv1", "bn1", "conv1", "norm1"),
    ("conv2", "bn2", "conv2", "norm2"),
    ("downsample.0", "downsample.1", "shortcut", "shortcut_norm"),
)


def read(weights: Weights) -> Foreign:
    """What the weights of a model of its models/ are; temperatures are 1, as at the end of training."""
    kinds: Kinds = {
        "TDy_VGGVox": ("layer6.0.weight", _vgg),
        "TDy_ResNet34 or ResNet34": ("layer1.0.conv1.weight", _resnet),
    }
    mapped = tell(weights, "temporal_dynamic_cnn", kinds)
    return on_mels(mapped, "tdy", "hanning" if "layer6.0.weight" in weights else "hamming")


def _resnet(weights: Weights) -> Mapped:
    stem = weights.size("conv1.weight")
    channels = [stem << stage for stage in range(4)]
    blocks = [weights.count(rf"layer{stage}\.(\d+)\.") for stage in range(1, 5)]
    first = weights["layer1.0.conv1.weight"]
    num_kernels = first.shape[0] if first.dim() == 5 else 1
    size = weights.size("sap_linear.weight" if "sap_linear.weight" in weights else "fc.weight", 1)
    if size % channels[-1]:
        raise DataError(f"frames of {size} channels: not a multiple of {channels[-1]}, of the last stage", weights.path)
    pooling, rules, changed = pool_frames(weights, size)
    by_bin = _by_bin(channels[-1], size)
    if "sap_linear.weight" in weights:
        rules.insert(0, (r"sap_linear\.weight", rules[0][1].replace(r"\1", "weight"), by_bin))
    rules += [
        (r"conv1\.weight", "trunk.stem.0.weight", time_first),
        (r"bn1\.(\w+)", r"trunk.stem.1.\1"),
        (r"fc\.weight", "segment.0.weight", by_bin),
        (r"fc\.bias", "segment.0.bias"),
    ]
    number = 0
    for stage, count in enumerate(blocks):
        for index in range(count):
            there, here = f"layer{stage + 1}.{index}", f"trunk.blocks.{number}"
            for old, old_norm, new, norm in PARTS:
                rules += _convolution(weights, f"{there}.{old}", f"{here}.{new}")
                rules.append((rf"{there}.{old_norm}\.(\w+)", rf"{here}.{norm}.\1"))
            number += 1
    options = {"channels": channels, "blocks": blocks, "num_kernels": num_kernels, "temperature": 1}
    network = {
        "trunk": {"class_path": "TdyResNet", "init_args": options},
        "pooling": pooling,
        "embedding_dim": weights.size("fc.weight"),
        "instance_norm": True,
    }
    return Mapped(network, 8 * size // channels[-1], rules, {**changed, **_temperatures(weights, rules)})


def _vgg(weights: Weights) -> Mapped:
    layers = range(1, 1 + weights.count(r"layer(\d+)\.1\.running_mean"))
    channels = [weights.size(f"layer{layer}.1.running_mean") for layer in layers]
    pooling, rules, changed = pool_frames(weights, channels[-1])
    rules += [
        (r"layer1\.0\.weight", "trunk.layers.0.convolution.basis.weight", time_first),
        (r"layer1\.0\.bias", "trunk.layers.0.convolution.basis.bias"),
        (r"fc\.(\w+)", r"segment.0.\1"),
    ]
    for layer in layers:
        rules.append((rf"layer{layer}\.1\.(\w+)", rf"trunk.layers.{layer - 1}.norm.\1"))
        if layer > 1:
            rules += _convolution(weights, f"layer{layer}.0", f"trunk.layers.{layer - 1}.convolution")
    num_kernels = weights.size("layer2.0.weight")
    options = {"channels": channels, "num_kernels": num_kernels, "temperature": 1}
    network = {
        "trunk": {"class_path": "VggM", "init_args": options},
        "pooling": pooling,
        "embedding_dim": weights.size("fc.weight"),
        "instance_norm": True,
    }
    return Mapped(network, 64, rules, {**changed, **_temperatures(weights, rules)})


def _convolution(weights: Weights, there: str, here: str) -> list[Rule]:
    """Of a convolution, dynamic or ordinary, if it is there."""
    if f"{there}.weight" not in weights:
        return []
    name = there.replace(".", r"\.")
    rules: list[Rule] = [(rf"{name}\.weight", f"{here}.basis.weight", _mixed)]
    if f"{there}.attention.fc1.weight" in weights:
        inputs, size = weights.size(f"{there}.weight", 2), weights.size(f"{there}.attention.fc1.weight", 1)
        rules += [
            (rf"{name}\.attention\.fc1\.weight", f"{here}.attention.squeeze.weight", _by_bin(inputs, size)),
            (rf"{name}\.attention\.bn\.(\w+)", rf"{here}.attention.norm.\1"),
            (rf"{name}\.attention\.fc2\.(\w+)", rf"{here}.attention.score.\1"),
        ]
    return rules


def _temperatures(weights: Weights, rules: list[Rule]) -> dict[str, Tensor]:
    """1 for each attention."""
    ends = [rule[1].removesuffix("squeeze.weight") for rule in rules if rule[1].endswith("attention.squeeze.weight")]
    return {f"{end}temperature": torch.tensor(1.0) for end in ends}


def _mixed(weight: Tensor) -> Tensor:
    """Basis kernels (K, O, I, F, T) as outputs of one convolution, those of a channel together: (O * K, I, T, F)."""
    if weight.dim() == 5:
        weight = weight.transpose(0, 1).flatten(0, 1)
    return time_first(weight)


def _order(weight: Tensor, channels: int, size: int) -> Tensor:
    parts = torch.unflatten(weight, 1, (-1, channels, size // channels))  # two of them: means and deviations
    return parts.transpose(2, 3).flatten(1, 3)


def _by_bin(channels: int, size: int) -> Change:
    """For a weight (N, SIZE, ...), or of twice SIZE, of frames of CHANNELS times bins: bin by bin."""
    return partial(_order, channels=channels, size=size)
