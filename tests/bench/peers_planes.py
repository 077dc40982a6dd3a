"""Residual networks on the (frequency, time) plane as torchvision and the papers write them. peers.py calls it.

A network is a stem, stages of blocks and what follows them; blocks differ in what is inside them.
"""

from collections.abc import Callable, Sequence

import torch
from peers_parts import AttentiveStatistics, Mean, Plain, PlainGhostVlad, Scaled, SelfAttentive, Statistics
from torch import Tensor, nn

WIDE, SMALL, BROAD = (32, 64, 128, 256), (16, 32, 64, 128), (64, 128, 256, 512)
R34 = (3, 4, 6, 3)
Body = Callable[[int, int, int], list[nn.Module]]  # channels in, width, stride


def conv_norm(
    inputs: int, outputs: int, kernel: int, stride: int | tuple[int, int] = 1, dilation: tuple[int, int] = (1, 1)
) -> list[nn.Module]:
    """Convolution that keeps the size but for the stride, and BatchNorm."""
    padding = (kernel // 2 * dilation[0], kernel // 2 * dilation[1])
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)
    return [conv, nn.BatchNorm2d(outputs)]


class PlainBlock(nn.Module):
    """The residual block of the textbooks."""

    def __init__(
        self, body: Sequence[nn.Module], inputs: int, outputs: int, stride: int, activation: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.body, self.activation = nn.Sequential(*body), activation or nn.ReLU()
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(*conv_norm(inputs, outputs, 1, stride))

    def forward(self, planes: Tensor) -> Tensor:
        """Planes to planes."""
        return self.activation(self.body(planes) + self.shortcut(planes))


def basic(inputs: int, width: int, stride: int) -> list[nn.Module]:
    """3x3 and 3x3."""
    return [*conv_norm(inputs, width, 3, stride), nn.ReLU(), *conv_norm(width, width, 3)]


def relu_first(inputs: int, width: int, stride: int) -> list[nn.Module]:
    """3x3 and 3x3, with ReLU before BatchNorm."""
    conv, norm = conv_norm(inputs, width, 3, stride)
    return [conv, nn.ReLU(), norm, *conv_norm(width, width, 3)]


def clipped(inputs: int, width: int, stride: int) -> list[nn.Module]:
    """3x3 and 3x3, with ReLU up to 20."""
    return [*conv_norm(inputs, width, 3, stride), nn.Hardtanh(0, 20), *conv_norm(width, width, 3)]


def bottleneck(inputs: int, width: int, stride: int, outputs: int = 0, stride_first: bool = False) -> list[nn.Module]:
    """1x1, 3x3 and 1x1, to OUTPUTS or four times the width."""
    first, second = (stride, 1) if stride_first else (1, stride)
    before = [*conv_norm(inputs, width, 1, first), nn.ReLU(), *conv_norm(width, width, 3, second), nn.ReLU()]
    return [*before, *conv_norm(width, outputs or 4 * width, 1)]


def simam(inputs: int, width: int, stride: int) -> list[nn.Module]:
    """3x3, 3x3 and SimAM."""
    return [*basic(inputs, width, stride), PlainSimAM()]


def res2(inputs: int, width: int, stride: int) -> list[nn.Module]:
    """1x1, 3x3 in four groups and 1x1."""
    before = [*conv_norm(inputs, width, 1, stride), nn.ReLU()]
    return [*before, Groups(width // 4, 4), *conv_norm(width, width, 1)]


def with_excitation(body: Body, reduction: int) -> Body:
    """Squeeze-excitation after a body."""
    return lambda inputs, width, stride: [*body(inputs, width, stride), Excitation(width, width // reduction)]


def with_cbam(body: Body, reduction: int) -> Body:
    """CBAM after a body."""
    return lambda inputs, width, stride: [*body(inputs, width, stride), Cbam(width, width // reduction)]


class Excitation(nn.Module):
    """Squeeze-excitation."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, planes: Tensor) -> Tensor:
        """Planes to planes."""
        return planes * self.gate(planes)


class Cbam(nn.Module):
    """Weights of channels from means and maxima over the plane, then of points from those over the channels."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.mean, self.max = nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1)
        self.channel = nn.Sequential(
            nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, channels, 1, bias=False)
        )
        self.point = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, planes: Tensor) -> Tensor:
        """Planes to planes."""
        planes = planes * torch.sigmoid(self.channel(self.mean(planes)) + self.channel(self.max(planes)))
        summary = torch.cat((planes.mean(1, keepdim=True), planes.max(1, keepdim=True).values), 1)
        return planes * torch.sigmoid(self.point(summary))


class PlainSimAM(nn.Module):
    """Points weighted by their energy."""

    def forward(self, planes: Tensor) -> Tensor:
        """Planes to planes."""
        count = planes.shape[2] * planes.shape[3] - 1
        squares = (planes - planes.mean((2, 3), keepdim=True)) ** 2
        variance = squares.sum((2, 3), keepdim=True) / count
        return planes * torch.sigmoid(squares / (4 * (variance + 1e-4)) + 0.5)


class Groups(nn.Module):
    """Res2Net's convolutions of groups of channels, each fed the result of the one before; the last goes through."""

    def __init__(self, width: int, scale: int) -> None:
        super().__init__()
        self.width = width
        self.convs = nn.ModuleList(nn.Sequential(*conv_norm(width, width, 3), nn.ReLU()) for _ in range(scale - 1))

    def forward(self, planes: Tensor) -> Tensor:
        """Planes to planes."""
        groups = torch.split(planes, self.width, 1)
        outputs: list[Tensor] = []
        for conv, group in zip(self.convs, groups, strict=False):
            outputs.append(conv(group + outputs[-1] if outputs else group))
        return torch.cat([*outputs, groups[-1]], 1)


def make_stages(
    make: Callable[[int, int, int], nn.Module],
    inputs: int,
    channels: Sequence[int],
    blocks: Sequence[int],
    strides: Sequence[int],
    expansion: int = 1,
) -> list[nn.Sequential]:
    """Stages of the blocks that MAKE makes of channels in, width and stride; they give EXPANSION times their width."""
    stages = []
    for width, count, stride in zip(channels, blocks, strides, strict=True):
        stage: list[nn.Module] = []
        for number in range(count):
            stage.append(make(inputs, width, stride if number == 0 else 1))
            inputs = expansion * width
        stages.append(nn.Sequential(*stage))
    return stages


def trunk(stem: Sequence[nn.Module], stages: Sequence[nn.Module], *tail: nn.Module) -> nn.Sequential:
    """(B, F, T) through stem and stages of planes, and TAIL, to frames."""
    return nn.Sequential(nn.Unflatten(1, (1, -1)), *stem, *stages, *tail, nn.Flatten(1, 2))


def residual_trunk(
    body: Body,
    channels: Sequence[int],
    stem: Sequence[nn.Module],
    *tail: nn.Module,
    strides: Sequence[int] = (1, 2, 2, 2),
    expansion: int = 1,
) -> nn.Sequential:
    """A trunk of 34 layers, or 50 with bottlenecks."""

    def make(inputs: int, width: int, stride: int) -> nn.Module:
        return PlainBlock(body(inputs, width, stride), inputs, expansion * width, stride)

    return trunk(stem, make_stages(make, channels[0], channels, R34, strides, expansion), *tail)


def stem(channels: int, kernel: int = 3, stride: int | tuple[int, int] = 1) -> list[nn.Module]:
    """Convolution, BatchNorm, ReLU."""
    return [*conv_norm(1, channels, kernel, stride), nn.ReLU()]


def rvector(
    feat_dim: int,
    channels: Sequence[int] = WIDE,
    body: Body = basic,
    stem_stride: int = 1,
    expansion: int = 1,
    embedding_dim: int = 256,
) -> nn.Module:
    """The r-vector, in its variants."""
    frames = residual_trunk(body, channels, stem(channels[0], 3, stem_stride), expansion=expansion)
    return Plain(feat_dim, frames, Statistics(), nn.LazyLinear(embedding_dim))


def image_resnet(feat_dim: int) -> nn.Module:
    """resnet34_2d: ResNet34 of images, with an affine layer for embeddings."""
    start = [*stem(64, 7, 2), nn.MaxPool2d(3, 2, 1)]
    frames = residual_trunk(basic, BROAD, start, nn.AdaptiveAvgPool2d(1))
    return Plain(feat_dim, frames, nn.Flatten(), nn.LazyLinear(400))


def thin_resnet(feat_dim: int, body: Body = basic) -> nn.Module:
    """thin_resnet34: frequencies averaged to four."""
    frames = residual_trunk(body, SMALL, stem(16, 5), nn.AdaptiveAvgPool2d((4, None)))
    return Plain(feat_dim, frames, Statistics(), nn.LazyLinear(256), nn.BatchNorm1d(256))


def fast_resnet(feat_dim: int) -> nn.Module:
    """resnet_se34l: ResNetSE34L of voxceleb_trainer."""
    body = with_excitation(relu_first, 8)
    average = nn.AdaptiveAvgPool2d((1, None))
    frames = residual_trunk(body, SMALL, stem(16, 7, (2, 1)), average, strides=(1, 2, 2, 1))
    frames = nn.Sequential(nn.InstanceNorm1d(feat_dim), frames)
    return Plain(feat_dim, frames, SelfAttentive(128, 128), nn.LazyLinear(512))


def hasp_resnet(feat_dim: int) -> nn.Module:
    """resnet_se34v2: ResNetSE34V2 of voxceleb_trainer."""
    start = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(32)]
    frames = nn.Sequential(nn.InstanceNorm1d(feat_dim), residual_trunk(with_excitation(relu_first, 8), WIDE, start))
    pooling = AttentiveStatistics(256 * -(-feat_dim // 8), context=False)
    return Plain(feat_dim, frames, pooling, nn.LazyLinear(512))


def simam_resnet(feat_dim: int) -> nn.Module:
    """simam_resnet34."""
    pooling = AttentiveStatistics(512 * -(-feat_dim // 8), context=False)
    return Plain(feat_dim, residual_trunk(simam, BROAD, stem(64)), pooling, nn.LazyLinear(256))


def rescnn(feat_dim: int) -> nn.Module:
    """rescnn10: Deep Speaker's, with the embeddings of length 10 of its public code."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, -1))]
    inputs = 1
    for width in BROAD:
        layers += [*conv_norm(inputs, width, 5, 2), nn.Hardtanh(0, 20)]
        layers.append(PlainBlock(clipped(width, width, 1), width, width, 1, nn.Hardtanh(0, 20)))
        inputs = width
    frames = nn.Sequential(*layers, nn.AdaptiveAvgPool2d((4, None)), nn.Flatten(1, 2))
    return Plain(feat_dim, frames, Mean(), nn.LazyLinear(512), nn.BatchNorm1d(512), Scaled(10))


def thin_resnet_vlad(feat_dim: int) -> nn.Module:
    """thin_resnet34_vlad: the thin ResNet34 of Xie et al."""
    layers: list[nn.Module] = [*stem(64, 7), nn.MaxPool2d(2)]
    inputs = 64
    for outputs, width, count, first in zip(
        (96, 128, 256, 512), (48, 96, 128, 256), (2, 3, 3, 3), (1, 2, 2, 2), strict=True
    ):
        for stride in (first,) + (1,) * (count - 1):
            layers.append(PlainBlock(bottleneck(inputs, width, stride, outputs, True), inputs, outputs, stride))
            inputs = outputs
    left = (-(-(feat_dim // 2) // 8) - 1) // 2
    layers += [nn.MaxPool2d((3, 1), (2, 1)), nn.Conv2d(512, 512, (left, 1)), nn.ReLU()]
    return Plain(feat_dim, trunk(layers, ()), PlainGhostVlad(512, 10, 2), nn.LazyLinear(512))
