"""Res2Net on the (frequency, time) plane, and what it shares with ERes2Net, SimAM-ResNet, RepVGG and ISKConvNet.

They are a stem and stages of blocks, and differ in the block: a PlaneTrunk is made from those.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.layers import frame_mask, strided, zero_padding
from steps.nnet.models.trunk import Frames, Trunk
from steps.utils.errors import DataError


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

    def forward(self, planes: Tensor) -> Tensor:
        """(B, inputs, F, T) -> (B, outputs, F / stride, T / stride), rounded up."""
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
        begun: Frames = self.stem(zero_padding(planes, frame_mask(lengths, planes.shape[3])), lengths)
        return begun


class Res2Block(PlaneBlock):
    """1x1, 3x3 convolutions of groups of channels, each fed the result of the group before, 1x1; the input added.

    Args:
        inputs: channels in
        outputs: channels out
        stride: by what it divides frequency and time
        width: channels of a group
        scale: number of groups
        convolve_last: the last group is convolved as well; otherwise it goes through as it is
        relu_limit: activations are cut off here
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        width: int,
        scale: int,
        convolve_last: bool = False,
        relu_limit: float = 20.0,
    ) -> None:
        num_convs = scale if convolve_last else scale - 1
        super().__init__(outputs, stride, context=2 * stride * num_convs)
        self.scale, self.relu_limit = scale, relu_limit
        self.before = ConvNorm(inputs, width * scale, 1, stride)
        self.convs = nn.ModuleList(ConvNorm(width, width, 3) for _ in range(num_convs))
        self.after = ConvNorm(width * scale, outputs, 1)
        self.shortcut = shortcut(inputs, outputs, stride)

    def transform(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, inputs, F, T) -> (B, outputs, F / stride, T / stride), rounded up."""
        groups = self.activate(self.before(planes)).chunk(self.scale, 1)
        results: list[Tensor] = []
        for conv, group in zip(self.convs, groups, strict=False):
            joined = self.join(len(results), results[-1], group) if results else group
            results.append(self.activate(conv(zero_padding(joined, mask))))
        out = self.after(torch.cat((*results, *groups[len(results) :]), 1))
        return self.activate(out + self.shortcut(planes))

    def join(self, index: int, result: Tensor, group: Tensor) -> Tensor:
        """What the convolution INDEX sees: its own GROUP and the RESULT of the one before."""
        return result + group

    def activate(self, planes: Tensor) -> Tensor:
        """ReLU with an upper limit, in place."""
        return functional.hardtanh(planes, 0.0, self.relu_limit, inplace=True)


class Res2Net(PlaneTrunk):
    """Res2Net of speaker verification (Gao et al. 2019, arXiv 1904.01169; sizes and limited ReLU of 3D-Speaker).

    Args:
        feat_dim: feature dimension
        channels: width of the blocks of each stage
        blocks: number of blocks of each stage
        strides: by what each stage divides frequency and time
        stem_stride: by what the first convolution divides them
        expansion: a block gives so many times its width
        scale: groups of channels in a block
        group_width: channels of a group, as part of the width of the block
        relu_limit: activations are cut off here; .inf: they are not
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (32, 64, 128, 256),
        blocks: tuple[int, ...] = (3, 4, 6, 3),
        strides: tuple[int, ...] = (1, 2, 2, 2),
        stem_stride: int = 1,
        expansion: int = 2,
        scale: int = 2,
        group_width: float = 0.5,
        relu_limit: float = 20.0,
    ) -> None:
        widths = group_widths("Res2Net", channels, expansion, scale, group_width, relu_limit)
        outputs = [expansion * width for width in channels]
        shapes = self.layout(outputs, blocks, strides, stem_stride, channels[0])
        stages = [
            [Res2Block(*shape, width, scale, relu_limit=relu_limit) for shape in stage]
            for stage, width in zip(shapes, widths, strict=True)
        ]
        super().__init__(feat_dim, Stem(channels[0], stem_stride), stages)


def group_widths(
    name: str, channels: tuple[int, ...], expansion: int, scale: int, group_width: float, relu_limit: float
) -> list[int]:
    """Channels of a group in the blocks of each stage of the trunk NAME, rounded down.

    Raises:
        DataError: there are none, or another setting makes no block
    """
    widths = [int(group_width * width) for width in channels]
    if not widths or min(widths) < 1:
        raise DataError(f"{name}: group_width is {group_width}, which of channels {channels} makes no groups")
    if expansion < 1 or scale < 2 or relu_limit <= 0:
        raise DataError(
            f"{name}: expansion is {expansion}, scale is {scale}, relu_limit is {relu_limit}; "
            "they must be at least 1, at least 2, and above 0"
        )
    return widths
