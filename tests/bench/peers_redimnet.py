"""ReDimNet as its authors lay it out: planes (B, C, F, T), and frames (B, F * C, T), which have to be copied to those.

peers.py calls it.
"""

import torch
from peers_parts import AttentiveStatistics, Plain, Residual
from peers_planes import PlainBlock
from torch import Tensor, nn


class ChannelsFirstNorm(nn.LayerNorm):
    """LayerNorm of the channels of frames or planes."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, ...) to the same shape."""
        return super().forward(inputs.transpose(1, -1)).transpose(1, -1)


class ToFrames(nn.Module):
    """Planes to frames."""

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, F, T) to (B, F * C, T)."""
        return planes.transpose(1, 2).flatten(1, 2)


class ToPlanes(nn.Module):
    """Frames to planes."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, frames: Tensor) -> Tensor:
        """(B, F * C, T) to (B, C, F, T)."""
        return frames.unflatten(1, (-1, self.channels)).transpose(1, 2)


class PlainWeightedSum(nn.Module):
    """Frames of several layers, summed with a softmax of weights of their own."""

    def __init__(self, count: int, channels: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(1, count, channels, 1))

    def forward(self, outputs: list[Tensor]) -> Tensor:
        """Several (B, C, T) to one."""
        stacked = torch.cat([output[:, None] for output in outputs], 1)
        return (torch.softmax(self.scores, 1) * stacked).sum(1)


class TransformerLayer(nn.Module):
    """Self-attention and two affine maps, each added to its input before LayerNorm."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.attention_norm = nn.LayerNorm(channels, eps=1e-6)
        self.feed_forward = nn.Sequential(nn.Linear(channels, channels), nn.GELU("tanh"), nn.Linear(channels, channels))
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, C, T) to the same."""
        frames = frames.transpose(1, 2)
        frames = self.attention_norm(frames + self.attention(frames, frames, frames, need_weights=False)[0])
        return self.norm(frames + self.feed_forward(frames)).transpose(1, 2)


def time_context(channels: int, hidden: int) -> nn.Module:
    """Convolutions over ever more frames and attention, on fewer channels, beside the input."""
    layers: list[nn.Module] = [nn.Conv1d(channels, hidden, 1), ChannelsFirstNorm(hidden, eps=1e-6)]
    for kernel in (7, 19, 31, 59):
        depthwise = nn.Conv1d(hidden, hidden, kernel, padding=kernel // 2, groups=hidden)
        layers.append(Residual(depthwise, nn.BatchNorm1d(hidden), nn.GELU(), nn.Conv1d(hidden, hidden, 1)))
    return Residual(*layers, TransformerLayer(hidden), nn.Conv1d(hidden, channels, 1))


def spatial(inputs: int, outputs: int, group_width: int, bias: bool) -> nn.Module:
    """3x3 convolution in groups of channels."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, groups=outputs // group_width, bias=bias)


def convnext(width: int, group_width: int) -> nn.Module:
    """3x3 convolution, BatchNorm, GELU, 1x1, beside the input."""
    convolution = spatial(width, width, group_width, True)
    return Residual(convolution, nn.BatchNorm2d(width), nn.GELU(), nn.Conv2d(width, width, 1))


def separable(width: int, group_width: int) -> nn.Module:
    """Two separable convolutions, and the input."""
    body: list[nn.Module] = []
    for between in (nn.ReLU(), nn.Identity()):
        convolution = spatial(width, width, group_width, False)
        body += [convolution, nn.Conv2d(width, width, 1), between, nn.BatchNorm2d(width)]
    return PlainBlock(body, width, width, 1)


class PlainReDimNet(nn.Module):
    """ReDimNet's trunk.

    Args:
        feat_dim: feature dimension
        channels: after the first convolution
        stages: of each: stride over frequency, number of blocks, expansion, reduction of the layers over time or 0
        residual: blocks of two convolutions; otherwise ConvNeXt's
        group_width: channels that a filter sees
    """

    def __init__(
        self, feat_dim: int, channels: int, stages: tuple[tuple[int, ...], ...], residual: bool, group_width: int
    ) -> None:
        super().__init__()
        volume = channels * feat_dim
        norm = ChannelsFirstNorm(channels, eps=1e-6)
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, padding=1), norm, ToFrames())
        self.stages, self.sums = nn.ModuleList(), nn.ModuleList()
        for number, (stride, count, expansion, reduction) in enumerate(stages):
            outputs = stride * channels
            width = expansion * outputs
            layers = [ToPlanes(channels), nn.Conv2d(channels, width, (stride, 1), (stride, 1))]
            layers += [(separable if residual else convnext)(width, group_width) for _ in range(count)]
            if expansion > 1:
                layers += [spatial(width, outputs, group_width, True), nn.BatchNorm2d(outputs, eps=1e-6)]
                layers += [nn.GELU(), nn.Conv2d(outputs, outputs, 1)]
            layers.append(ToFrames())
            if reduction:
                layers.append(time_context(volume, volume // reduction))
            self.stages.append(nn.Sequential(*layers))
            self.sums.append(PlainWeightedSum(number + 2, volume))
            channels = outputs

    def forward(self, feats: Tensor) -> Tensor:
        """(B, F, T) to (B, F * channels, T)."""
        frames = self.stem(feats[:, None])
        outputs = [frames]
        for stage, weighted_sum in zip(self.stages, self.sums, strict=True):
            outputs.append(stage(frames))
            frames = weighted_sum(outputs)
        return frames


def redimnet_b0(feat_dim: int) -> nn.Module:
    """redimnet_b0."""
    stages = ((1, 2, 1, 30), (2, 3, 2, 30), (1, 3, 3, 30), (2, 4, 2, 10), (1, 3, 1, 10))
    return _redimnet(feat_dim, 10, stages, True, 1)


def redimnet_b1(feat_dim: int) -> nn.Module:
    """redimnet_b1."""
    stages = ((1, 2, 1, 0), (2, 3, 1, 0), (3, 4, 1, 12), (2, 5, 1, 12), (2, 3, 1, 8))
    return _redimnet(feat_dim, 12, stages, False, 8)


def _redimnet(
    feat_dim: int, channels: int, stages: tuple[tuple[int, ...], ...], residual: bool, group_width: int
) -> nn.Module:
    trunk = PlainReDimNet(feat_dim, channels, stages, residual, group_width)
    volume = channels * feat_dim
    pooling = AttentiveStatistics(volume, context=True)
    return Plain(feat_dim, trunk, pooling, nn.BatchNorm1d(2 * volume), nn.Linear(2 * volume, 192))
