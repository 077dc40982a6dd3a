"""Networks on the plane whose blocks split and join: Res2Net, ERes2Net, ISKConvNet, RepVGG; and ConvMixer.

Written from their papers in plain torch. peers.py calls it.
"""

from collections.abc import Sequence

import torch
from peers_parts import Mean, Plain, Residual, Statistics
from peers_planes import R34, SMALL, WIDE, PlainBlock, conv_norm, make_stages, stem, trunk
from torch import Tensor, nn


class LimitedRes2(nn.Module):
    """A body of Res2Net: 1x1, groups joined by sums or by attention and convolved in turn, 1x1; ReLU up to 20.

    Args:
        inputs: channels in
        outputs: channels out
        stride: of the first convolution
        width: channels of each of the two groups
        last: the last group is convolved as well
        fused: groups are joined by attention
    """

    def __init__(self, inputs: int, outputs: int, stride: int, width: int, last: bool, fused: bool) -> None:
        super().__init__()
        self.width = width
        self.before = nn.Sequential(*conv_norm(inputs, 2 * width, 1, stride), nn.Hardtanh(0, 20))
        self.convs = nn.ModuleList(
            nn.Sequential(*conv_norm(width, width, 3), nn.Hardtanh(0, 20)) for _ in range(1 + last)
        )
        self.after = nn.Sequential(*conv_norm(2 * width, outputs, 1))
        self.fusion = Fusion(width) if fused else None

    def forward(self, planes: Tensor) -> Tensor:
        """Planes to planes."""
        groups = torch.split(self.before(planes), self.width, 1)
        outputs = [self.convs[0](groups[0])]
        for conv, group in zip(self.convs[1:], groups[1:], strict=False):
            outputs.append(conv(self.fusion(outputs[-1], group) if self.fusion else outputs[-1] + group))
        return self.after(torch.cat([*outputs, *groups[len(outputs) :]], 1))


class Fusion(nn.Module):
    """Attentional feature fusion of two planes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv2d(2 * channels, channels // 4, 1),
            nn.BatchNorm2d(channels // 4),
            nn.SiLU(),
            nn.Conv2d(channels // 4, channels, 1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two planes to one."""
        weights = 1 + torch.tanh(self.attention(torch.cat((first, second), 1)))
        return first * weights + second * (2 - weights)


class Fused(nn.Module):
    """Stages whose last outputs are joined by attention, halved on the way. FIRST is the first of them."""

    def __init__(self, stages: Sequence[nn.Module], channels: Sequence[int], first: int) -> None:
        super().__init__()
        self.stages, self.first = nn.ModuleList(stages), first
        later = range(first + 1, len(channels))
        self.halvings = nn.ModuleList(
            nn.Conv2d(channels[stage - 1], channels[stage], 3, 2, 1, bias=False) for stage in later
        )
        self.fusions = nn.ModuleList(Fusion(channels[stage]) for stage in later)

    def forward(self, planes: Tensor) -> Tensor:
        """Planes to planes."""
        outputs: list[Tensor] = []
        for stage in self.stages:
            planes = stage(planes)
            outputs.append(planes)
        joined = outputs[self.first]
        for halving, fusion, planes in zip(self.halvings, self.fusions, outputs[self.first + 1 :], strict=True):
            joined = fusion(planes, halving(joined))
        return joined


def res2_stages(channels: Sequence[int], group_width: float, last: bool, fused: int) -> list[nn.Sequential]:
    """Stages of LimitedRes2 blocks, the last FUSED of them with attention."""

    def make(inputs: int, width: int, stride: int) -> nn.Module:
        attend = width in channels[len(channels) - fused :]
        body = LimitedRes2(inputs, 2 * width, stride, int(group_width * width), last, attend)
        return PlainBlock([body], inputs, 2 * width, stride, nn.Hardtanh(0, 20))

    return make_stages(make, channels[0], channels, R34, (1, 2, 2, 2), 2)


def res2net(feat_dim: int) -> nn.Module:
    """res2net34_base."""
    frames = trunk(stem(32), res2_stages(WIDE, 0.5, False, 0))
    return Plain(feat_dim, frames, Statistics(), nn.LazyLinear(256))


