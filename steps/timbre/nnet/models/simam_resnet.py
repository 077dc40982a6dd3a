"""Residual networks with SimAM, an attention that has no weights of its own."""

import torch
from torch import Tensor, nn

from timbre.nnet.layers import zero_padding
from timbre.nnet.models.plane import ConvNorm, PlaneBlock, PlaneTrunk, Stem, shortcut
from timbre.utils.errors import DataError


class SimAM(nn.Module):
    """Each point weighted by how far it stands out of its channel (Yang et al. 2021, ICML: "SimAM").

    The weight is the sigmoid of (x - mean)^2 / (4 (variance + regularization)) + 1/2, the inverse of the paper's least
    energy, with the unbiased variance over the frequencies and real frames of the channel.

    Args:
        regularization: the paper's lambda; keeps the weight finite where nothing varies
    """

    def __init__(self, regularization: float = 1e-4) -> None:
        super().__init__()
        self.regularization = regularization

    def forward(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, C, F, T) -> the same; mean and variance are float32 also under autocast."""
        num_frames = planes.shape[3] if mask is None else mask.sum(2)[:, :, None, None]
        count = planes.shape[2] * num_frames
        mean = zero_padding(planes, mask).sum((2, 3), keepdim=True, dtype=torch.float32) / count
        squares = zero_padding(planes - mean.to(planes.dtype), mask).square()
        # a channel of one point has no variance: any divisor but 0 will do
        variance = squares.sum((2, 3), keepdim=True, dtype=torch.float32) / (count - 1 + (count == 1))
        inverse = (0.25 / (variance + self.regularization)).to(planes.dtype)
        return planes * (squares * inverse).add_(0.5).sigmoid_()


class SimAMBlock(PlaneBlock):
    """Two 3x3 convolutions, SimAM, and the input added before the last ReLU.

    Args:
        inputs: channels in
        outputs: channels out
        stride: by what it divides frequency and time
        regularization: that of SimAM
    """

    def __init__(self, inputs: int, outputs: int, stride: int, regularization: float) -> None:
        super().__init__(outputs, stride, context=2 + 2 * stride)
        self.conv1 = ConvNorm(inputs, outputs, 3, stride)
        self.conv2 = ConvNorm(outputs, outputs, 3)
        self.attention = SimAM(regularization)
        self.shortcut = shortcut(inputs, outputs, stride)

    def transform(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, inputs, F, T) -> (B, outputs, F / stride, T / stride), rounded up."""
        inner = self.conv2(zero_padding(torch.relu_(self.conv1(planes)), mask))
        return torch.relu_(self.attention(inner, mask) + self.shortcut(planes))


class SimAMResNet(PlaneTrunk):
    """ResNet of basic blocks with SimAM for speaker verification (Qin et al. 2022, ICASSP).

    Args:
        feat_dim: feature dimension
        channels: width of each stage
        blocks: number of blocks of each stage
        strides: by what each stage divides frequency and time
        stem_stride: by what the first convolution divides them
        regularization: added to the variance of a channel
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (64, 128, 256, 512),
        blocks: tuple[int, ...] = (3, 4, 6, 3),
        strides: tuple[int, ...] = (1, 2, 2, 2),
        stem_stride: int = 1,
        regularization: float = 1e-4,
    ) -> None:
        if regularization <= 0:
            raise DataError(f"SimAMResNet: regularization is {regularization}; it must be above 0")
        shapes = self.layout(channels, blocks, strides, stem_stride)
        stages = [[SimAMBlock(*shape, regularization) for shape in stage] for stage in shapes]
        super().__init__(feat_dim, Stem(channels[0], stem_stride), stages)
