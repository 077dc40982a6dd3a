"""RepVGG on the (frequency, time) plane: branches in training, plain 3x3 convolutions afterwards."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.models.plane import ConvNorm, PlaneBlock, PlaneTrunk


class RepVggBlock(PlaneBlock):
    """ReLU of the sum of a 3x3 and a 1x1 convolution and, where it keeps the size, the input, each with BatchNorm.

    Args:
        inputs: channels in
        outputs: channels out
        stride: by what it divides frequency and time
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(outputs, stride, context=2)
        self.dense = ConvNorm(inputs, outputs, 3, stride)
        self.point = ConvNorm(inputs, outputs, 1, stride)
        self.identity = nn.BatchNorm2d(inputs) if stride == 1 and inputs == outputs else None
        self.fused: nn.Conv2d | None = None

    def transform(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, inputs, F, T) -> (B, outputs, F / stride, T / stride), rounded up."""
        out: Tensor
        if self.fused is not None:
            out = self.fused(planes)
        else:
            out = self.dense(planes).add_(self.point(planes))
            if self.identity is not None:
                out = out.add_(self.identity(planes))
        return torch.relu_(out)

    @torch.no_grad()
    def fuse(self) -> None:
        """Replaces the branches by the one convolution that they are together, with BatchNorm as in eval mode."""
        if self.fused is not None:
            return
        conv = self.dense.conv
        point = functional.pad(self.point.conv.weight, (1, 1, 1, 1))
        branches = [folded(conv.weight, self.dense.norm), folded(point, self.point.norm)]
        if self.identity is not None:
            branches.append(folded(nn.init.dirac_(torch.empty_like(conv.weight)), self.identity))
        fused = nn.Conv2d(conv.in_channels, self.channels, 3, self.stride, padding=1).to(conv.weight)
        state = {"weight": sum(kernel for kernel, _ in branches), "bias": sum(bias for _, bias in branches)}
        fused.load_state_dict(state)
        self.fused, self.identity = fused, None
        del self.dense, self.point


def folded(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias, float64, of a convolution with KERNEL (out, in, 3, 3) and NORM after it."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    return kernel.double() * scale[:, None, None, None], norm.bias.double() - norm.running_mean.double() * scale


class RepVgg(PlaneTrunk):
    """RepVGG (Ding et al. 2021, arXiv 2101.03697) for speakers, as narrow and deep as WeSpeaker's TINY-A0.

    Args:
        feat_dim: feature dimension
        channels: width of each stage
        blocks: number of blocks of each stage
        strides: by what each stage divides frequency and time
        stem_channels: width of the first block, which is not of a stage
        stem_stride: by what it divides frequency and time
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (32, 64, 128, 256),
        blocks: tuple[int, ...] = (3, 4, 23, 3),
        strides: tuple[int, ...] = (1, 2, 2, 2),
        stem_channels: int = 32,
        stem_stride: int = 1,
    ) -> None:
        shapes = self.layout(channels, blocks, strides, stem_stride, stem_channels)
        super().__init__(
            feat_dim,
            RepVggBlock(1, stem_channels, stem_stride),
            [[RepVggBlock(*shape) for shape in stage] for stage in shapes],
        )

    def fuse(self) -> None:
        """Replaces the branches of every block by one convolution each; in eval mode the function stays the same."""
        for block in self.modules():
            if isinstance(block, RepVggBlock):
                block.fuse()
