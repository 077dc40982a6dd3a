"""Networks as others have them, or as they are written without thinking of speed: what bench_networks.py compares with.

Each takes (B, T, F) features and gives embeddings; the same sizes as the network of conf/network that it stands beside.
SpeechBrain's need `pip install speechbrain`. What is written here in plain torch is in peers_*.py, by family.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import peers_branches as branches
import peers_dynamic as dynamic
import peers_frames as frames
import peers_planes as planes
import peers_redimnet as redimnet
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.network import build_network

ROOT = Path(__file__).resolve().parent.parent.parent


class Peer(NamedTuple):
    """What a network is compared with.

    Attributes:
        name: whose it is, or how it is written
        make: gives it, for a feature dimension
        unlike: where it is not the same architecture, and so may have another number of parameters; "": nowhere
    """

    name: str
    make: Callable[[int], nn.Module]
    unlike: str = ""


class Squeeze(nn.Module):
    """A SpeechBrain network, whose embeddings are (B, 1, D), as one that gives (B, D)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, feats: Tensor) -> Tensor:
        """Embeddings."""
        return self.inner(feats).squeeze(1)


def speechbrain_ecapa(feat_dim: int, channels: int) -> nn.Module:
    """ECAPA-TDNN; its residual is the chained one."""
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    return Squeeze(ECAPA_TDNN(feat_dim, channels=[channels] * 4 + [1536], lin_neurons=192))


def speechbrain_xvector(feat_dim: int) -> nn.Module:
    """x-vector to segment6."""
    from speechbrain.lobes.models.Xvector import Xvector

    return Squeeze(Xvector(in_channels=feat_dim))


def speechbrain_resnet(feat_dim: int) -> nn.Module:
    """ResNet34 of squeeze-excitation blocks, with channel-dependent attentive statistics."""
    from speechbrain.lobes.models.ResNet import ResNet

    return Squeeze(ResNet(input_size=feat_dim, channels=[32, 64, 128, 256]))


class SplicedLayer(nn.Module):
    """A 1-d convolution as many write a TDNN layer: frames spliced by unfold, then a linear map."""

    def __init__(self, layer: nn.Conv1d) -> None:
        super().__init__()
        (kernel,), (dilation,), (padding,), (stride,) = layer.kernel_size, layer.dilation, layer.padding, layer.stride
        self.splicing = {
            "kernel_size": (kernel, 1),
            "dilation": (dilation, 1),
            "padding": (padding, 0),
            "stride": (stride, 1),
        }
        self.affine = nn.Linear(layer.in_channels * kernel, layer.out_channels, bias=layer.bias is not None)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, T) to (B, C', T')."""
        spliced = functional.unfold(frames[:, :, :, None], **self.splicing)
        return self.affine(spliced.transpose(1, 2)).transpose(1, 2)


def spliced(feat_dim: int, name: str) -> nn.Module:
    """The network of conf/network/NAME.yaml with its 1-d convolutions over time replaced by SplicedLayer."""
    network = build_network(ROOT / "conf" / "network" / f"{name}.yaml", feat_dim)
    for parent in list(network.modules()):
        for child, layer in parent.named_children():
            if isinstance(layer, nn.Conv1d) and layer.groups == 1 and layer.kernel_size[0] > 1:
                setattr(parent, child, SplicedLayer(layer))
    return network


part = functools.partial
_PLAIN: dict[str, Callable[[int], nn.Module]] = {
    "aret": frames.aret,
    "campplus": frames.campplus,
    "convmixer": branches.convmixer,
    "dtdnn_ss": frames.dtdnn_ss,
    "ecapa512": part(frames.ecapa, channels=512),
    "ecapa512_xi": frames.ecapa_xi,
    "ecapa1024": part(frames.ecapa, channels=1024),
    "eres2net34_base": part(branches.eres2net, channels=planes.WIDE),
    "eres2net34_small": part(branches.eres2net, channels=planes.SMALL, stem_stride=2),
    "eres2netv2": part(branches.eres2net, channels=planes.BROAD, group_width=26 / 64, fusions=2),
    "ge2e_lstm": frames.ge2e_lstm,
    "iskconvnet": part(branches.iskconvnet, pooled_stages=3),
    "iskconvnet_last": part(branches.iskconvnet, pooled_stages=1),
    "lstm_attentive": frames.lstm_attentive,
    "redimnet_b0": redimnet.redimnet_b0,
    "redimnet_b1": redimnet.redimnet_b1,
    "repvgg_small": branches.repvgg,
    "res2net34_base": branches.res2net,
    "rescnn10": planes.rescnn,
    "resnet34": planes.rvector,
    "resnet34_2d": planes.image_resnet,
    "resnet34_cbam": part(planes.rvector, body=planes.with_cbam(planes.basic, 16)),
    "resnet34_res2": part(planes.rvector, body=planes.res2),
    "resnet34_se": part(planes.rvector, body=planes.with_excitation(planes.basic, 16)),
    "resnet34_small": part(planes.rvector, channels=planes.SMALL, stem_stride=2, embedding_dim=192),
    "resnet50": part(planes.rvector, body=planes.bottleneck, expansion=4),
    "resnet_se34l": planes.fast_resnet,
    "resnet_se34v2": planes.hasp_resnet,
    "simam_resnet34": planes.simam_resnet,
    "tdy_resnet34_025": dynamic.tdy_resnet,
    "tdy_vgg_m": part(dynamic.vgg_m, dynamic=True),
    "thin_resnet34": planes.thin_resnet,
    "thin_resnet34_se": part(planes.thin_resnet, body=planes.with_excitation(planes.basic, 8)),
    "thin_resnet34_vlad": planes.thin_resnet_vlad,
    "vgg_m": part(dynamic.vgg_m, dynamic=False),
}
# network of conf/network -> what it is compared with
PEERS: dict[str, list[Peer]] = {
    "ecapa512": [Peer("SpeechBrain", part(speechbrain_ecapa, channels=512), "chained")],
    "ecapa1024": [Peer("SpeechBrain", part(speechbrain_ecapa, channels=1024), "chained")],
    "xvector": [Peer("SpeechBrain", speechbrain_xvector, "to segment6")],
    "resnet34_se": [Peer("SpeechBrain", speechbrain_resnet, "attentive statistics")],
    "conformer": [Peer("torchaudio", frames.conformer)],
    "mfa_conformer": [Peer("torchaudio's layers", frames.mfa_conformer)],
}
for _name, _make in _PLAIN.items():
    PEERS.setdefault(_name, []).append(Peer("plain torch", _make))
for _name in ("xvector", "etdnn", "ftdnn", "dtdnn", "ret", "xvector_xi"):
    PEERS.setdefault(_name, []).append(Peer("unfold and linear maps", part(spliced, name=_name)))
