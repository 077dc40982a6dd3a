"""Networks as others have them, or as they are written without thinking of speed: what bench_networks.py compares with.

Each is a function `() -> module` that takes (B, T, F) features and gives embeddings; the same sizes as the network of
conf/network that it stands beside. SpeechBrain's need `pip install speechbrain`.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.network import build_network

ROOT = Path(__file__).resolve().parent.parent.parent


class Squeeze(nn.Module):
    """A SpeechBrain network, whose embeddings are (B, 1, D), as one that gives (B, D)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, feats: Tensor) -> Tensor:
        """Embeddings."""
        return self.inner(feats).squeeze(1)


def speechbrain_ecapa(channels: int) -> nn.Module:
    """ECAPA-TDNN; its residual is the chained one."""
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    return Squeeze(ECAPA_TDNN(80, channels=[channels] * 4 + [1536], lin_neurons=192))


def speechbrain_xvector() -> nn.Module:
    """x-vector to segment6."""
    from speechbrain.lobes.models.Xvector import Xvector

    return Squeeze(Xvector(in_channels=80))


def speechbrain_resnet() -> nn.Module:
    """ResNet34 of squeeze-excitation blocks, with channel-dependent attentive statistics."""
    from speechbrain.lobes.models.ResNet import ResNet

    return Squeeze(ResNet(input_size=80, channels=[32, 64, 128, 256]))


class TorchaudioConformer(nn.Module):
    """Linear map, torchaudio's Conformer, mean."""

    def __init__(self, feat_dim: int = 40, width: int = 80, ffn: int = 128, layers: int = 4, heads: int = 4) -> None:
        super().__init__()
        from torchaudio.models import Conformer

        self.before = nn.Linear(feat_dim, width)
        self.conformer = Conformer(width, heads, ffn, layers, 31, dropout=0.1)

    def forward(self, feats: Tensor) -> Tensor:
        """Embeddings."""
        lengths = torch.full((len(feats),), feats.shape[1], device=feats.device)
        return self.conformer(self.before(feats), lengths)[0].mean(1)


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


def spliced(name: str, feat_dim: int = 80) -> nn.Module:
    """The network of conf/network/NAME.yaml with its 1-d convolutions over time replaced by SplicedLayer."""
    network = build_network(ROOT / "conf" / "network" / f"{name}.yaml", feat_dim)
    for parent in list(network.modules()):
        for child, layer in parent.named_children():
            if isinstance(layer, nn.Conv1d) and layer.groups == 1 and layer.kernel_size[0] > 1:
                setattr(parent, child, SplicedLayer(layer))
    return network


class PlainBlock(nn.Module):
    """The residual block of the textbooks, with squeeze-excitation if asked for."""

    def __init__(self, inputs: int, outputs: int, stride: int, excite: bool, bottleneck: bool) -> None:
        super().__init__()
        final = 4 * outputs if bottleneck else outputs
        if bottleneck:
            self.body = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.Conv2d(outputs, final, 1, bias=False),
                nn.BatchNorm2d(final),
            )
        else:
            self.body = nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
                nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(final, final // 8, 1),
            nn.ReLU(),
            nn.Conv2d(final // 8, final, 1),
            nn.Sigmoid(),
        )
        self.excite = excite
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != final:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, final, 1, stride, bias=False), nn.BatchNorm2d(final))

    def forward(self, planes: Tensor) -> Tensor:
        """Planes to planes."""
        out = self.body(planes)
        if self.excite:
            out = out * self.gate(out)
        return torch.relu(out + self.shortcut(planes))


class PlainResNet(nn.Module):
    """ResNet as torchvision writes it, on (frequency, time), then mean and standard deviation over time."""

    def __init__(
        self,
        channels: Sequence[int],
        blocks: Sequence[int],
        strides: Sequence[int | tuple[int, int]],
        stem: nn.Module,
        excite: bool = False,
        bottleneck: bool = False,
        feat_dim: int = 80,
        embedding_dim: int = 256,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [stem]
        inputs = channels[0]
        for outputs, count, stride in zip(channels, blocks, strides, strict=True):
            for number in range(count):
                layers.append(PlainBlock(inputs, outputs, stride if number == 0 else 1, excite, bottleneck))
                inputs = 4 * outputs if bottleneck else outputs
        self.body = nn.Sequential(*layers)
        with torch.no_grad():
            size = self.body.eval()(torch.zeros(1, 1, feat_dim, 64)).flatten(1, 2).shape[1]
        self.embedding = nn.Linear(2 * size, embedding_dim)

    def forward(self, feats: Tensor) -> Tensor:
        """Embeddings."""
        frames = self.body(feats.transpose(1, 2)[:, None]).flatten(1, 2)
        return self.embedding(torch.cat((frames.mean(2), frames.std(2)), 1))


def small_stem(channels: int, stride: int = 1) -> nn.Module:
    """3x3 convolution, BatchNorm, ReLU."""
    return nn.Sequential(nn.Conv2d(1, channels, 3, stride, 1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())


def plain_resnet(channels: Sequence[int], blocks: Sequence[int], stem_stride: int = 1, **options: bool) -> nn.Module:
    """r-vector ResNet with strides 1, 2, 2, 2."""
    return PlainResNet(channels, blocks, (1, 2, 2, 2), small_stem(channels[0], stem_stride), **options)


WIDE, SMALL = (32, 64, 128, 256), (16, 32, 64, 128)
# network of conf/network -> what it is compared with, and the function that makes it
PEERS: dict[str, list[tuple[str, Callable[[], nn.Module]]]] = {
    "ecapa512": [("SpeechBrain", lambda: speechbrain_ecapa(512))],
    "ecapa1024": [("SpeechBrain", lambda: speechbrain_ecapa(1024))],
    "xvector": [("SpeechBrain", speechbrain_xvector), ("unfold and linear maps", lambda: spliced("xvector"))],
    "resnet34_se": [("SpeechBrain", speechbrain_resnet)],
    "conformer": [("torchaudio", TorchaudioConformer)],
    "resnet34": [("as torchvision writes it", lambda: plain_resnet(WIDE, (3, 4, 6, 3)))],
    "resnet34_small": [("as torchvision writes it", lambda: plain_resnet(SMALL, (3, 4, 6, 3), 2))],
    "resnet50": [("as torchvision writes it", lambda: plain_resnet(WIDE, (3, 4, 6, 3), bottleneck=True))],
} | {
    name: [("unfold and linear maps", functools.partial(spliced, name))]
    for name in ("etdnn", "ftdnn", "dtdnn", "ret", "xvector_xi")
}
