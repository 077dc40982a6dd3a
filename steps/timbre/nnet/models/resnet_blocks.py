"""What residual networks on the (frequency, time) plane are made of: stem, residual blocks and their attention.

resnet.py, thin_resnet.py and rescnn.py make trunks of it.
"""

from abc import abstractmethod
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.layers import SqueezeExcitation, frame_mask, plane_means, strided, zero_padding
from timbre.nnet.models.plane import ConvNorm, PlaneBlock, shortcut
from timbre.nnet.models.trunk import Frames
from timbre.utils.errors import DataError

Attention = Literal["none", "se", "cbam"]
Size = TypeVar("Size", int, Tensor)


def thinned(mask: Tensor | None, stride: int) -> Tensor | None:
    """The mask (B, 1, T) after a convolution with STRIDE: lengths rounded up."""
    return mask if mask is None or stride == 1 else mask[:, :, ::stride]


def rectify(planes: Tensor, limit: float | None) -> Tensor:
    """ReLU in place, cut off at LIMIT."""
    if limit is None:
        return torch.relu_(planes)
    return functional.hardtanh(planes, 0.0, limit, inplace=True)


class ActiveConv(nn.Module):
    """Square convolution that keeps the size of the plane but for the stride, with BatchNorm and ReLU.

    Args:
        inputs: channels in
        outputs: channels out
        kernel: frequencies and frames that it sees; odd
        stride: over frequency and time, or over each of them
        relu_first: ReLU comes before BatchNorm
        bias: the convolution has offsets of its own
        relu_limit: ReLU is cut off here; None: it is not
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int | tuple[int, int] = 1,
        relu_first: bool = False,
        bias: bool = False,
        relu_limit: float | None = None,
    ) -> None:
        super().__init__()
        self.relu_first, self.relu_limit = relu_first, relu_limit
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, inputs, F, T) -> (B, outputs, F / stride, T / stride), rounded up."""
        if self.relu_first:
            normalized: Tensor = self.norm(rectify(self.conv(planes), self.relu_limit))
            return normalized
        return rectify(self.norm(self.conv(planes)), self.relu_limit)


