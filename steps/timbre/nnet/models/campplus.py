"""CAM++: convolutions over frequency and time, then densely connected time-delay layers with context-aware masks."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from timbre.nnet.layers import channels_last, frame_mask, strided, zero_padding
from timbre.nnet.models.trunk import Frames, Trunk
from timbre.utils.errors import DataError


class CamPlusPlus(Trunk):
    """CAM++ (Wang et al. 2023, arXiv 2303.00332): its front-end FCM and its backbone D-TDNN.

    Args:
        feat_dim: feature dimension
        planes: channels of the front-end, which divides the frequency bins by 8
        stem_channels: width of the first time-delay layer, which halves the frame rate
        growth: channels that each layer of a block adds
        bottleneck: channels that a layer brings all those before it down to
        blocks: number of layers of each block; the channels are halved after each
        dilations: dilation of the layers of each block
        segment: frames, at half the rate, of the segments that a layer's mask looks at
        reduction: a mask's hidden layer has bottleneck / reduction channels
    """

    def __init__(
        self,
        feat_dim: int,
        planes: int = 32,
        stem_channels: int = 128,
        growth: int = 32,
        bottleneck: int = 128,
        blocks: tuple[int, ...] = (12, 24, 16),
        dilations: tuple[int, ...] = (1, 2, 2),
        segment: int = 100,
        reduction: int = 2,
    ) -> None:
        super().__init__()
        if not blocks or len(blocks) != len(dilations):
            raise DataError("CamPlusPlus: blocks and dilations must be lists of the same length")
        if min(planes, stem_channels, growth, bottleneck, segment, *blocks, *dilations) < 1:
            raise DataError("CamPlusPlus: channels, blocks, dilations and segment must be at least 1")
        if not 1 <= reduction <= bottleneck:
            raise DataError(f"CamPlusPlus: reduction is {reduction}; it must be from 1 to bottleneck, {bottleneck}")
        self.segment = segment
        self.front_end = FrontEnd(planes)
        self.stem = nn.Conv1d(planes * -(-feat_dim // 8), stem_channels, 5, stride=2, padding=2, bias=False)
        self.stem_norm = nn.BatchNorm1d(stem_channels)
        self.blocks = nn.ModuleList()
        self.transits = nn.ModuleList()
        channels, context = stem_channels, 0
        for num_layers, dilation in zip(blocks, dilations, strict=True):
            block = DenseBlock()
            for _ in range(num_layers):
                block.append(MaskedLayer(channels, bottleneck, growth, dilation, bottleneck // reduction))
                channels += growth
            self.blocks.append(block)
            self.transits.append(PreActivated(channels, channels // 2))
            channels //= 2
            context += 2 * num_layers * dilation
        self.norm = nn.BatchNorm1d(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        self.output_dim = channels
        self.min_frames = 1
        self.receptive_field = FrontEnd.receptive_field + 4 + 2 * context  # the masks are statistics

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Frames:
        """FEATS (B, T, feat_dim) -> (B, output_dim, T / 2, rounded up) and lengths likewise."""
        mask = frame_mask(lengths, feats.shape[1])
        frames = torch.relu_(self.stem_norm(self.stem(zero_padding(self.front_end(feats, mask), mask))))
        lengths = strided(lengths, 2)
        mask, segments = frame_mask(lengths, frames.shape[2]), cut(frames, lengths, self.segment)
        for block, transit in zip(self.blocks, self.transits, strict=True):
            frames = transit(block(frames, mask, segments))
        return torch.relu_(self.norm(frames)), lengths


class FrontEnd(nn.Module):
    """The front-end convolution module (FCM): two stages of residual blocks, and frequency strides of 2, three times.

    Args:
        channels: channels of all its planes
    """

    receptive_field = 1 + 2 * (1 + 8 + 1)

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.entry = nn.Conv2d(1, channels, 3, padding=1, bias=False)
        self.entry_norm = nn.BatchNorm2d(channels)
        self.blocks = nn.ModuleList(FrequencyBlock(channels, stride) for stride in (2, 1, 2, 1))
        self.exit = nn.Conv2d(channels, channels, 3, (2, 1), padding=1, bias=False)
        self.exit_norm = nn.BatchNorm2d(channels)

    def forward(self, feats: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, feat_dim) -> (B, channels * feat_dim / 8, T)."""
        # a copy: torch.compile cannot order the strides of a view whose sizes it does not know
        planes = zero_padding(feats[:, None].transpose(2, 3).contiguous(), mask)
        # channels last: a quarter less time than channels first, on a CPU as well
        planes = channels_last(self.entry(planes))
        planes = zero_padding(torch.relu_(self.entry_norm(planes)), mask)
        for block in self.blocks:
            planes = block(planes, mask)
        out: Tensor = torch.relu_(self.exit_norm(self.exit(planes)))
        return out.flatten(1, 2)


