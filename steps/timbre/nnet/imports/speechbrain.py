"""SpeechBrain: ECAPA-TDNN on decibels of mel filters of even width, whose means over the utterance are subtracted."""

import re

from timbre.feats.normalize import NormalizeOptions
from timbre.feats.options import MelspecOptions
from timbre.nnet.imports.foreign import Change, Foreign, Rule, Weights, as_it_is


def read(weights: Weights) -> Foreign:
    """What the weights of speechbrain.lobes.models.ECAPA_TDNN are (embedding_model.ckpt).

    Dilations are not told by the weights: they are 2, 3, 4, ..., as in all of its recipes. Features are those of Fbank
    with n_mels alone, with InputNormalization by sentence without the variance. There the first group of channels of a
    Res2Net convolution is passed on as it is, here the last one: channels are turned by one group.
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
    context = weights["asp.tdnn.conv.conv.weight"][:, output_channels:]  # the part that sees mean and deviation
    changed = {"poolings.0.context.weight": context} if attention > output_channels else {}
    return Foreign(
        network,
        feat_dim,
        feats,
        f"melspec{feat_dim}_speechbrain",
        NormalizeOptions(cmn="utterance", vad=False),
        _rules(num_blocks, width, output_channels),
        changed=changed,
    )


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
