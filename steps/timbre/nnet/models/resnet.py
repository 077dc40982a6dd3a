"""Two-dimensional residual networks over frequency and time: r-vectors, thin ResNets and those of voxceleb_trainer."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from timbre.nnet.models.plane import PlaneBlock, PlaneTrunk
from timbre.nnet.models.resnet_blocks import Attention, BasicBlock, Bottleneck, Res2Block, ResidualBlock, Stem
from timbre.nnet.models.trunk import Frames
from timbre.utils.errors import DataError


def initialize(module: nn.Module) -> None:
    """Random weights of the convolutions in MODULE that keep the variance of gradients (He et al. 2015)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")


class FrequencyAverage(nn.Module):
    """Planes to frames: frequencies become channels, after neighbours were averaged if they are to be fewer.

    The averages are those of adaptive average pooling, over frequency alone: where the number of frequencies is not a
    multiple of what they are to be, neighbouring averages share one.

    Args:
        bins: frequencies in
        averages: frequencies out; None: as many as in
    """

    def __init__(self, bins: int, averages: int | None) -> None:
        super().__init__()
        self.bins = bins if averages is None else averages
        self.windows = [(index * bins // self.bins, -(-(index + 1) * bins // self.bins)) for index in range(self.bins)]
        self.averaging = self.bins != bins

    def forward(self, planes: Tensor) -> Tensor:
        """(B, C, F, T) -> (B, C * F', T)."""
        if self.averaging:
            planes = torch.stack([planes[:, :, start:end].mean(2) for start, end in self.windows], 2)
        return planes.flatten(1, 2)


class ResidualTrunk(PlaneTrunk):
    """A PlaneTrunk that may average over frequency in the end, and whose stem may shrink it more than time.

    Args:
        feat_dim: feature dimension
        stem: first part
        stages: blocks of each stage
        num_bins: frequencies that are left are averaged to so many; None: they stay

    Attributes:
        bins: frequencies that the last stage leaves
    """

    @abstractmethod
    def __init__(
        self, feat_dim: int, stem: Stem, stages: Sequence[Sequence[PlaneBlock]], num_bins: int | None = None
    ) -> None:
        super().__init__(feat_dim, stem, stages)
        if num_bins is not None and num_bins < 1:
            raise DataError(f"{type(self).__name__}: num_bins is {num_bins}; it must be at least 1")
        self.readouts = nn.ModuleList()
        self.bins, dims = stem.bins(feat_dim), []
        if self.bins < 1:
            raise DataError(f"{type(self).__name__}: feat_dim is {feat_dim}, too few for the maximum after the stem")
        for stage in stages:
            for block in stage:
                self.bins = -(-self.bins // block.stride)
            self.readouts.append(FrequencyAverage(self.bins, num_bins))
            dims.append(stage[-1].channels * (self.bins if num_bins is None else num_bins))
        self._stage_dims, self.output_dim, self.min_frames = tuple(dims), dims[-1], stem.min_frames
        initialize(self)

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Frames:
        """FEATS (B, T, feat_dim) -> (B, output_dim, T / product of the strides, rounded up) and lengths likewise."""
        planes, lengths = self.begin(feats, lengths)
        for stage in self.blocks:
            planes, lengths = stage(planes, lengths)
        return self.readouts[-1](planes), lengths

    def stages(self, feats: Tensor, lengths: Tensor | None = None) -> list[Frames]:
        """The output of each stage as frames."""
        outputs = self.planes(feats, lengths)[-len(self.readouts) :]
        return [(readout(planes), count) for readout, (planes, count) in zip(self.readouts, outputs, strict=True)]


class ResNet(ResidualTrunk):
    """ResNet on the (frequency, time) plane (He et al. 2016; r-vectors, Zeinali et al. 2019, arXiv 1910.12592).

    Frequencies that are left become channels of the output.

    Args:
        feat_dim: feature dimension
        channels: width of each stage
        blocks: number of blocks of each stage
        strides: by what each stage divides frequency and time
        stem_stride: by what the first convolution divides them; two numbers: frequency and time
        stem_kernel: frequencies and frames that it sees
        stem_pool: frequencies and frames of a maximum after it, which halves them; 0: there is none
        block: two 3x3 convolutions (basic), 1x1, 3x3 and 1x1 (bottleneck), or 1x1, 3x3 of groups in turn, 1x1 (res2)
        expansion: a bottleneck or res2 block gives so many times its width
        scale: groups of a res2 block
        attention: in each block: squeeze-excitation (se), CBAM, or none
        reduction: the hidden layer of the attention has so many times fewer channels
        relu_first: where ReLU comes before BatchNorm: nowhere, between the convolutions of the blocks, or everywhere,
            that is in the stem too, whose convolution then has offsets
        num_bins: frequencies that are left are averaged to so many; None: they stay
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (32, 64, 128, 256),
        blocks: tuple[int, ...] = (3, 4, 6, 3),
        strides: tuple[int, ...] = (1, 2, 2, 2),
        stem_stride: int | tuple[int, int] = 1,
        stem_kernel: int = 3,
        stem_pool: int = 0,
        block: Literal["basic", "bottleneck", "res2"] = "basic",
        expansion: int = 1,
        scale: int = 4,
        attention: Attention = "none",
        reduction: int = 16,
        relu_first: Literal["nowhere", "blocks", "everywhere"] = "nowhere",
        num_bins: int | None = None,
    ) -> None:
        if min(expansion, reduction) < 1 or (block == "basic" and expansion > 1):
            raise DataError(
                f"ResNet: expansion is {expansion}, reduction is {reduction}; both must be at least 1, and the first "
                "1 with basic blocks"
            )
        if block == "res2" and (scale < 2 or any(width % scale for width in channels)):
            raise DataError(f"ResNet: scale is {scale}; it must be at least 2 and divide channels {channels}")
        stem_strides = (stem_stride, stem_stride) if isinstance(stem_stride, int) else stem_stride
        outputs = [expansion * width for width in channels]
        shapes = self.layout(outputs, blocks, strides, min(stem_strides), next(iter(channels), None))

        def make(shape: tuple[int, int, int], width: int) -> ResidualBlock:
            first = relu_first != "nowhere"
            if block == "bottleneck":
                return Bottleneck(*shape, width, attention=attention, reduction=reduction, relu_first=first)
            if block == "res2":
                return Res2Block(*shape, width, scale, attention, reduction, first)
            return BasicBlock(*shape, attention, reduction, first)

        stem = Stem(channels[0], stem_kernel, stem_strides, stem_pool, relu_first == "everywhere")
        stages = [[make(shape, width) for shape in stage] for stage, width in zip(shapes, channels, strict=True)]
        super().__init__(feat_dim, stem, stages, num_bins)
