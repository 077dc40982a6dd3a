"""ResNet whose blocks have BatchNorm and ReLU before each convolution, as SpeechBrain's."""

import torch
from torch import Tensor, nn

from timbre.nnet.layers import zero_padding
from timbre.nnet.models.resnet import ResidualTrunk
from timbre.nnet.models.resnet_blocks import Attention, ResidualBlock, Stem, thinned
from timbre.utils.errors import DataError


class PreactivationResNet(ResidualTrunk):
    """ResNet on the (frequency, time) plane with pre-activation (He et al. 2016, arXiv 1603.05027).

    Args:
        feat_dim: feature dimension
        channels: width of each stage
        blocks: number of blocks of each stage
        strides: by what each stage divides frequency and time
        attention_stages: so many of the first stages have squeeze-excitation in each block
        reduction: its hidden layer has so many times fewer channels
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (128, 128, 256, 256),
        blocks: tuple[int, ...] = (3, 4, 6, 3),
        strides: tuple[int, ...] = (1, 2, 2, 2),
        attention_stages: int = 2,
        reduction: int = 1,
    ) -> None:
        if attention_stages < 0 or reduction < 1:
            text = f"attention_stages is {attention_stages}, reduction is {reduction}"
            raise DataError(f"PreactivationResNet: {text}; they must be at least 0 and at least 1")
        shapes = self.layout(channels, blocks, strides, 1, next(iter(channels), None))
        kinds: list[Attention] = ["se" if stage < attention_stages else "none" for stage in range(len(shapes))]
        stages = [
            [PreactivationBlock(*shape, kind, reduction) for shape in stage]
            for stage, kind in zip(shapes, kinds, strict=True)
        ]
        super().__init__(feat_dim, Stem(channels[0], 3, (1, 1)), stages)


class PreactivationBlock(ResidualBlock):
    """BatchNorm, ReLU and a convolution, three times: 3x3, 3x3 and 1x1; nothing follows the sum.

    Args:
        inputs: channels in
        outputs: channels out
        stride: by what it divides frequency and time; the first convolution does
        attention: of ResidualBlock
        reduction: of ResidualBlock
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, attention: Attention = "none", reduction: int = 1
    ) -> None:
        super().__init__(inputs, outputs, stride, 2 + 2 * stride, attention, reduction)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in (inputs, outputs, outputs))
        self.convs = nn.ModuleList(
            (
                nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
                nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
                nn.Conv2d(outputs, outputs, 1, bias=False),
            )
        )

    def transform(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """What `forward` says; MASK is that of PLANES, and what is past the end afterwards may be anything."""
        inner = self.convolve(planes, mask)
        if self.attention is not None:
            inner = self.attention(inner, thinned(mask, self.stride))
        summed: Tensor = inner + self.shortcut(planes)
        return summed

    def convolve(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """3x3, 3x3 and 1x1."""
        for norm, conv, stride in zip(self.norms, self.convs, (1, self.stride, self.stride), strict=True):
            planes = conv(zero_padding(torch.relu(norm(planes)), thinned(mask, stride)))
        return planes
