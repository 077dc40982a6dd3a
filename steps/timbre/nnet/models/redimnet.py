"""ReDimNet: stages of two-dimensional convolutions and layers along time on one volume, reshaped between them."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.layers import SqueezeExcitation, frame_mask
from timbre.nnet.models.sequence import ChannelNorm, DepthwiseConvolution, SelfAttention, zero_frames
from timbre.nnet.models.trunk import Frames, Trunk
from timbre.utils.errors import DataError

Block = Literal["convnext", "residual", "residual_se"]


class ReDimNet(Trunk):
    """Reshape Dimensions Network (Yakovlev et al. 2024, arXiv 2407.18223), to be pooled with attentive statistics.

    Every stage gives channels x bins = `channels` * `feat_dim` numbers a frame: fewer frequency bins, as many times
    more channels. So the outputs of all stages can be added, with weights of each number's own, to be the input of the
    next.
    Time is never strided. Frames (B, T, bins * channels) and planes (B, T, bins, channels) lie in memory the same way,
    so that to reshape costs nothing.

    Args:
        feat_dim: feature dimension, a multiple of the product of the strides
        channels: channels after the first convolution
        strides: by what each stage divides the frequency bins and multiplies the channels
        blocks: number of two-dimensional blocks of each stage
        expansions: by what the blocks of each stage are wider than its output
        reductions: the layers along time of each stage are channels * feat_dim / reduction wide; 0: it has none
        block: a depthwise-separable convolution (convnext), two of them as in ResNet (residual), or two and
            squeeze-excitation of the frequency bins (residual_se)
        group_width: channels that a filter of the convolutions sees; 1: depthwise
        heads: heads of the attention of the layers along time
    """

    def __init__(
        self,
        feat_dim: int,
        channels: int = 16,
        strides: tuple[int, ...] = (1, 2, 1, 3, 1, 2),
        blocks: tuple[int, ...] = (2, 2, 3, 4, 4, 4),
        expansions: tuple[int, ...] = (1, 1, 1, 1, 1, 1),
        reductions: tuple[int, ...] = (12, 12, 12, 8, 8, 4),
        block: Block = "convnext",
        group_width: int = 4,
        heads: int = 4,
    ) -> None:
        super().__init__()
        if not strides or not len(strides) == len(blocks) == len(expansions) == len(reductions):
            raise DataError("ReDimNet: strides, blocks, expansions and reductions must be lists of the same length")
        if min(channels, group_width, *strides, *blocks, *expansions) < 1 or min(reductions) < 0:
            raise DataError("ReDimNet: channels, group_width, strides, blocks and expansions must be at least 1")
        if feat_dim % math.prod(strides):
            raise DataError(
                f"ReDimNet: feat_dim {feat_dim} is no multiple of the strides' product {math.prod(strides)}"
            )
        self.output_dim = volume = channels * feat_dim
        self.stem = PlaneConvolution(1, channels, channels, bias=True)
        self.stem_norm = nn.LayerNorm(channels, eps=1e-6)
        self.parts, self.sums = nn.ModuleList(), nn.ModuleList()
        num_convolutions, bins = 1, feat_dim
        for stride, count, expansion, reduction in zip(strides, blocks, expansions, reductions, strict=True):
            planes = PlaneStage(channels, bins, stride, count, expansion, block, group_width)
            context = TimeContext(volume, volume // reduction, heads) if reduction else None
            channels, bins = channels * stride, bins // stride
            num_convolutions += planes.num_convolutions
            self.parts.append(Stage(planes, context))
            self.sums.append(WeightedSum(len(self.parts) + 1, volume))
        self.min_frames = 1
        self.receptive_field = None if any(reductions) else 1 + 2 * num_convolutions

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Frames:
        """FEATS (B, T, feat_dim) -> (B, output_dim, T) and LENGTHS."""
        mask = frame_mask(lengths, feats.shape[1])
        frames = self.stem_norm(self.stem(feats[..., None], mask)).flatten(2)
        outputs: list[Tensor] = [frames]
        for part, weighted_sum in zip(self.parts, self.sums, strict=True):
            outputs.append(part(frames, mask))
            frames = weighted_sum(outputs)
        return frames.transpose(1, 2), lengths


class WeightedSum(nn.Module):
    """Sum of maps (B, T, channels) with weights, a softmax over the maps for each channel.

    Args:
        count: number of maps
        channels: their channels
    """

    def __init__(self, count: int, channels: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(count, channels))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """COUNT maps (B, T, channels) -> one."""
        weights = self.scores.softmax(0)
        total = maps[0] * weights[0]
        for number, frames in enumerate(maps[1:], 1):
            total = torch.addcmul(total, frames.to(total.dtype), weights[number])
        return total


class Stage(nn.Module):
    """What is done in two dimensions, and then, if anything is, along time."""

    def __init__(self, planes: "PlaneStage", context: "TimeContext | None") -> None:
        super().__init__()
        self.planes, self.context = planes, context

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, channels) -> the same."""
        frames = self.planes(frames, mask)
        return frames if self.context is None else self.context(frames, mask)


