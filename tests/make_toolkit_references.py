#!/usr/bin/env python3
"""Embeddings of other toolkits, from their own code and front ends, for tests/nnet/test_toolkits.py.

    python tests/make_toolkit_references.py NAME_OR_PREFIX [FOLDER]

NAME is one of NETWORKS. FOLDER holds the toolkit's source: the unpacked wheels wespeaker-unofficial 0.0.2 or speakerlab
0.0.6, or a copy of clovaai/voxceleb_trainer, shkim816/temporal_dynamic_cnn or IDRnD/ReDimNet. Not part of the tests.
Those of networks that take long (B1, B3, B4 and B6 of ReDimNet, TDy_ResNet34_half, TDy_VGGVox) are not in the clone.
"""

import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchaudio.compliance import kaldi

from toolkit_states import FRONT_ENDS, Reference, make_state, make_waves

Embed = Callable[[Tensor], Tensor]  # of a signal (1, num_samples) in [-1, 1)


def wespeaker(model: str, **options: Any) -> tuple[nn.Module, Embed]:
    """A model of WeSpeaker behind the features of its command line (wespeaker.cli.speaker.Speaker)."""
    package = types.ModuleType("wespeaker")  # whose own __init__ wants what only its command line needs
    package.__path__ = [str(Path(sys.path[0]) / "wespeaker")]
    sys.modules["wespeaker"] = package
    module, _, name = model.rpartition(".")
    net = getattr(importlib.import_module(f"wespeaker.models.{module}"), name)(**options)

    def embed(wave: Tensor) -> Tensor:
        size = options.get("feat_dim", options.get("acoustic_dim", 80))
        feats = kaldi.fbank(wave * 32768, num_mel_bins=size, sample_frequency=16000, window_type="hamming")
        out = net((feats - feats.mean(0))[None])
        return out[-1] if isinstance(out, tuple) else out

    return net, embed


def speakerlab(model: str, **options: Any) -> tuple[nn.Module, Embed]:
    """A model of 3D-Speaker behind FBank of speakerlab.process.processor, as its infer_sv.py calls it."""
    module, _, name = model.rpartition(".")
    net = getattr(importlib.import_module(f"speakerlab.models.{module}"), name)(**options)
    source = (Path(sys.path[0]) / "speakerlab/process/processor.py").read_text()
    space: dict[str, Any] = {"Kaldi": kaldi}
    exec(source[source.index("class FBank") :], space)  # the module itself imports what is not needed here
    fbank = space["FBank"](options.get("feat_dim", 80), sample_rate=16000, mean_nor=True)
    return net, lambda wave: net(fbank(wave)[None])


def trainer(model: str, **options: Any) -> tuple[nn.Module, Embed]:
    """MainModel of voxceleb_trainer or of temporal_dynamic_cnn, after ten epochs if it has a temperature."""
    net = importlib.import_module(f"models.{model}").MainModel(**options)
    for _ in range(10):
        if hasattr(net, "update_temperature"):
            net.update_temperature()
    return net, net


def redimnet(**options: Any) -> tuple[nn.Module, Embed]:
    """ReDimNetWrap of IDRnD/ReDimNet, in whose checkpoints the options are."""
    net = importlib.import_module("redimnet.model").ReDimNetWrap(**options)
    net.settings = options
    return net, net


