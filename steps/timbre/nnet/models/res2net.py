"""Res2Net on the (frequency, time) plane."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.layers import zero_padding
from timbre.nnet.models.plane import ConvNorm, PlaneBlock, PlaneTrunk, Stem, shortcut
from timbre.utils.errors import DataError


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
