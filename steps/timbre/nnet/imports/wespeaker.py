"""WeSpeaker: networks on Kaldi's log mel energies (Hamming window), whose means over the utterance are subtracted."""

from functools import partial

from timbre.feats.options import FbankOptions
from timbre.nnet.imports.dense_tdnn import read_campplus
from timbre.nnet.imports.foreign import Foreign, Rule, Weights
from timbre.nnet.imports.mapped import Kinds, Mapped, embedding, statistics, tell
from timbre.nnet.imports.reshaped_planes import read_redimnet
from timbre.nnet.imports.residual_planes import outer_rules, read_planes

FLOOR = 1e-7  # of variances


def read(weights: Weights) -> Foreign:
    """What the weights of a model of wespeaker.models are (avg_model.pt): each network is told by one weight."""
    kinds: Kinds = {
        "ECAPA-TDNN": ("layer1.conv.weight", _ecapa),
        "CAM++": ("xvector.tdnn.linear.weight", partial(read_campplus, floor=FLOOR)),
        "ReDimNet": ("backbone.stem.0.weight", lambda found: read_redimnet(found, *embedding(found))),
        "SimAM-ResNet": ("front.conv1.weight", _simam),
        "x-vector": ("frame_1.conv_1d.weight", partial(read_xvector, floor=FLOOR)),
        "ResNet, Res2Net or ERes2Net": ("layer1.0.conv1.weight", partial(read_planes, floor=FLOOR)),
    }
    mapped = tell(weights, "WeSpeaker", kinds)
    return mapped.on(FbankOptions(num_mel_bins=mapped.feat_dim, window_type="hamming"), "wespeaker")


def _ecapa(weights: Weights) -> Mapped:
    """ECAPA-TDNN; dilations are 2, 3, 4, which weights do not tell."""
    channels, feat_dim = weights.size("layer1.conv.weight"), weights.size("layer1.conv.weight", 1)
    num_blocks = weights.count(r"layer(\d+)\.se_res2block\.")
    pooling, pooling_rules, changed = statistics(weights, FLOOR)
    network = {
        "trunk": {
            "class_path": "EcapaTdnn",
            "init_args": {
                "channels": channels,
                "output_channels": weights.size("conv.weight"),
                "dilations": list(range(2, 2 + num_blocks)),
                "scale": channels // weights.size("layer2.se_res2block.1.convs.0.weight"),
                "bottleneck": weights.size("layer2.se_res2block.3.linear1.weight"),
                "residual": "chain",
            },
        },
        "pooling": pooling,
        "pooling_norm": True,
        "embedding_dim": weights.size("linear.weight"),
        "embedding_norm": "bn2.weight" in weights,
    }
    rules: list[Rule] = [
        (r"layer1\.conv\.(\w+)", r"trunk.stem.affine.\1"),
        (r"layer1\.bn\.(\w+)", r"trunk.stem.norm.\1"),
        (r"conv\.(\w+)", r"trunk.aggregate.\1"),
        *pooling_rules,
        (r"bn\.(\w+)", r"segment.0.\1"),
        (r"linear\.(\w+)", r"segment.1.\1"),
        (r"bn2\.(\w+)", r"segment.2.\1"),
    ]
    for block in range(num_blocks):
        there, here = rf"layer{block + 2}\.se_res2block", f"trunk.blocks.{block}"
        rules += [
            (rf"{there}\.0\.conv\.(\w+)", rf"{here}.before.affine.\1"),
            (rf"{there}\.0\.bn\.(\w+)", rf"{here}.before.norm.\1"),
            (rf"{there}\.1\.convs\.(\d+)\.(\w+)", rf"{here}.res2.layers.\1.affine.\2"),
            (rf"{there}\.1\.bns\.(\d+)\.(\w+)", rf"{here}.res2.layers.\1.norm.\2"),
            (rf"{there}\.2\.conv\.(\w+)", rf"{here}.after.affine.\1"),
            (rf"{there}\.2\.bn\.(\w+)", rf"{here}.after.norm.\1"),
            (rf"{there}\.3\.linear1\.(\w+)", rf"{here}.excitation.gate.0.\1"),
            (rf"{there}\.3\.linear2\.(\w+)", rf"{here}.excitation.gate.2.\1"),
        ]
    return Mapped(network, feat_dim, rules, changed)


def _simam(weights: Weights) -> Mapped:
    """SimAM-ResNet with attentive statistics pooling."""
    stem, pooled = weights.size("front.conv1.weight"), weights.size("pooling.attention.0.weight", 1)
    network = {
        "trunk": {
            "class_path": "SimAMResNet",
            "init_args": {
                "channels": [stem << stage for stage in range(4)],
                "blocks": [weights.count(rf"front\.layer{stage}\.(\d+)\.") for stage in range(1, 5)],
                "strides": [1, 2, 2, 2],
            },
        },
        "pooling": {
            "class_path": "AttentiveStatisticsPooling",
            "init_args": {
                "bottleneck": weights.size("pooling.attention.0.weight"),
                "global_context": False,
                "hidden": "relu_norm",
            },
        },
        "embedding_dim": weights.size("bottleneck.weight"),
    }
    rules: list[Rule] = [
        *outer_rules(r"front\."),
        (r"pooling\.attention\.0\.(\w+)", r"poolings.0.frame.\1"),
        (r"pooling\.attention\.2\.(\w+)", r"poolings.0.between.1.\1"),
        (r"pooling\.attention\.3\.(\w+)", r"poolings.0.attention.\1"),
        (r"bottleneck\.(\w+)", r"segment.0.\1"),
    ]
    for stage in range(4):
        there, here = rf"front\.layer{stage + 1}\.(\d+)", rf"trunk.blocks.{stage}.\1"
        rules += [
            (rf"{there}\.conv(\d)\.weight", rf"{here}.conv\2.conv.weight"),
            (rf"{there}\.bn(\d)\.(\w+)", rf"{here}.conv\2.norm.\3"),
        ]
    return Mapped(network, pooled // stem, rules)


def read_xvector(weights: Weights, floor: float) -> Mapped:
    """The x-vector network, also 3D-Speaker's; kernels and dilations are those of its paper.

    Args:
        weights: those of `frame_1` to `frame_5` and `seg_1`
        floor: what the pooling adds to variances
    """
    pooling, pooling_rules, changed = statistics(weights, floor)
    settings, rules = embedding(weights)
    layers = range(1, 1 + weights.count(r"frame_(\d+)\."))
    channels = [weights.size(f"frame_{layer}.conv_1d.weight") for layer in layers]
    trunk = {"class_path": "XvectorTdnn", "init_args": {"channels": channels, "affine_norm": False}}
    for layer in layers:
        rules += [
            (rf"frame_{layer}\.conv_1d\.(\w+)", rf"trunk.layers.{layer - 1}.affine.\1"),
            (rf"frame_{layer}\.bn\.(\w+)", rf"trunk.layers.{layer - 1}.norm.\1"),
        ]
    feat_dim = weights.size("frame_1.conv_1d.weight", 1)
    return Mapped({"trunk": trunk, "pooling": pooling, **settings}, feat_dim, [*pooling_rules, *rules], changed)
