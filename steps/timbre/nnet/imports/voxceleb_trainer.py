"""voxceleb_trainer: log mel energies of centred frames, brought to mean 0 and variance 1 over the utterance.

ResNetSE34L, ResNetSE34V2 and VGGVox; tdy_weights.py has the same pooling and features.
"""

from typing import Any

import torch
from torch import Tensor

from timbre.feats.options import MelspecOptions, WindowType
from timbre.nnet.imports.foreign import Foreign, Rule, Weights
from timbre.nnet.imports.mapped import Kinds, Mapped, Pooling, tell
from timbre.nnet.imports.residual_planes import outer_rules
from timbre.utils.errors import DataError

FRONT_END = r"(?:torchfb\..*|instancenorm\..*)"  # windows, filters and the like, which are made anew
FLOOR = 1e-5  # of variances


def read(weights: Weights) -> Foreign:
    """What the weights of a model of its models/ are.

    That spectra are of logarithms (its --log_input True) is not told by them: all models that it publishes are. Mel
    filters are those of the checkpoint, or 40 as by default if it has none and the network takes any number.
    """
    kinds: Kinds = {
        "ResNetSE34V2": ("attention.0.weight", _second_version),
        "VGGVox": ("netcnn.0.weight", _vgg),
        "ResNetSE34L": ("layer1.0.se.fc.0.weight", _light),
    }
    mapped = tell(weights, "voxceleb_trainer", kinds)
    emphasis = 0.97 if "attention.0.weight" in weights else 0.0
    return on_mels(mapped, "voxceleb_trainer", "hanning" if "netcnn.0.weight" in weights else "hamming", emphasis)


def on_mels(mapped: Mapped, toolkit: str, window: WindowType, emphasis: float = 0.0) -> Foreign:
    """MAPPED with the features of voxceleb_trainer; the normalisation is part of the network."""
    feats = MelspecOptions(num_mel_bins=mapped.feat_dim, window_type=window, preemphasis_coefficient=emphasis)
    return mapped.on(feats, toolkit, cmn=False, unused=[FRONT_END])


