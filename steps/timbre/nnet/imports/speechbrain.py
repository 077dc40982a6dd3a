"""SpeechBrain: ECAPA-TDNN and ResNet on decibels of mel filters of even width, centred over the utterance."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from timbre.feats.options import MelspecOptions
from timbre.nnet.imports.foreign import Change, Foreign, Rule, Weights, as_it_is
from timbre.runtime.normalize import NormalizeOptions


def read(weights: Weights) -> Foreign:
    """What the weights of an embedding_model.ckpt are: speechbrain.lobes.models.ECAPA_TDNN or .ResNet."""
    return _resnet(weights) if "layer1.0.conv1.weight" in weights else _ecapa(weights)


def _foreign(
    network: dict[str, Any], feat_dim: int, rules: Sequence[Rule], changed: Mapping[str, Tensor] | None = None
) -> Foreign:
    """With the features of Fbank with n_mels alone, and InputNormalization by sentence without the variance."""
    feats = MelspecOptions(
        num_mel_bins=feat_dim,
        round_to_power_of_two=False,
        window_type="hamming",
        filters="even",
        edges="zeros",
        log="decibel",
        log_floor=1e-10,
        range_db=80,
    )
    normalize = NormalizeOptions(cmn="utterance", vad=False)
    return Foreign(network, feat_dim, feats, f"melspec{feat_dim}_speechbrain", normalize, rules, changed=changed or {})


def _resnet(weights: Weights) -> Foreign:
    """ResNet. The weights tell neither strides, which are (1, 2, 2, 2) in its recipe, nor all of the feature dimension,
    which is taken for a multiple of 8. Its planes are (time, frequency), ours the other way round."""
    stages = range(1, 5)
    channels = [weights.size(f"layer{stage}.0.conv1.weight") for stage in stages]
    feat_dim = 8 * (weights.size("attention.0.weight", 1) // channels[-1])
    network = {
        "trunk": {
            "class_path": "PreactivationResNet",
            "init_args": {
                "channels": channels,
                "blocks": [weights.count(rf"layer{stage}\.(\d+)\.conv1") for stage in stages],
                "strides": [1, 2, 2, 2],
                "attention_stages": weights.count(r"layer(\d+)\.0\.se"),
                "reduction": max(1, channels[0] // weights.size("layer1.0.se.fc.0.weight")),
            },
        },
        "pooling": {
            "class_path": "AttentiveStatisticsPooling",
            "init_args": {
                "bottleneck": weights.size("attention.0.weight"),
                "global_context": False,
                "hidden": "relu_norm",
            },
        },
        "pooling_norm": True,
        "embedding_dim": weights.size("fc_embed.weight"),
        "embedding_norm": True,
    }
    rules: list[Rule] = [
        (r"conv1\.weight", "trunk.stem.layer.conv.weight", _turned),
        (r"bn1\.(\w+)", r"trunk.stem.layer.norm.\1"),
        (r"attention\.0\.(\w+)", r"poolings.0.frame.\1"),
        (r"attention\.2\.(\w+)", r"poolings.0.between.1.\1"),
        (r"attention\.3\.(\w+)", r"poolings.0.attention.\1"),
        (r"norm_stats\.(\w+)", r"segment.0.\1"),
        (r"fc_embed\.(\w+)", r"segment.1.\1"),
        (r"norm_embed\.(\w+)", r"segment.2.\1"),
    ]
    for stage in stages:
        there, here = rf"layer{stage}\.(\d+)", rf"trunk.blocks.{stage - 1}.\1"
        for part in range(3):
            rules += [
                (rf"{there}\.bn{part + 1}\.(\w+)", rf"{here}.norms.{part}.\2"),
                (rf"{there}\.conv{part + 1}\.weight", f"{here}.convs.{part}.weight", _turned),
            ]
        rules += [
            (rf"{there}\.se\.fc\.(\d)\.(\w+)", rf"{here}.attention.gate.\2.\3"),
            (rf"{there}\.downsample\.0\.weight", f"{here}.shortcut.conv.weight"),
            (rf"{there}\.downsample\.1\.(\w+)", rf"{here}.shortcut.norm.\2"),
        ]
    return _foreign(network, feat_dim, rules)


def _turned(weight: Tensor) -> Tensor:
    return weight.transpose(2, 3)


def _ecapa(weights: Weights) -> Foreign:
    """ECAPA_TDNN. Dilations are not told by the weights: they are 2, 3, 4, ..., as in all of its recipes.

    There the first group of channels of a Res2Net convolution is passed on as it is, here the last one: channels are
    turned by one group.
    """
    feat_dim, channels = weights.size("blocks.0.conv.conv.weight", 1), weights.size("blocks.0.conv.conv.weight")
    width = weights.size("blocks.1.res2net_block.blocks.0.conv.conv.weight")
    output_channels = weights.size("mfa.conv.conv.weight")
    attention, num_blocks = weights.size("asp.tdnn.conv.conv.weight", 1), weights.count(r"blocks\.(\d+)\.tdnn1\.")
    network = {
        "trunk": {
            "class_path": "EcapaTdnn",
            "init_args": {
                "channels": channels,
                "output_channels": output_channels,
                "dilations": list(range(2, 2 + num_blocks)),
                "scale": channels // width,
                "bottleneck": weights.size("blocks.1.se_block.conv1.conv.weight"),
                "residual": "chain",
                "padding": "reflect",
                "output_norm": True,
            },
        },
        "pooling": {
            "class_path": "AttentiveStatisticsPooling",
            "init_args": {
                "bottleneck": weights.size("asp.tdnn.conv.conv.weight"),
                "global_context": attention > output_channels,
                "hidden": "relu_norm_tanh",
                "variance_floor": 1e-12,
            },
        },
        "pooling_norm": True,
        "embedding_dim": weights.size("fc.conv.weight"),
    }
    context = weights["asp.tdnn.conv.conv.weight"][:, output_channels:]  # the part that sees mean and deviation
    changed = {"poolings.0.context.weight": context} if attention > output_channels else {}
    return _foreign(network, feat_dim, _rules(num_blocks, width, output_channels), changed)


def _rules(num_blocks: int, width: int, output_channels: int) -> list[Rule]:
    rules = _layer(r"blocks\.0", "trunk.stem")
    for block in range(num_blocks):
        there, here = rf"blocks\.{block + 1}", f"trunk.blocks.{block}"
        rules += [
            *_layer(rf"{there}\.tdnn1", f"{here}.before", lambda weight: weight.roll(-width, 0)),
            *_layer(rf"{there}\.res2net_block\.blocks\.(\d+)", rf"{here}.res2.layers.\1"),
            (
                rf"{there}\.tdnn2\.conv\.conv\.weight",
                f"{here}.after.affine.weight",
                lambda weight: weight.roll(-width, 1),
            ),
            *_layer(rf"{there}\.tdnn2", f"{here}.after"),
            (rf"{there}\.se_block\.conv1\.conv\.(\w+)", rf"{here}.excitation.gate.0.\1"),
            (rf"{there}\.se_block\.conv2\.conv\.(\w+)", rf"{here}.excitation.gate.2.\1"),
        ]
    return [
        *rules,
        (r"mfa\.conv\.conv\.(\w+)", r"trunk.aggregate.\1"),
        (r"mfa\.norm\.norm\.(\w+)", r"trunk.norm.\1"),
        (r"asp\.tdnn\.conv\.conv\.weight", "poolings.0.frame.weight", lambda weight: weight[:, :output_channels]),
        (r"asp\.tdnn\.conv\.conv\.bias", "poolings.0.frame.bias"),
        (r"asp\.tdnn\.norm\.norm\.(\w+)", r"poolings.0.between.1.\1"),
        (r"asp\.conv\.conv\.(\w+)", r"poolings.0.attention.\1"),
        (r"asp_bn\.norm\.(\w+)", r"segment.0.\1"),
        (r"fc\.conv\.(\w+)", r"segment.1.\1"),
    ]


def _layer(there: str, here: str, change: Change = as_it_is) -> list[Rule]:
    """Of a TDNNBlock; THERE may have one group, which HERE names."""
    name = rf"\{re.compile(there).groups + 1}"
    return [
        (rf"{there}\.conv\.conv\.(\w+)", f"{here}.affine.{name}", change),
        (rf"{there}\.norm\.norm\.num_batches_tracked", f"{here}.norm.num_batches_tracked"),
        (rf"{there}\.norm\.norm\.(\w+)", f"{here}.norm.{name}", change),
    ]
