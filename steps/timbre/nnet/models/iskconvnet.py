"""ISKConvNet: ResNet whose blocks choose, channel by channel, between convolutions of short and of long context."""

import torch
from torch import Tensor, nn

from timbre.nnet.layers import mean_and_std, zero_padding
from timbre.nnet.models.plane import ConvNorm, PlaneBlock, PlaneTrunk, Stem, shortcut
from timbre.utils.errors import DataError


class BranchAttention(nn.Module):
    """How much each branch counts in each channel, from what the whole utterance is like.

    [mean; deviation] of each channel over frequencies and real frames (selective kernel networks have the mean alone),
    affine, BatchNorm, ReLU, affine, softmax over the branches.

    Args:
        channels: channels of a branch
        branches: number of branches
        reduction: the hidden layer has so many times fewer channels
        min_hidden: but at least so many
    """

    def __init__(self, channels: int, branches: int, reduction: int, min_hidden: int) -> None:
        super().__init__()
        self.channels, self.branches = channels, branches
        hidden = max(channels // reduction, min_hidden)
        self.hidden = nn.Sequential(
            nn.Linear(2 * channels, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)
        )
        self.scores = nn.Linear(hidden, branches * channels)

    def forward(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """Sum of the branches (B, C, F, T) -> weights (B, branches, C) float32, whose sum over the branches is 1."""
        if mask is not None:
            mask = mask[:, :, None].expand(-1, -1, planes.shape[2], -1).flatten(2)
        statistics = torch.cat(mean_and_std(planes.flatten(2), mask, variance_floor=1e-10), 1)
        scores: Tensor = self.scores(self.hidden(statistics))
        return scores.view(-1, self.branches, self.channels).softmax(1, dtype=torch.float32)


class SelectiveConvolution(nn.Module):
    """Improved selective kernel convolution: 3x3 convolutions with BatchNorm, dilated over time, mixed by attention.

    With a single dilation it is that convolution, for the weight of a branch that is alone is 1.

    Args:
        channels: channels in and out
        dilations: a branch each, over time; over frequency it is 1
        reduction: the hidden layer of the attention has so many times fewer channels
        min_hidden: but at least so many
    """

    def __init__(self, channels: int, dilations: tuple[int, ...], reduction: int, min_hidden: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(ConvNorm(channels, channels, 3, time_dilation=dilation) for dilation in dilations)
        self.attention = BranchAttention(channels, len(dilations), reduction, min_hidden)

    def forward(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, C, F, T), with zeros past the end -> the same shape; what is past the end means nothing."""
        outputs: list[Tensor] = [branch(planes) for branch in self.branches]
        weights = self.attention(sum(outputs[1:], outputs[0]), mask).to(outputs[0].dtype)
        weighted = [out * weight[:, :, None, None] for out, weight in zip(outputs, weights.unbind(1), strict=True)]
        mixed: Tensor = sum(weighted[1:], weighted[0])
        return mixed


class SelectiveBlock(PlaneBlock):
    """3x3 convolution, selective convolution, and the input added before the last ReLU.

    Args:
        inputs: channels in
        outputs: channels out
        stride: by what it divides frequency and time
        dilations: of the branches, over time
        reduction: that of the attention
        min_hidden: that of the attention
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, dilations: tuple[int, ...], reduction: int, min_hidden: int
    ) -> None:
        super().__init__(outputs, stride, context=2 + 2 * stride * max(dilations))
        self.before = ConvNorm(inputs, outputs, 3, stride)
        self.selective = SelectiveConvolution(outputs, dilations, reduction, min_hidden)
        self.norm = nn.BatchNorm2d(outputs)
        self.shortcut = shortcut(inputs, outputs, stride)

    def transform(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """(B, inputs, F, T) -> (B, outputs, F / stride, T / stride), rounded up."""
        inner = zero_padding(torch.relu_(self.before(planes)), mask)
        inner = self.norm(self.selective(inner, mask))
        return torch.relu_(inner + self.shortcut(planes))


class IskConvNet(PlaneTrunk):
    """ResNet34 with improved selective kernel convolutions (after Li et al. 2019, arXiv 1903.06586).

    With its last three stages pooled (pooled_stages: 3) the statistics are multi-scale.

    Args:
        feat_dim: feature dimension
        channels: width of each stage
        blocks: number of blocks of each stage
        strides: by what each stage divides frequency and time
        stem_stride: by what the first convolution divides them
        dilations: over time, of the convolutions that a block chooses from
        reduction: the hidden layer of the attention has so many times fewer channels
        min_hidden: but at least so many
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (32, 64, 128, 256),
        blocks: tuple[int, ...] = (3, 4, 6, 3),
        strides: tuple[int, ...] = (1, 2, 2, 2),
        stem_stride: int = 1,
        dilations: tuple[int, ...] = (1, 2),
        reduction: int = 16,
        min_hidden: int = 32,
    ) -> None:
        if not dilations or min(*dilations, reduction, min_hidden) < 1:
            raise DataError(
                f"IskConvNet: dilations are {dilations}, reduction is {reduction}, min_hidden is {min_hidden}; "
                "there must be a branch, and all must be at least 1"
            )
        shapes = self.layout(channels, blocks, strides, stem_stride)
        stages = [[SelectiveBlock(*shape, dilations, reduction, min_hidden) for shape in stage] for stage in shapes]
        super().__init__(feat_dim, Stem(channels[0], stem_stride), stages)