class PlaneStage(nn.Module):
    """Affine map that trades frequency bins for channels, then blocks, then back from their width.

    Args:
        channels: channels in
        bins: frequency bins in
        stride: bins are divided by it, channels multiplied
        count: number of blocks
        expansion: channels of the blocks over those out
        block: their kind
        group_width: channels that a filter sees
    """

    def __init__(
        self, channels: int, bins: int, stride: int, count: int, expansion: int, block: Block, group_width: int
    ) -> None:
        super().__init__()
        self.bins = bins // stride
        outputs = channels * stride
        width = expansion * outputs
        # neighbouring bins lie together: this is the convolution with kernel and stride STRIDE over frequency
        self.entry = nn.Linear(outputs, width)
        self.blocks = nn.ModuleList()
        for _ in range(count):
            if block == "convnext":
                self.blocks.append(ConvNextBlock(width, group_width))
            else:
                self.blocks.append(ResidualBlock(width, self.bins if block == "residual_se" else None, group_width))
        self.exit = Contraction(width, outputs, group_width) if expansion > 1 else None
        self.num_convolutions = (1 if block == "convnext" else 2) * count + (expansion > 1)

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Frames (B, T, bins * channels) -> the same shape."""
        planes = self.entry(torch.unflatten(frames, 2, (self.bins, -1)))
        for block in self.blocks:
            planes = block(planes, mask)
        out: Tensor = planes if self.exit is None else self.exit(planes, mask)
        return out.flatten(2)


class PlaneConvolution(nn.Module):
    """3x3 convolution of planes (B, T, F, C) whose filters see GROUP_WIDTH channels, or all if there are not more."""

    def __init__(self, inputs: int, outputs: int, group_width: int, bias: bool) -> None:
        super().__init__()
        groups = max(1, outputs // group_width)
        if inputs % groups or outputs % groups:
            raise DataError(f"ReDimNet: {inputs} to {outputs} channels do not make {groups} groups of {group_width}")
        self.filters = nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, bias=bias)

    def forward(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, F, inputs) -> (B, T, F, outputs)."""
        out: Tensor = self.filters(zero_frames(planes, mask).permute(0, 3, 1, 2))
        return out.permute(0, 2, 3, 1)