def eres2net(
    feat_dim: int, channels: Sequence[int], stem_stride: int = 1, group_width: float = 0.5, fusions: int = 4
) -> nn.Module:
    """ERes2Net, and with a narrower group and FUSIONS 2 its second version."""
    stages = Fused(
        res2_stages(channels, group_width, True, 2), [2 * width for width in channels], len(channels) - fusions
    )
    frames = trunk(stem(channels[0], 3, stem_stride), [stages])
    return Plain(feat_dim, frames, Statistics(), nn.LazyLinear(192))


class SelectiveKernels(nn.Module):
    """Convolutions of two dilations over time, mixed channel by channel by what mean and deviation of their sum say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*conv_norm(channels, channels, 3, dilation=(1, dilation))) for dilation in (1, 2)
        )
        hidden = max(channels // 16, 32)
        self.hidden = nn.Sequential(nn.Linear(2 * channels, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU())
        self.scores = nn.Linear(hidden, 2 * channels)

    def forward(self, planes: Tensor) -> Tensor:
        """Planes to planes."""
        outputs = torch.stack([branch(planes) for branch in self.branches], 1)
        total = outputs.sum(1)
        statistics = torch.cat((total.mean((2, 3)), total.std((2, 3), correction=0)), 1)
        scores = self.scores(self.hidden(statistics)).view(len(planes), 2, -1)
        weights = torch.softmax(scores, 1)[..., None, None]
        return (weights * outputs).sum(1)


class StagesApart(nn.Module):
    """Statistics of the output of each of the last stages."""

    def __init__(self, start: nn.Module, stages: Sequence[nn.Module], count: int) -> None:
        super().__init__()
        self.start, self.stages, self.count = start, nn.ModuleList(stages), count
        self.statistics = Statistics()

    def forward(self, frames: Tensor) -> Tensor:
        """(B, F, T) to (B, P)."""
        planes = self.start(frames[:, None])
        pooled: list[Tensor] = []
        for stage in self.stages:
            planes = stage(planes)
            pooled.append(self.statistics(planes.flatten(1, 2)))
        return torch.cat(pooled[-self.count :], 1)


def iskconvnet(feat_dim: int, pooled_stages: int) -> nn.Module:
    """iskconvnet, with the statistics of several stages, and iskconvnet_last."""

    def make(inputs: int, width: int, stride: int) -> nn.Module:
        body = [*conv_norm(inputs, width, 3, stride), nn.ReLU(), SelectiveKernels(width), nn.BatchNorm2d(width)]
        return PlainBlock(body, inputs, width, stride)

    stages = make_stages(make, WIDE[0], WIDE, R34, (1, 2, 2, 2))
    if pooled_stages == 1:
        return Plain(feat_dim, trunk(stem(WIDE[0]), stages), Statistics(), nn.LazyLinear(256))
    pooled = StagesApart(nn.Sequential(*stem(WIDE[0])), stages, pooled_stages)
    return Plain(feat_dim, pooled, nn.Identity(), nn.LazyLinear(256))


class PlainRepVggBlock(nn.Module):
    """3x3, 1x1 and, where it can be, the input, each with BatchNorm; their sum, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(*conv_norm(inputs, outputs, 3, stride))
        self.point = nn.Sequential(*conv_norm(inputs, outputs, 1, stride))
        self.identity = nn.BatchNorm2d(inputs) if stride == 1 and inputs == outputs else None

    def forward(self, planes: Tensor) -> Tensor:
        """Planes to planes."""
        total = self.dense(planes) + self.point(planes)
        return torch.relu(total if self.identity is None else total + self.identity(planes))


def repvgg(feat_dim: int) -> nn.Module:
    """repvgg_small."""
    stages = make_stages(PlainRepVggBlock, 16, SMALL, (2, 4, 14, 1), (1, 2, 2, 2))
    return Plain(feat_dim, trunk([PlainRepVggBlock(1, 16, 2)], stages), Statistics(), nn.LazyLinear(192))


def convmixer(feat_dim: int) -> nn.Module:
    """convmixer: 34 blocks, 128 wide."""
    blocks: list[nn.Module] = []
    for _ in range(34):
        depthwise = nn.Conv2d(128, 128, 9, groups=128, padding=4)
        blocks.append(Residual(depthwise, nn.GELU(), nn.BatchNorm2d(128)))
        blocks += [nn.Conv2d(128, 128, 1), nn.GELU(), nn.BatchNorm2d(128)]
    start = [nn.Conv2d(1, 128, 7, 7), nn.GELU(), nn.BatchNorm2d(128)]
    return Plain(feat_dim, trunk(start, blocks, nn.AdaptiveAvgPool2d((1, None))), Mean())
