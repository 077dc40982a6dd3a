"""What the networks on the (frequency, time) plane share: a stem and stages of blocks make a PlaneTrunk.

Res2Net, ERes2Net, the ResNets, SimAM-ResNet, RepVGG, ISKConvNet and ResCNN differ in their blocks.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from timbre.nnet.layers import channels_last, frame_mask, strided, zero_padding
from timbre.nnet.models.trunk import Frames, Trunk
from timbre.utils.errors import DataError


class ConvNorm(nn.Module):
    """Square convolution that keeps the size of the plane but for the stride, and BatchNorm.

    Args:
        inputs: channels in
        outputs: channels out
        kernel: 1 or 3
        stride: over frequency and time
        time_dilation: over time alone
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, time_dilation: int = 1) -> None:
        super().__init__()
        padding = (kernel // 2, kernel // 2 * time_dilation)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, (1, time_dilation), bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.narrow = kernel == 1 and stride > 1 and bool(inputs % 16 or outputs % 16)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, inputs, F, T) -> (B, outputs, F / stride, T / stride), rounded up."""
        if self.narrow:  # oneDNN: see channels_last
            planes = planes.contiguous()
        out: Tensor = self.norm(self.conv(planes))
        return out


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    """The way around a block: nothing, or a 1x1 convolution and BatchNorm where the block changes the size."""
    return nn.Identity() if stride == 1 and inputs == outputs else ConvNorm(inputs, outputs, 1, stride)


class PlaneBlock(nn.Module, ABC):
    """A part of a PlaneTrunk: planes come and go with zeros past the end of each utterance.

    Args:
        channels: channels out
        stride: by what it divides frequency and time
        context: input frames that one output frame depends on, less one
    """

    def __init__(self, channels: int, stride: int, context: int) -> None:
        super().__init__()
        self.channels, self.stride, self.context = channels, stride, context

    def forward(self, planes: Tensor, lengths: Tensor | None) -> Frames:
        """(B, C, F, T) -> (B, channels, F / stride, T / stride), rounded up, and lengths likewise."""
        lengths = strided(lengths, self.stride)
        mask = frame_mask(lengths, -(-planes.shape[3] // self.stride))
        return zero_padding(self.transform(planes, mask), mask), lengths

    @abstractmethod
    def transform(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """What `forward` says; MASK is that of the output, where what is past the end may still be anything."""


class Stem(PlaneBlock):
    """3x3 convolution of the features, BatchNorm and ReLU."""

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__(channels, stride, context=2)
        self.layer = ConvNorm(1, channels, 3, stride)

    def transform(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, 1, F, T) -> (B, channels, F / stride, T / stride), rounded up."""
        return torch.relu_(self.layer(planes))


class Stage(nn.ModuleList):
    """Blocks one after another."""

    def forward(self, planes: Tensor, lengths: Tensor | None) -> Frames:
        """(B, C, F, T) and lengths -> what the last block gives."""
        for block in self:
            planes, lengths = block(planes, lengths)
        return planes, lengths


class PlaneTrunk(Trunk):
    """A stem and stages of blocks; the frequencies that are left become channels of the output.

    Args:
        feat_dim: feature dimension
        stem: first part
        stages: blocks of each stage
    """

    @abstractmethod  # so that no configuration can name it
    def __init__(self, feat_dim: int, stem: PlaneBlock, stages: Sequence[Sequence[PlaneBlock]]) -> None:
        super().__init__()
        self.stem = stem
        self.blocks = nn.ModuleList(Stage(stage) for stage in stages)
        self.fields, self.jumps, dims = [1 + stem.context], [stem.stride], []
        for stage in stages:
            field, jump = self.fields[-1], self.jumps[-1]
            for block in stage:
                field, jump = field + jump * block.context, jump * block.stride
            self.fields.append(field)
            self.jumps.append(jump)
            dims.append(stage[-1].channels * -(-feat_dim // jump))
        self._stage_dims, self.output_dim = tuple(dims), dims[-1]
        self.min_frames, self.receptive_field = 1, self.fields[-1]

    @classmethod
    def layout(
        cls,
        channels: Sequence[int],
        blocks: Sequence[int],
        strides: Sequence[int],
        stem_stride: int,
        stem_channels: int | None = None,
    ) -> list[list[tuple[int, int, int]]]:
        """Channels in, channels out and stride of every block, stage by stage; the first of a stage strides.

        Args:
            channels: width of each stage
            blocks: number of blocks of each stage
            strides: stride of each stage
            stem_stride: stride of the stem
            stem_channels: width of the stem; None: that of the first stage

        Raises:
            DataError: the lists do not fit together
        """
        if not channels or not len(channels) == len(blocks) == len(strides):
            raise DataError(f"{cls.__name__}: channels, blocks and strides must be lists of the same length")
        inputs = channels[0] if stem_channels is None else stem_channels
        if min(inputs, stem_stride, *channels, *blocks, *strides) < 1:
            raise DataError(f"{cls.__name__}: channels, blocks and strides must be at least 1")
        return [
            [(before, width, stride), *[(width, width, 1)] * (count - 1)]
            for before, width, count, stride in zip((inputs, *channels[:-1]), channels, blocks, strides, strict=True)
        ]

    @property
    def stage_dims(self) -> tuple[int, ...]:
        """Channels of the stages, frequencies counted in."""
        return self._stage_dims

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Frames:
        """FEATS (B, T, feat_dim) -> (B, output_dim, T / product of the strides, rounded up) and lengths likewise."""
        planes, lengths = self.begin(feats, lengths)
        for stage in self.blocks:
            planes, lengths = stage(planes, lengths)
        return planes.flatten(1, 2), lengths

    def stages(self, feats: Tensor, lengths: Tensor | None = None) -> list[Frames]:
        """The output of each stage as frames."""
        return [(planes.flatten(1, 2), count) for planes, count in self.planes(feats, lengths)]

    def planes(self, feats: Tensor, lengths: Tensor | None) -> list[Frames]:
        """The output of each stage as planes (B, C, F, T), and lengths."""
        planes, lengths = self.begin(feats, lengths)
        outputs: list[Frames] = []
        for stage in self.blocks:
            planes, lengths = stage(planes, lengths)
            outputs.append((planes, lengths))
        return outputs

    def begin(self, feats: Tensor, lengths: Tensor | None) -> Frames:
        """The output of the stem as planes, and lengths."""
        # a copy: torch.compile cannot order the strides of a view whose sizes it does not know
        planes = feats[:, None].transpose(2, 3).contiguous()
        planes, lengths = self.stem(zero_padding(planes, frame_mask(lengths, planes.shape[3])), lengths)
        # many channels of few bins are faster in the layout that oneDNN chooses by itself
        narrow = planes.device.type == "cpu" and planes.shape[1] >= 64 and planes.shape[2] <= 40
        return planes if narrow else channels_last(planes), lengths
