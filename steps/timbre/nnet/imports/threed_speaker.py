"""3D-Speaker: networks on Kaldi's log mel energies of samples in [-1, 1), less their means over the utterance."""

from dataclasses import replace
from functools import partial

from timbre.feats.options import FbankOptions
from timbre.nnet.imports import speechbrain
from timbre.nnet.imports.dense_tdnn import read_campplus
from timbre.nnet.imports.foreign import Foreign, Weights
from timbre.nnet.imports.mapped import CLASSIFIERS, Kinds, tell
from timbre.nnet.imports.residual_planes import read_planes
from timbre.nnet.imports.wespeaker import read_xvector

FLOOR = 1e-8  # of variances


def read(weights: Weights) -> Foreign:
    """What the weights of a model of speakerlab.models are; its ECAPA-TDNN is SpeechBrain's."""
    if "blocks.0.conv.conv.weight" in weights:
        foreign = speechbrain.read(weights)
        feats = FbankOptions(num_mel_bins=foreign.feat_dim, unit_scale=True)
        return replace(foreign, feats=feats, feats_name=f"fbank{foreign.feat_dim}_3dspeaker", unused=[CLASSIFIERS])
    kinds: Kinds = {
        "CAM++": ("xvector.tdnn.linear.weight", partial(read_campplus, floor=0.0)),
        "x-vector": ("frame_1.conv_1d.weight", partial(read_xvector, floor=FLOOR)),
        "ResNet, Res2Net, ERes2Net or ERes2NetV2": ("layer1.0.conv1.weight", partial(read_planes, floor=FLOOR)),
    }
    mapped = tell(weights, "3D-Speaker", kinds)
    return mapped.on(FbankOptions(num_mel_bins=mapped.feat_dim, unit_scale=True), "3dspeaker")