# sizes of B0 and B2, the second with everything else that its checkpoints may tell
REDIMNET: dict[str, dict[str, Any]] = {
    "b0": {
        "F": 60,
        "C": 10,
        "block_2d_type": "basic_resnet",
        "stages_setup": [[1, 2, 1, [[3, 3]], 30], [2, 3, 2, [[3, 3]], 30], [1, 3, 3, [[3, 3]], None]],
        "group_divisor": 1,
        "global_context_att": True,
        "emb_bn": True,
        "spec_params": {"do_spec_aug": False},
    },
    "b2": {
        "F": 72,
        "C": 16,
        "block_2d_type": "convnext_like",
        "stages_setup": [
            [stride, count, 1, [[3, 3]], reduction]
            for stride, count, reduction in ((1, 2, 12), (2, 2, 12), (1, 3, 12), (3, 4, 8), (1, 4, 8), (2, 4, 4))
        ],
        "group_divisor": 4,
        "global_context_att": True,
        "hop_length": 240,
        "spec_params": {"norm_signal": True, "f_min": 50, "f_max": 7000},
    },
}
SMALL = {"m_channels": 16, "num_blocks": [1, 2, 1, 2]}  # of networks whose full size takes long
AUG = {**SMALL, "expansion": 4, "baseWidth": 24, "scale": 3}
NETWORKS: dict[str, Callable[[], tuple[nn.Module, Embed]]] = {
    "wespeaker_ecapa": lambda: wespeaker("ecapa_tdnn.ECAPA_TDNN_c512", feat_dim=80, embed_dim=192),
    "wespeaker_ecapa_context": lambda: wespeaker(
        "ecapa_tdnn.ECAPA_TDNN_GLOB_c512", feat_dim=80, embed_dim=192, emb_bn=True
    ),
    "wespeaker_resnet34": lambda: wespeaker("resnet.ResNet34", feat_dim=80, embed_dim=256),
    "wespeaker_resnet50": lambda: wespeaker("resnet.ResNet50", feat_dim=80, embed_dim=256, two_emb_layer=True),
    "wespeaker_campplus": lambda: wespeaker("campplus.CAMPPlus", feat_dim=80, embed_dim=512),
    "wespeaker_res2net": lambda: wespeaker("res2net.Res2Net34_Base", feat_dim=80, embed_dim=256),
    "wespeaker_eres2net": lambda: wespeaker("eres2net.ERes2Net34_Base", feat_dim=80, embed_dim=512),
    "wespeaker_eres2net_aug": lambda: wespeaker("eres2net.ERes2Net", feat_dim=80, embed_dim=192, **AUG),
    "wespeaker_simam": lambda: wespeaker("samresnet.SimAM_ResNet34_ASP", embed_dim=256, in_planes=32),
    "wespeaker_xvector": lambda: wespeaker("tdnn.XVEC", feat_dim=80, embed_dim=512),
    "wespeaker_redimnet_b0": lambda: wespeaker("redimnet.ReDimNetB0", feat_dim=60, embed_dim=192),
    "wespeaker_redimnet_b1": lambda: wespeaker("redimnet.ReDimNetB1", feat_dim=72, embed_dim=192),
    "wespeaker_redimnet_b2": lambda: wespeaker("redimnet.ReDimNetB2", feat_dim=72, embed_dim=192),
    "wespeaker_redimnet_b3": lambda: wespeaker("redimnet.ReDimNetB3", feat_dim=72, embed_dim=192),
    "wespeaker_redimnet_b4": lambda: wespeaker("redimnet.ReDimNetB4", feat_dim=72, embed_dim=192),
    "wespeaker_redimnet_b5": lambda: wespeaker("redimnet.ReDimNetB5", feat_dim=72, embed_dim=192),
    "wespeaker_redimnet_b6": lambda: wespeaker("redimnet.ReDimNetB6", feat_dim=72, embed_dim=192),
    "3dspeaker_ecapa": lambda: speakerlab(
        "ecapa_tdnn.ECAPA_TDNN.ECAPA_TDNN", input_size=80, channels=[1024, 1024, 1024, 1024, 3072]
    ),
    "3dspeaker_resnet34": lambda: speakerlab("resnet.ResNet.ResNet", feat_dim=80, embedding_size=256),
    "3dspeaker_res2net": lambda: speakerlab("res2net.Res2Net.Res2Net", feat_dim=80),
    "3dspeaker_eres2net": lambda: speakerlab("eres2net.ERes2Net.ERes2Net", feat_dim=80, embedding_size=512),
    "3dspeaker_eres2net_huge": lambda: speakerlab("eres2net.ERes2Net_huge.ERes2Net", feat_dim=80, **SMALL),
    "3dspeaker_eres2netv2": lambda: speakerlab("eres2net.ERes2NetV2.ERes2NetV2", feat_dim=80),
    "3dspeaker_eres2netv2_w24s4": lambda: speakerlab(
        "eres2net.ERes2NetV2.ERes2NetV2", feat_dim=80, baseWidth=24, scale=4, expansion=4, **SMALL
    ),
    "3dspeaker_campplus": lambda: speakerlab("campplus.DTDNN.CAMPPlus", feat_dim=80, embedding_size=192),
    "3dspeaker_xvector": lambda: speakerlab("xvector.TDNN.Xvector", feat_dim=80),
    "voxceleb_trainer_resnetse34l": lambda: trainer("ResNetSE34L", nOut=512, encoder_type="SAP"),
    "voxceleb_trainer_resnetse34l_asp": lambda: trainer("ResNetSE34L", nOut=512, encoder_type="ASP", n_mels=64),
    "voxceleb_trainer_resnetse34v2": lambda: trainer("ResNetSE34V2", nOut=512, encoder_type="ASP", n_mels=64),
    "voxceleb_trainer_vggvox": lambda: trainer("VGGVox", nOut=512, encoder_type="SAP"),
    "voxceleb_trainer_vggvox_tap": lambda: trainer("VGGVox", nOut=512, encoder_type="TAP"),
    "tdy_resnet34_025": lambda: trainer("TDy_ResNet34_quarter", nOut=512, encoder_type="AVG", n_mels=64),
    "tdy_resnet34_025_asp": lambda: trainer("TDy_ResNet34_quarter", nOut=512, encoder_type="ASP", n_mels=64),
    "tdy_ordinary": lambda: trainer("ResNet34_quarter", nOut=512, encoder_type="SAP", n_mels=64),
    "tdy_resnet34_05": lambda: trainer("TDy_ResNet34_half", nOut=512, encoder_type="AVG", n_mels=64),
    "redimnet_b0": lambda: redimnet(block_1d_type="conv+att", **REDIMNET["b0"]),
    "redimnet_b2": lambda: redimnet(block_1d_type="conv+att", **REDIMNET["b2"]),
    "tdy_vggvox": lambda: trainer("TDy_VGGVox", nOut=512, encoder_type="AVG"),
}


def main(wanted: str, folder: str) -> None:
    """References of all NETWORKS whose name begins with WANTED."""
    sys.path.insert(0, folder)
    for name, make in NETWORKS.items():
        if name.startswith(wanted):
            net, embed = make()
            state = net.eval().state_dict()
            shapes = {key: tuple(value.shape) for key, value in state.items()}
            made = make_state({key: shape for key, shape in shapes.items() if not key.endswith(FRONT_ENDS)})
            net.load_state_dict({**state, **made})
            with torch.no_grad():
                embeddings = np.stack([embed(torch.from_numpy(wave)[None])[0].numpy().ravel() for wave in make_waves()])
            Reference(shapes, embeddings, getattr(net, "settings", {})).write(name)
            change = np.linalg.norm(embeddings[0] - embeddings[1]) / np.linalg.norm(embeddings[0])
            print(f"{name}: {len(shapes)} weights, {embeddings.shape}, one utterance differs by {change:.3f}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
