"""ECAPA-TDNN: dilated Res2Net blocks with squeeze-excitation, whose outputs are aggregated."""

from typing import Literal

import torch
from torch import Tensor, nn

from timbre.nnet.layers import SqueezeExcitation, TdnnLayer, frame_mask, zero_padding
from timbre.nnet.models.trunk import Trunk
from timbre.utils.errors import DataError


class EcapaTdnn(Trunk):
    """Frame layers of ECAPA-TDNN (Desplanques et al. 2020, arXiv 2005.07143), to be pooled with attentive statistics.

    Args:
        feat_dim: feature dimension
        channels: width of the blocks
        output_channels: channels after the aggregation
        dilations: one block each
        scale: groups of channels in a block's Res2Net convolution
        bottleneck: hidden size of the squeeze-excitation
        residual: a block's input is the sum of all outputs before it (the paper), or the last output alone (chain)
        padding: of convolutions over time, at the ends of an utterance: zeros, or its frames mirrored (SpeechBrain)
        output_norm: BatchNorm after the aggregation (SpeechBrain)
    """

    def __init__(
        self,
        feat_dim: int,
        channels: int = 512,
        output_channels: int = 1536,
        dilations: tuple[int, ...] = (2, 3, 4),
        scale: int = 8,
        bottleneck: int = 128,
        residual: Literal["sum", "chain"] = "sum",
        padding: Literal["zeros", "reflect"] = "zeros",
        output_norm: bool = False,
    ) -> None:
        super().__init__()
        if scale < 2 or channels % scale:
            raise DataError(f"EcapaTdnn: {channels} channels do not make {scale} (2 or more) equal groups")
        self.residual, reflect = residual, padding == "reflect"
        self.stem = TdnnLayer(feat_dim, channels, 5, same=True, reflect=reflect)
        self.blocks = nn.ModuleList(
            SeRes2Block(channels, dilation, scale, bottleneck, reflect) for dilation in dilations
        )
        self.aggregate = nn.Conv1d(len(dilations) * channels, output_channels, 1)
        self.norm = nn.BatchNorm1d(output_channels) if output_norm else nn.Identity()
        self.output_dim = output_channels
        self.min_frames = 1 + max(2, *dilations) if reflect else 1
        self.receptive_field = 5 + sum(2 * dilation * (scale - 1) for dilation in dilations)

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """FEATS (B, T, feat_dim) -> (B, output_channels, T) and LENGTHS."""
        mask = frame_mask(lengths, feats.shape[1])
        total = self.stem(zero_padding(feats.transpose(1, 2), mask), mask)
        outputs: list[Tensor] = []
        for block in self.blocks:
            outputs.append(block(total, mask))
            total = total + outputs[-1] if self.residual == "sum" else outputs[-1]
        return self.norm(torch.relu_(self.aggregate(torch.cat(outputs, 1)))), lengths


class SeRes2Block(nn.Module):
    """1x1, Res2Net convolution, 1x1, squeeze-excitation, and the input added."""

    def __init__(self, channels: int, dilation: int, scale: int, bottleneck: int, reflect: bool = False) -> None:
        super().__init__()
        self.before = TdnnLayer(channels, channels)
        self.res2 = Res2Convolution(channels, dilation, scale, reflect)
        self.after = TdnnLayer(channels, channels)
        self.excitation = SqueezeExcitation(channels, bottleneck)

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, channels, T) -> the same."""
        out: Tensor = self.excitation(self.after(self.res2(self.before(frames), mask)), mask)
        return frames + out


class Res2Convolution(nn.Module):
    """Channels in SCALE groups: each but the last is convolved after the result of the group before is added to it."""

    def __init__(self, channels: int, dilation: int, scale: int, reflect: bool = False) -> None:
        super().__init__()
        width = channels // scale
        self.layers = nn.ModuleList(
            TdnnLayer(width, width, 3, dilation, same=True, reflect=reflect) for _ in range(scale - 1)
        )

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, channels, T) -> the same."""
        *groups, last = frames.chunk(len(self.layers) + 1, 1)
        outputs: list[Tensor] = []
        for layer, group in zip(self.layers, groups, strict=True):
            outputs.append(layer(zero_padding(group + outputs[-1] if outputs else group, mask), mask))
        return torch.cat((*outputs, last), 1)
