"""ERes2Net: Res2Net whose groups, and whose stages, are joined by attention."""

import torch
from torch import Tensor, nn

from timbre.nnet.layers import frame_mask, zero_padding
from timbre.nnet.models.plane import PlaneTrunk, Stem
from timbre.nnet.models.res2net import Res2Block, group_widths
from timbre.nnet.models.trunk import Frames
from timbre.utils.errors import DataError


class AttentionalFusion(nn.Module):
    """Two planes mixed, each point of each channel in a proportion that both decide (Dai et al. 2021; ERes2Net).

    Args:
        channels: channels of each of the two, and out
        reduction: the hidden layer has so many times fewer
    """

    def __init__(self, channels: int, reduction: int = 4) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        # one 1x1 convolution of both planes, in two parts, for then they need not be copied together
        self.first = nn.Conv2d(channels, hidden, 1)
        self.second = nn.Conv2d(channels, hidden, 1, bias=False)
        self.gate = nn.Sequential(
            nn.BatchNorm2d(hidden), nn.SiLU(), nn.Conv2d(hidden, channels, 1), nn.BatchNorm2d(channels), nn.Tanh()
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two of (B, C, F, T) -> (B, C, F, T): (1 + gate) * first + (1 - gate) * second."""
        gate = self.gate(self.first(first) + self.second(second))
        return torch.addcmul(first + second, gate, first - second)


class FusedRes2Block(Res2Block):
    """A Res2Net block that joins its groups by attention (local feature fusion)."""

    def __init__(
        self, inputs: int, outputs: int, stride: int, width: int, scale: int, relu_limit: float = 20.0
    ) -> None:
        super().__init__(inputs, outputs, stride, width, scale, True, relu_limit)
        self.fusions = nn.ModuleList(AttentionalFusion(width) for _ in range(scale - 1))

    def join(self, index: int, result: Tensor, group: Tensor) -> Tensor:
        """The mixture that attention makes of RESULT and GROUP."""
        joined: Tensor = self.fusions[index - 1](result, group)
        return joined


class ERes2Net(PlaneTrunk):
    """Enhanced Res2Net (Chen et al. 2023, arXiv 2305.12838), and its second version (Chen et al. 2024, 2406.02167).

    Groups of channels within the blocks of the last stages (local) and the outputs of the last stages (global, from the
    first of them on, halved by a convolution each time) are joined by attention.

    Args:
        feat_dim: feature dimension
        channels: width of the blocks of each stage
        blocks: number of blocks of each stage
        strides: by what each stage divides frequency and time
        stem_stride: by what the first convolution divides them
        expansion: a block gives so many times its width
        scale: groups of channels in a block, each of them convolved
        group_width: channels of a group, as part of the width of the block
        relu_limit: activations are cut off here; .inf: they are not
        local_fusion: so many of the last stages join groups by attention; those before add them
        global_fusion: so many of the last stages are joined (4: ERes2Net; 2: ERes2NetV2); 1: the last stage alone
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
        local_fusion: int = 2,
        global_fusion: int = 4,
    ) -> None:
        if not 0 <= local_fusion <= len(channels) or not 1 <= global_fusion <= len(channels):
            raise DataError(
                f"ERes2Net: local_fusion is {local_fusion}, global_fusion is {global_fusion}; "
                f"they count stages, of which there are {len(channels)}, and the second is 1 or more"
            )
        widths = group_widths("ERes2Net", channels, expansion, scale, group_width, relu_limit)
        outputs = [expansion * width for width in channels]
        shapes = self.layout(outputs, blocks, strides, stem_stride, channels[0])
        stages = [
            [
                FusedRes2Block(*shape, width, scale, relu_limit)
                if left <= local_fusion
                else Res2Block(*shape, width, scale, True, relu_limit)
                for shape in stage
            ]
            for stage, width, left in zip(shapes, widths, range(len(widths), 0, -1), strict=True)
        ]
        super().__init__(feat_dim, Stem(channels[0], stem_stride), stages)
        self.downsamples, self.fusions = nn.ModuleList(), nn.ModuleList()
        first = len(channels) - global_fusion
        field = self.fields[first + 1]
        for stage in range(first + 1, len(channels)):
            stride = strides[stage]
            conv = nn.Conv2d(outputs[stage - 1], outputs[stage], 3, stride, padding=1, bias=False)
            self.downsamples.append(conv)
            self.fusions.append(AttentionalFusion(outputs[stage]))
            field = max(field + 2 * self.jumps[stage], self.fields[stage + 1])
        self.receptive_field = field

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Frames:
        """FEATS (B, T, feat_dim) -> (B, output_dim, T / product of the strides, rounded up) and lengths likewise."""
        planes, lengths = self.planes(feats, lengths)[-1]
        return planes.flatten(1, 2), lengths

    def planes(self, feats: Tensor, lengths: Tensor | None) -> list[Frames]:
        """The output of each stage, the last of them joined with those before."""
        outputs = super().planes(feats, lengths)
        joined, _ = outputs[-1 - len(self.fusions)]
        later = outputs[len(outputs) - len(self.fusions) :]
        for downsample, fusion, (planes, count) in zip(self.downsamples, self.fusions, later, strict=True):
            joined = zero_padding(fusion(planes, downsample(joined)), frame_mask(count, planes.shape[3]))
        return [*outputs[:-1], (joined, outputs[-1][1])]
