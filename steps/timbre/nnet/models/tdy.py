"""ResNet of temporal dynamic convolutions: kernels that follow what is being said."""

import torch
from torch import Tensor, nn

from timbre.nnet.layers import channels_last, frame_mask, strided
from timbre.nnet.models.tdy_convolution import TemporalDynamicConvolution, bins_to_frames, zero_bins
from timbre.nnet.models.trunk import Trunk
from timbre.utils.errors import DataError


class TdyResNet(Trunk):
    """ResNet whose convolutions mix basis kernels anew for each time bin (TDY-CNN, Kim et al., arXiv 2110.03213).

    The stem, 7x7 and halving frequency, is an ordinary convolution. Frequencies that are left become channels of the
    output. With num_kernels 1 all convolutions are ordinary: the paper's baseline.

    Args:
        feat_dim: feature dimension; a multiple of all strides together, the 2 of the stem included: 8 by default
        channels: width of each stage
        blocks: number of blocks of each stage
        strides: by what each stage divides frequency and time
        num_kernels: basis kernels of a convolution
        temperature: of the softmax that weights them, at the start of training; it falls to 1
        annealing: share of training that it takes to fall (the authors: 10 of 300 epochs)
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (16, 32, 64, 128),
        blocks: tuple[int, ...] = (3, 4, 6, 3),
        strides: tuple[int, ...] = (1, 2, 2, 1),
        num_kernels: int = 6,
        temperature: float = 31.0,
        annealing: float = 0.1,
    ) -> None:
        super().__init__()
        if not channels or not len(channels) == len(blocks) == len(strides):
            raise DataError("TdyResNet: channels, blocks and strides must be lists of the same length")
        stem = nn.Conv2d(1, channels[0], 7, (1, 2), padding=3, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(channels[0]), nn.ReLU(inplace=True))
        self.blocks = nn.ModuleList()
        mixing = (num_kernels, temperature, annealing)
        reach = 1 if num_kernels > 1 else 0  # of the attention's second layer, beyond that of the kernels
        inputs, num_bins, jump, field = channels[0], -(-feat_dim // 2), 1, 7
        for outputs, count, stride in zip(channels, blocks, strides, strict=True):
            for step in (stride,) + (1,) * (count - 1):
                self.blocks.append(DynamicBlock(inputs, outputs, num_bins, step, mixing))
                field += 2 * jump * (1 + reach * step + (1 + reach) * step)
                inputs, num_bins, jump = outputs, -(-num_bins // step), jump * step
        if feat_dim % (2 * jump):
            raise DataError(
                f"TdyResNet: feat_dim is {feat_dim}; with these strides it must be a multiple of {2 * jump}"
            )
        self.output_dim = inputs * num_bins
        self.min_frames, self.receptive_field = 1, field

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """FEATS (B, T, feat_dim) -> (B, output_dim, T / product of the strides, rounded up) and lengths likewise."""
        mask = frame_mask(lengths, feats.shape[1])
        planes = self.stem(zero_bins(feats[:, None], mask))
        planes = zero_bins(channels_last(planes), mask)
        for block in self.blocks:
            planes, lengths = block(planes, lengths)
        return bins_to_frames(planes), lengths


class DynamicBlock(nn.Module):
    """Two 3x3 convolutions, and the input added before the last ReLU. Planes come and go with zeros past the end."""

    def __init__(
        self, in_channels: int, out_channels: int, num_bins: int, stride: int, mixing: tuple[int, float, float]
    ) -> None:
        super().__init__()
        self.stride = stride
        size, steps, halved = (3, 3), (stride, stride), -(-num_bins // stride)
        self.conv1 = TemporalDynamicConvolution(in_channels, out_channels, num_bins, size, steps, (1, 1), *mixing)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = TemporalDynamicConvolution(out_channels, out_channels, halved, size, (1, 1), (1, 1), *mixing)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: TemporalDynamicConvolution | None = None
        if stride > 1 or in_channels != out_channels:
            self.shortcut = TemporalDynamicConvolution(
                in_channels, out_channels, num_bins, (1, 1), steps, (0, 0), *mixing
            )
            self.shortcut_norm = nn.BatchNorm2d(out_channels)

    def forward(self, planes: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B, in_channels, T, F) -> (B, out_channels, T / stride, F / stride), rounded up, and lengths likewise."""
        lengths = strided(lengths, self.stride)
        mask = frame_mask(lengths, -(-planes.shape[2] // self.stride))
        inner = torch.relu_(self.norm1(self.conv1(planes, mask)))
        inner = self.norm2(self.conv2(zero_bins(inner, mask), mask))
        if self.shortcut is not None:
            planes = self.shortcut_norm(self.shortcut(planes, mask))
        return zero_bins(torch.relu_(inner + planes), mask), lengths