def _second_version(weights: Weights) -> Mapped:
    stem, pooled = weights.size("conv1.weight"), weights.size("attention.0.weight", 1)
    if weights.size("fc.weight", 1) != 2 * pooled:
        raise DataError("encoder_type SAP of ResNetSE34V2 is not known here: ASP is", weights.path)
    pooling = {
        "class_path": "AttentiveStatisticsPooling",
        "init_args": {
            "bottleneck": weights.size("attention.0.weight"),
            "global_context": False,
            "hidden": "relu_norm",
            "variance_floor": FLOOR,
        },
    }
    options = {"strides": [1, 2, 2, 2], "relu_first": "everywhere"}
    rules: list[Rule] = [
        (r"attention\.0\.(\w+)", r"poolings.0.frame.\1"),
        (r"attention\.2\.(\w+)", r"poolings.0.between.1.\1"),
        (r"attention\.3\.(\w+)", r"poolings.0.attention.\1"),
    ]
    return Mapped(_network(_resnet(weights, options), pooling, weights), pooled // stem, [*_rules(), *rules])


def _light(weights: Weights) -> Mapped:
    options = {"strides": [1, 2, 2, 1], "stem_kernel": 7, "stem_stride": [2, 1], "relu_first": "blocks", "num_bins": 1}
    pooling, rules, changed = pool_frames(weights, 8 * weights.size("conv1.weight"))
    feat_dim = next((weights.size(name, 1) for name in weights if name.endswith("mel_scale.fb")), 40)
    network = _network(_resnet(weights, options), pooling, weights)
    return Mapped(network, feat_dim, [*_rules(), *rules], changed)


def _resnet(weights: Weights, options: dict[str, Any]) -> dict[str, Any]:
    """The trunk of both: a ResNet with squeeze-excitation."""
    stem = weights.size("conv1.weight")
    sizes = {
        "channels": [stem << stage for stage in range(4)],
        "blocks": [weights.count(rf"layer{stage}\.(\d+)\.") for stage in range(1, 5)],
        "attention": "se",
        "reduction": stem // weights.size("layer1.0.se.fc.0.weight"),
    }
    return {"class_path": "ResNet", "init_args": {**sizes, **options}}


def _network(trunk: dict[str, Any], pooling: dict[str, Any], weights: Weights) -> dict[str, Any]:
    return {
        "trunk": trunk,
        "pooling": pooling,
        "embedding_dim": weights.size("fc.weight"),
        "instance_norm": True,
    }


def _rules() -> list[Rule]:
    """Of the ResNets, but the pooling."""
    rules = [*outer_rules(), (r"fc\.(\w+)", r"segment.0.\1")]
    for stage in range(4):
        there, here = rf"layer{stage + 1}\.(\d+)", rf"trunk.blocks.{stage}.\1"
        rules += [
            (rf"{there}\.conv(\d)\.weight", rf"{here}.conv\2.conv.weight"),
            (rf"{there}\.bn(\d)\.(\w+)", rf"{here}.conv\2.norm.\3"),
            (rf"{there}\.se\.fc\.(\d)\.(\w+)", rf"{here}.attention.gate.\2.\3"),
        ]
    return rules


def pool_frames(weights: Weights, channels: int) -> Pooling:
    """The pooling of frames of CHANNELS: self-attentive (SAP), with deviations (ASP), or the mean if it has no weights.

    That of maxima (MAX) cannot be told from the mean.
    """
    if "sap_linear.weight" not in weights:
        return {"class_path": "MeanPooling"}, [], {}
    hidden, changed = "hidden", {}
    pooling: dict[str, Any] = {"class_path": "SelfAttentivePooling"}
    if weights.size("fc.weight", 1) != channels:
        hidden, changed = "frame", {"poolings.0.attention.bias": torch.zeros(1)}
        sizes = {"bottleneck": channels, "global_context": False, "channel_dependent": False, "variance_floor": FLOOR}
        pooling = {"class_path": "AttentiveStatisticsPooling", "init_args": sizes}
    rules: list[Rule] = [
        (r"sap_linear\.(\w+)", rf"poolings.0.{hidden}.\1"),
        (r"attention", "poolings.0.attention.weight"),
    ]
    return pooling, rules, changed


def _vgg(weights: Weights) -> Mapped:
    """VGGVox, whose convolutions but the first have offsets that BatchNorm takes away: here its means are without."""
    layers = [index for index in range(32) if f"netcnn.{index}.running_mean" in weights]
    pooling, rules, changed = pool_frames(weights, weights.size("fc.weight", 1))
    channels = [weights.size(f"netcnn.{index}.running_mean") for index in layers]
    trunk = {"class_path": "VggM", "init_args": {"channels": channels, "num_kernels": 1}}
    means: dict[str, Tensor] = {}
    moved: list[str] = []
    rules.append((r"fc\.(\w+)", r"segment.0.\1"))
    for layer, index in enumerate(layers):
        there, norm, here = f"netcnn.{index - 1}", f"netcnn.{index}", f"trunk.layers.{layer}"
        rules += [
            (rf"{there}\.weight", f"{here}.convolution.basis.weight", time_first),
            (rf"{there}\.bias", f"{here}.convolution.basis.bias"),
            (rf"{norm}\.(\w+)", rf"{here}.norm.\1"),
        ]
        if layer:
            means[f"{here}.norm.running_mean"] = weights[f"{norm}.running_mean"] - weights[f"{there}.bias"]
            moved += [rf"{norm}\.running_mean", rf"{there}\.bias"]
    return Mapped(_network(trunk, pooling, weights), 40, rules, {**changed, **means}, moved)


def time_first(weight: Tensor) -> Tensor:
    """WEIGHT (..., frequencies, frames) of a convolution as (..., frames, frequencies)."""
    return weight.transpose(-1, -2)