class FrequencyBlock(nn.Module):
    """Two 3x3 convolutions, the first with a stride over frequency, and the input added before the last ReLU.

    Planes come and go with zeros past the end.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, (stride, 1), padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.shortcut = nn.Sequential()
        if stride > 1:
            conv = nn.Conv2d(channels, channels, 1, (stride, 1), bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(channels))

    def forward(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, channels, F, T) -> (B, channels, F / stride, rounded up, T)."""
        inner = zero_padding(torch.relu_(self.norm1(self.conv1(planes))), mask)
        return zero_padding(torch.relu_(self.norm2(self.conv2(inner)) + self.shortcut(planes)), mask)


class DenseBlock(nn.ModuleList):
    """Layers, each of which adds its channels to those that it sees."""

    def forward(self, frames: Tensor, mask: Tensor | None, segments: "Segments") -> Tensor:
        """(B, channels, T) -> (B, channels + growth * layers, T)."""
        for layer in self:
            frames = torch.cat((frames, layer(frames, mask, segments)), 1)
        return frames


class PreActivated(nn.Module):
    """BatchNorm, ReLU, and the affine map of each frame without bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs)
        self.affine = nn.Conv1d(inputs, outputs, 1, bias=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, inputs, T) -> (B, outputs, T)."""
        out: Tensor = self.affine(torch.relu_(self.norm(frames)))
        return out


class MaskedLayer(nn.Module):
    """A bottleneck, and a convolution of three frames of it, masked by what its context says.

    Args:
        channels: channels in
        bottleneck: channels between
        growth: channels out
        dilation: distance between the three frames
        hidden: hidden size of the mask
    """

    def __init__(self, channels: int, bottleneck: int, growth: int, dilation: int, hidden: int) -> None:
        super().__init__()
        self.bottleneck = PreActivated(channels, bottleneck)
        self.norm = nn.BatchNorm1d(bottleneck)
        self.convolution = nn.Conv1d(bottleneck, growth, 3, padding=dilation, dilation=dilation, bias=False)
        self.context = ContextMask(bottleneck, growth, hidden)

    def forward(self, frames: Tensor, mask: Tensor | None, segments: "Segments") -> Tensor:
        """(B, channels, T) -> (B, growth, T)."""
        inner = zero_padding(torch.relu_(self.norm(self.bottleneck(frames))), mask)
        out: Tensor = self.convolution(inner) * self.context(inner, segments)
        return out


class Segments(NamedTuple):
    """Which frames make which segment, and how many of them are real.

    Attributes:
        members: (T, S), 1 where frame t is in segment s, otherwise 0
        counts: (B or 1, 1, S) real frames of each segment; 1 where there is none
        totals: (B or 1, 1, 1) real frames
    """

    members: Tensor
    counts: Tensor
    totals: Tensor


def cut(frames: Tensor, lengths: Tensor | None, size: int) -> Segments:
    """FRAMES (B, C, T), of which LENGTHS (B,) are real (None: all), in segments of SIZE, the last maybe shorter."""
    num_frames, device = frames.shape[2], frames.device
    numbers = torch.arange(num_frames, device=device)
    starts = numbers[::size]
    members = (numbers[:, None] >= starts) & (numbers[:, None] < starts + size)
    totals = torch.full((1, 1), num_frames, device=device) if lengths is None else lengths[:, None]
    counts = (totals - starts).clamp(1, size)
    return Segments(members.to(frames.dtype), counts[:, None], totals[:, None])


class ContextMask(nn.Module):
    """Mask from the mean over the utterance plus that over the segment a frame is in, through two affine maps.

    Args:
        channels: channels in
        outputs: channels of the mask
        hidden: hidden size
    """

    def __init__(self, channels: int, outputs: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Conv1d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv1d(hidden, outputs, 1), nn.Sigmoid()
        )

    def forward(self, frames: Tensor, segments: Segments) -> Tensor:
        """(B, channels, T), zero past the end -> (B, outputs, T), from 0 to 1."""
        # not avg_pool1d with ceil_mode: torch.compile gives it wrong gradients where the last segment is shorter
        sums = frames @ segments.members
        means = sums / segments.counts
        overall = (sums / segments.totals).sum(2, keepdim=True)
        # the same for all frames of a segment: the affine maps are applied once a segment
        gates: Tensor = self.gate(means + overall)
        return gates @ segments.members.T
