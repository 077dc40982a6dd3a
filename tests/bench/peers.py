"""Networks as others have them, or as they are written without thinking of speed: what bench_networks.py compares with.

Each is a function `() -> module` that takes (B, T, F) features and gives embeddings; the same sizes as the network of
conf/network that it stands beside. SpeechBrain's need `pip install speechbrain`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


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


class SplicedXvector(nn.Module):
    """x-vector whose layers splice frames by unfold, then a linear map (layout v2)."""

    def __init__(self, feat_dim: int = 80) -> None:
        super().__init__()
        sizes = [(feat_dim, 512, 5, 1), (512, 512, 3, 2), (512, 512, 3, 3), (512, 512, 1, 1), (512, 1500, 1, 1)]
        self.kernels = [(kernel, dilation) for _, _, kernel, dilation in sizes]
        self.affine = nn.ModuleList(nn.Linear(inputs * kernel, outputs) for inputs, outputs, kernel, _ in sizes)
        self.norm = nn.ModuleList(nn.BatchNorm1d(outputs) for _, outputs, _, _ in sizes)
        self.segment = nn.Sequential(
            nn.Linear(3000, 512), nn.ReLU(), nn.BatchNorm1d(512), nn.Linear(512, 512), nn.BatchNorm1d(512)
        )

    def forward(self, feats: Tensor) -> Tensor:
        """Embeddings."""
        for (kernel, dilation), affine, norm in zip(self.kernels, self.affine, self.norm, strict=True):
            planes = feats.transpose(1, 2)[:, :, :, None]
            spliced = functional.unfold(planes, (kernel, 1), dilation=(dilation, 1)).transpose(1, 2)
            feats = norm(torch.relu(affine(spliced)).transpose(1, 2)).transpose(1, 2)
        return self.segment(torch.cat((feats.mean(1), feats.std(1)), 1))


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


PEERS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "ecapa512": ("SpeechBrain", lambda: speechbrain_ecapa(512)),
    "ecapa1024": ("SpeechBrain", lambda: speechbrain_ecapa(1024)),
    "xvector": ("unfold and linear maps", SplicedXvector),
    "xvector (SpeechBrain)": ("SpeechBrain", speechbrain_xvector),
}
