"""Two-dimensional residual networks over frequency and time: the r-vector trunk."""

import torch
from torch import Tensor, nn

from steps.nnet.layers import frame_mask, strided, zero_padding
from steps.nnet.models.trunk import Trunk
from steps.utils.errors import DataError


class ResNet(Trunk):
    """ResNet of basic blocks on the (frequency, time) plane (He et al. 2016; r-vectors, Zeinali et al. 2019).

    Frequencies that are left become channels of the output.

    Args:
        feat_dim: feature dimension
        channels: width of each stage
        blocks: number of blocks of each stage
        strides: by what each stage divides frequency and time
        stem_stride: by what the first convolution divides them
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (32, 64, 128, 256),
        blocks: tuple[int, ...] = (3, 4, 6, 3),
        strides: tuple[int, ...] = (1, 2, 2, 2),
        stem_stride: int = 1,
    ) -> None:
        super().__init__()
        if not channels or not len(channels) == len(blocks) == len(strides):
            raise DataError("ResNet: channels, blocks and strides must be lists of the same length")
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels[0], 3, stem_stride, padding=1, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU()
        )
        self.stem_stride = stem_stride
        self.blocks = nn.ModuleList()
        inputs, jump, field = channels[0], stem_stride, 3
        for outputs, count, stride in zip(channels, blocks, strides, strict=True):
            for step in (stride,) + (1,) * (count - 1):
                self.blocks.append(BasicBlock(inputs, outputs, step))
                field += 2 * jump * (1 + step)
                inputs, jump = outputs, jump * step
        self.output_dim = inputs * -(-feat_dim // jump)
        self.min_frames, self.receptive_field = 1, field

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """FEATS (B, T, feat_dim) -> (B, output_dim, T / product of the strides, rounded up) and lengths likewise."""
        # a copy: torch.compile cannot order the strides of a view whose sizes it does not know
        planes = feats[:, None].transpose(2, 3).contiguous()
        planes = self.stem(zero_padding(planes, frame_mask(lengths, planes.shape[3])))
        lengths = strided(lengths, self.stem_stride)
        planes = zero_padding(planes, frame_mask(lengths, planes.shape[3]))
        for block in self.blocks:
            planes, lengths = block(planes, lengths)
        return planes.flatten(1, 2), lengths


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, and the input added before the last ReLU. Planes come and go with zeros past the end."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut = nn.Sequential()
        if stride > 1 or in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(out_channels))

    def forward(self, planes: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B, in_channels, F, T) -> (B, out_channels, F / stride, T / stride), rounded up, and lengths likewise."""
        lengths = strided(lengths, self.stride)
        inner = torch.relu_(self.norm1(self.conv1(planes)))
        mask = frame_mask(lengths, inner.shape[3])
        inner = self.norm2(self.conv2(zero_padding(inner, mask)))
        return zero_padding(torch.relu_(inner + self.shortcut(planes)), mask), lengths

