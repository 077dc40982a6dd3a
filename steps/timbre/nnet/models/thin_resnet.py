"""The thin ResNet34 of Xie et al., whose frames GhostVLAD pools."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.models.resnet import ResidualTrunk, initialize
from timbre.nnet.models.resnet_blocks import Bottleneck, Stem
from timbre.utils.errors import DataError


class FrequencyConvolution(nn.Module):
    """Planes to frames: a maximum that halves the frequencies, a convolution over all that are left, and ReLU.

    Args:
        channels: channels in
        bins: frequencies in
        outputs: channels out
    """

    def __init__(self, channels: int, bins: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, outputs, ((bins - 1) // 2, 1))

    def forward(self, planes: Tensor) -> Tensor:
        """(B, channels, F, T) -> (B, outputs, T)."""
        halved = functional.max_pool2d(planes, (3, 1), (2, 1))
        return torch.relu_(self.conv(halved)).squeeze(2)


class ThinResNet(ResidualTrunk):
    """ResNet34 of narrow bottleneck blocks on spectrograms (Xie et al. 2019, arXiv 1902.10107).

    What comes out has a frame for every 16 of the input, in which a convolution over all frequencies has joined them.

    Args:
        feat_dim: feature dimension; 257 in the paper
        channels: channels out of each stage
        widths: channels inside the blocks of each stage
        blocks: number of blocks of each stage
        strides: by what each stage divides frequency and time, after a maximum that halves them
        stem_channels: outputs of the first convolution, 7x7
        output_channels: outputs of the last convolution
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (96, 128, 256, 512),
        widths: tuple[int, ...] = (48, 96, 128, 256),
        blocks: tuple[int, ...] = (2, 3, 3, 3),
        strides: tuple[int, ...] = (1, 2, 2, 2),
        stem_channels: int = 64,
        output_channels: int = 512,
    ) -> None:
        shapes = self.layout(channels, blocks, strides, 1, stem_channels)
        if len(widths) != len(channels) or min(*widths, output_channels) < 1:
            raise DataError(
                f"ThinResNet: widths are {widths}, output_channels is {output_channels}; there must be a width for "
                "each stage, and all be at least 1"
            )
        stages = [
            [Bottleneck(*shape, width, stride_first=True) for shape in stage]
            for stage, width in zip(shapes, widths, strict=True)
        ]
        super().__init__(feat_dim, Stem(stem_channels, 7, (1, 1), pool=2), stages)
        if self.bins < 3:
            raise DataError(f"ThinResNet: feat_dim is {feat_dim}, of which {self.bins} frequencies are left, not 3")
        self.readouts = nn.ModuleList([FrequencyConvolution(channels[-1], self.bins, output_channels)])
        initialize(self.readouts)
        self.output_dim = output_channels
        self._stage_dims = (output_channels,)