class ConvNextBlock(nn.Module):
    """3x3 convolution, BatchNorm, GELU, affine map, and the input added (after ConvNeXt)."""

    def __init__(self, channels: int, group_width: int) -> None:
        super().__init__()
        self.spatial = PlaneConvolution(channels, channels, group_width, bias=True)
        self.norm = ChannelNorm(channels)
        self.pointwise = nn.Linear(channels, channels)

    def forward(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, F, channels) -> the same."""
        inner: Tensor = self.pointwise(functional.gelu(self.norm(self.spatial(planes, mask))))
        return planes + inner


class ResidualBlock(nn.Module):
    """Two separable convolutions, a gate for each frequency bin if asked for, the input added, ReLU.

    Args:
        channels: channels in and out
        gated_bins: number of frequency bins that squeeze-excitation scales; None: no such gate
        group_width: channels that a filter sees
    """

    def __init__(self, channels: int, gated_bins: int | None, group_width: int) -> None:
        super().__init__()
        self.spatial1 = PlaneConvolution(channels, channels, group_width, bias=False)
        self.pointwise1 = nn.Linear(channels, channels)
        self.norm1 = ChannelNorm(channels)
        self.spatial2 = PlaneConvolution(channels, channels, group_width, bias=False)
        self.pointwise2 = nn.Linear(channels, channels)
        self.norm2 = ChannelNorm(channels)
        hidden = min(64, max(channels, 32))
        self.gate = SqueezeExcitation(gated_bins, hidden) if gated_bins else None

    def forward(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, F, channels) -> the same."""
        inner = self.norm1(torch.relu_(self.pointwise1(self.spatial1(planes, mask))))
        inner = self.norm2(self.pointwise2(self.spatial2(inner, mask)))
        if self.gate is not None:  # the bins are its channels
            inner = self.gate(inner.permute(0, 2, 3, 1), mask).permute(0, 3, 1, 2)
        return torch.relu_(inner + planes)


class Contraction(nn.Module):
    """3x3 convolution to fewer channels, BatchNorm, GELU, affine map."""

    def __init__(self, inputs: int, outputs: int, group_width: int) -> None:
        super().__init__()
        self.spatial = PlaneConvolution(inputs, outputs, group_width, bias=True)
        self.norm = ChannelNorm(outputs, eps=1e-6)
        self.pointwise = nn.Linear(outputs, outputs)

    def forward(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, F, inputs) -> (B, T, F, outputs)."""
        out: Tensor = self.pointwise(functional.gelu(self.norm(self.spatial(planes, mask))))
        return out


class TimeContext(nn.Module):
    """Convolutions over ever more frames and self-attention, on fewer channels; the result added to the input.

    Args:
        channels: channels in and out
        hidden: channels between
        heads: heads of the attention
    """

    KERNELS = (7, 19, 31, 59)

    def __init__(self, channels: int, hidden: int, heads: int) -> None:
        super().__init__()
        if hidden < 1:
            raise DataError(f"ReDimNet: a reduction leaves nothing of {channels} channels")
        self.reduce = nn.Linear(channels, hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-6)
        self.convolutions = nn.ModuleList(TimeConvolution(hidden, kernel) for kernel in self.KERNELS)
        self.attention = SelfAttention(hidden, heads)
        self.attention_norm = nn.LayerNorm(hidden, eps=1e-6)
        self.feed_forward = nn.Sequential(nn.Linear(hidden, hidden), nn.GELU("tanh"), nn.Linear(hidden, hidden))
        self.feed_forward_norm = nn.LayerNorm(hidden, eps=1e-6)
        self.expand = nn.Linear(hidden, channels)

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, channels) -> the same."""
        hidden = self.norm(self.reduce(frames))
        for convolution in self.convolutions:
            hidden = convolution(hidden, mask)
        hidden = self.attention_norm(hidden + self.attention(hidden, mask))
        hidden = self.feed_forward_norm(hidden + self.feed_forward(hidden))
        out: Tensor = frames + self.expand(hidden)
        return out


class TimeConvolution(nn.Module):
    """Depthwise convolution over time, BatchNorm, GELU, affine map, and the input added."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = DepthwiseConvolution(channels, kernel)
        self.norm = ChannelNorm(channels)
        self.pointwise = nn.Linear(channels, channels)

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, channels) -> the same."""
        inner: Tensor = self.pointwise(functional.gelu(self.norm(self.depthwise(zero_frames(frames, mask)))))
        return frames + inner