class Stem(PlaneBlock):
    """The first convolution and, if asked for, a maximum that halves frequency and time.

    Args:
        channels: channels out
        kernel: of the convolution; odd
        stride: of the convolution, over frequency and over time
        pool: frequencies and frames that the maximum sees; 0: there is none. If odd it looks past the edges by half of
            that; if even it does not, and leaves out what does not fill it
        relu_first: ReLU comes before BatchNorm, and the convolution has offsets
        relu_limit: ReLU is cut off here; None: it is not
    """

    def __init__(
        self,
        channels: int,
        kernel: int,
        stride: tuple[int, int],
        pool: int = 0,
        relu_first: bool = False,
        relu_limit: float | None = None,
    ) -> None:
        if kernel < 1 or kernel % 2 == 0 or min(stride) < 1 or pool < 0 or pool == 1:
            raise DataError(
                f"Stem: kernel is {kernel}, stride is {stride}, pool is {pool}; the first must be odd, the second at "
                "least 1, and the third at least 2, or 0 for none"
            )
        super().__init__(channels, stride[1] * (2 if pool else 1), context=kernel - 1 + stride[1] * max(pool - 1, 0))
        self.conv_stride = stride
        self.layer = ActiveConv(1, channels, kernel, stride, relu_first, bias=relu_first, relu_limit=relu_limit)
        self.pool, self.pool_padding = pool, pool // 2 if pool % 2 else 0
        self.min_frames = stride[1] * max(pool - 1 - 2 * self.pool_padding, 0) + 1

    def halved(self, size: Size) -> Size:
        """What the maximum leaves of so many frequencies or frames."""
        return (size + 2 * self.pool_padding - self.pool) // 2 + 1 if self.pool else size

    def bins(self, feat_dim: int) -> int:
        """How many frequencies come out."""
        return self.halved(-(-feat_dim // self.conv_stride[0]))

    def transform(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """The convolution alone: (B, 1, F, T) -> (B, channels, F / stride, T / stride), rounded up."""
        convolved: Tensor = self.layer(planes)
        return convolved

    def forward(self, planes: Tensor, lengths: Tensor | None) -> Frames:
        """(B, 1, F, T) -> (B, channels, F', T') and lengths likewise."""
        lengths = strided(lengths, self.conv_stride[1])
        mask = frame_mask(lengths, -(-planes.shape[3] // self.conv_stride[1]))
        planes = self.transform(planes, mask)
        if self.pool:
            if mask is not None:
                planes = planes.masked_fill(~mask[:, None], -torch.inf)  # as max_pool2d pads the edges
            planes = functional.max_pool2d(planes, self.pool, 2, self.pool_padding)
            lengths = None if lengths is None else self.halved(lengths)
            mask = frame_mask(lengths, planes.shape[3])
        return zero_padding(planes, mask), lengths


class ConvolutionalAttention(nn.Module):
    """CBAM (Woo et al. 2018, arXiv 1807.06521): weights of the channels, then weights of the points of the plane.

    A channel's weight follows from the means and the maxima of all channels over frequencies and real frames, that of a
    point from mean and maximum over the channels at the points around it.

    Args:
        channels: channels in and out
        bottleneck: hidden size of the layers that weight channels
        kernel: frequencies and frames around a point that its weight depends on; odd
    """

    def __init__(self, channels: int, bottleneck: int, kernel: int = 7) -> None:
        super().__init__()
        self.channel = nn.Sequential(
            nn.Linear(channels, bottleneck, bias=False), nn.ReLU(), nn.Linear(bottleneck, channels, bias=False)
        )
        self.point = nn.Conv2d(2, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, channels, F, T) -> the same."""
        planes = planes * self.channel_weights(planes, mask)
        return planes * self.point_weights(planes, mask)

    def channel_weights(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, channels, F, T) -> (B, channels, 1, 1)."""
        real = planes if mask is None else planes.masked_fill(~mask[:, None], -torch.inf)
        # going backward this needs the places of the maxima alone, where amax compares all points with them
        maxima = functional.adaptive_max_pool2d(real, 1).flatten(1)
        scores: Tensor = self.channel(plane_means(planes, mask)) + self.channel(maxima)
        return scores.sigmoid()[:, :, None, None]

    def point_weights(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, channels, F, T) -> (B, 1, F, T)."""
        summary = torch.stack((planes.mean(1), planes.max(1).values), 1)
        scores: Tensor = self.point(zero_padding(summary, mask))
        return scores.sigmoid_()


class ResidualBlock(PlaneBlock):
    """What `convolve` makes of the planes, weighted by an attention, and the planes themselves added; then ReLU.

    Args:
        inputs: channels in
        outputs: channels out
        stride: by what it divides frequency and time
        context: input frames that a frame of `convolve` depends on, less one
        attention: squeeze-excitation (se), CBAM, or none
        reduction: the hidden layer of the attention has so many times fewer channels
        relu_limit: ReLU is cut off here; None: it is not
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        context: int,
        attention: Attention = "none",
        reduction: int = 16,
        relu_limit: float | None = None,
    ) -> None:
        super().__init__(outputs, stride, context)
        self.relu_limit = relu_limit
        self.attention: nn.Module | None = None
        if attention == "se":
            self.attention = SqueezeExcitation(outputs, max(1, outputs // reduction))
        elif attention == "cbam":
            self.attention = ConvolutionalAttention(outputs, max(1, outputs // reduction), kernel=7)
            self.context += 6 * stride
        self.shortcut = shortcut(inputs, outputs, stride)

    def forward(self, planes: Tensor, lengths: Tensor | None) -> Frames:
        """(B, inputs, F, T) -> (B, outputs, F / stride, T / stride), rounded up, and lengths likewise."""
        mask = frame_mask(lengths, planes.shape[3])
        return zero_padding(self.transform(planes, mask), thinned(mask, self.stride)), strided(lengths, self.stride)

    def transform(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """What `forward` says; MASK is that of PLANES, and what is past the end afterwards may be anything."""
        inner = self.convolve(planes, mask)
        if self.attention is not None:
            inner = self.attention(inner, thinned(mask, self.stride))
        return rectify(inner.add_(self.shortcut(planes)), self.relu_limit)

    @abstractmethod
    def convolve(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """The convolutions of the block, of the same sizes as `forward`; PLANES are zero where MASK is False."""


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions (He et al. 2016).

    Args:
        inputs: channels in
        outputs: channels out
        stride: by what it divides frequency and time; the first convolution does
        attention: of ResidualBlock
        reduction: of ResidualBlock
        relu_first: the ReLU between the convolutions comes before BatchNorm
        relu_limit: ReLU is cut off here; None: it is not
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        attention: Attention = "none",
        reduction: int = 16,
        relu_first: bool = False,
        relu_limit: float | None = None,
    ) -> None:
        super().__init__(inputs, outputs, stride, 2 + 2 * stride, attention, reduction, relu_limit)
        self.conv1 = ActiveConv(inputs, outputs, 3, stride, relu_first, relu_limit=relu_limit)
        self.conv2 = ConvNorm(outputs, outputs, 3)

    def convolve(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """3x3 and 3x3."""
        out: Tensor = self.conv2(zero_padding(self.conv1(planes), thinned(mask, self.stride)))
        return out


class Bottleneck(ResidualBlock):
    """1x1, 3x3 and 1x1 convolutions, of which the 3x3 has few channels (He et al. 2016).

    Args:
        inputs: channels in
        outputs: channels out
        stride: by what it divides frequency and time
        width: channels of the first two convolutions
        stride_first: the first convolution does that, as in the paper; otherwise the 3x3 one, which skips no point
        attention: of ResidualBlock
        reduction: of ResidualBlock
        relu_first: the ReLUs between the convolutions come before BatchNorm
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        width: int,
        stride_first: bool = False,
        attention: Attention = "none",
        reduction: int = 16,
        relu_first: bool = False,
    ) -> None:
        first, second = (stride, 1) if stride_first else (1, stride)
        super().__init__(inputs, outputs, stride, 2 * first, attention, reduction)
        self.first_stride = first
        self.conv1 = ActiveConv(inputs, width, 1, first, relu_first)
        self.conv2 = ActiveConv(width, width, 3, second, relu_first)
        self.conv3 = ConvNorm(width, outputs, 1)

    def convolve(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """1x1, 3x3 and 1x1."""
        out: Tensor = self.conv3(self.conv2(zero_padding(self.conv1(planes), thinned(mask, self.first_stride))))
        return out


class Res2Block(ResidualBlock):
    """1x1, 3x3 convolutions of groups of channels, each fed the result of the group before, 1x1 (arXiv 1904.01169).

    The last group goes through as it is.

    Args:
        inputs: channels in
        outputs: channels out
        stride: by what it divides frequency and time; the first convolution does
        width: channels of all groups together
        scale: number of groups
        attention: of ResidualBlock
        reduction: of ResidualBlock
        relu_first: the ReLUs between the convolutions come before BatchNorm
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int,
        width: int,
        scale: int,
        attention: Attention = "none",
        reduction: int = 16,
        relu_first: bool = False,
    ) -> None:
        super().__init__(inputs, outputs, stride, 2 * stride * (scale - 1), attention, reduction)
        self.before = ActiveConv(inputs, width, 1, stride, relu_first)
        group = width // scale
        self.convs = nn.ModuleList(ActiveConv(group, group, 3, relu_first=relu_first) for _ in range(scale - 1))
        self.after = ConvNorm(width, outputs, 1)

    def convolve(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """1x1, groups of 3x3, and 1x1."""
        mask = thinned(mask, self.stride)
        *groups, last = self.before(planes).chunk(len(self.convs) + 1, 1)
        results: list[Tensor] = []
        for conv, group in zip(self.convs, groups, strict=True):
            results.append(conv(zero_padding(group + results[-1] if results else group, mask)))
        out: Tensor = self.after(torch.cat((*results, last), 1))
        return out
