"""Conformer: blocks of feed-forward layers, self-attention and convolution; MFA-Conformer, which pools all of them."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.layers import frame_mask, strided
from timbre.nnet.models.sequence import ChannelNorm, DepthwiseConvolution, SelfAttention, check_sizes, zero_frames
from timbre.nnet.models.trunk import Frames, Trunk
from timbre.utils.errors import DataError


class Conformer(Trunk):
    """Conformer (Gulati et al. 2020, arXiv 2005.08100) without positions, which its convolutions tell well enough.

    With `mfa` the outputs of all blocks are concatenated (MFA-Conformer, Zhang et al. 2022, arXiv 2203.15249).

    Args:
        feat_dim: feature dimension
        channels: width
        blocks: number of blocks
        heads: heads of the attention
        hidden: hidden size of the feed-forward layers
        kernel: frames that the convolution of a block sees
        dropout: share dropped of each layer's output, of the hidden layers and of the attention weights
        subsampling: by what time is divided first: 1, 2, 4 or 8, one 3x3 convolution of strides 2 for each factor of 2;
            an affine map of each frame follows
        mfa: the output is the LayerNorm of the outputs of all blocks, not the output of the last
    """

    def __init__(
        self,
        feat_dim: int,
        channels: int = 80,
        blocks: int = 4,
        heads: int = 4,
        hidden: int = 128,
        kernel: int = 31,
        dropout: float = 0.1,
        subsampling: int = 1,
        mfa: bool = False,
    ) -> None:
        super().__init__()
        check_sizes("Conformer", channels, blocks, hidden, dropout)
        if subsampling not in (1, 2, 4, 8):
            raise DataError(f"Conformer: subsampling is {subsampling}; it must be 1, 2, 4 or 8")
        self.entry = Subsampling(feat_dim, channels, subsampling.bit_length() - 1)
        self.blocks = nn.ModuleList(ConformerBlock(channels, heads, hidden, kernel, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(blocks * channels) if mfa else None
        self.output_dim = blocks * channels if mfa else channels
        self.min_frames, self.receptive_field = 1, None

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Frames:
        """FEATS (B, T, feat_dim) -> (B, output_dim, T'), T' = T / subsampling, rounded up, and lengths likewise."""
        frames, lengths = self.entry(feats, lengths)
        mask = frame_mask(lengths, frames.shape[1])
        outputs: list[Tensor] = []
        for block in self.blocks:
            frames = block(frames, mask)
            outputs.append(frames)
        if self.norm is not None:
            frames = self.norm(torch.cat(outputs, 2))
        return frames.transpose(1, 2), lengths


class Subsampling(nn.Module):
    """3x3 convolutions with stride 2, each with a ReLU, if any; then an affine map of what is left of a frame.

    Args:
        feat_dim: feature dimension
        channels: channels of the convolutions and of the output
        num_convs: number of convolutions
    """

    def __init__(self, feat_dim: int, channels: int, num_convs: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList()
        inputs, bins = 1, feat_dim
        for _ in range(num_convs):
            self.convolutions.append(nn.Conv2d(inputs, channels, 3, 2, padding=(1, 0)))
            inputs, bins = channels, (bins - 1) // 2
        if bins < 1:
            raise DataError(f"Conformer: feat_dim {feat_dim} is too small for a subsampling of {2**num_convs}")
        self.affine = nn.Linear(inputs * bins, channels)

    def forward(self, feats: Tensor, lengths: Tensor | None) -> Frames:
        """(B, T, feat_dim) -> (B, T', channels), T' = T / 2**num_convs, rounded up, finite; and lengths likewise."""
        planes = zero_frames(feats[..., None], frame_mask(lengths, feats.shape[1]))
        for convolution in self.convolutions:
            planes = torch.relu_(convolution(planes.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
            lengths = strided(lengths, 2)
            planes = zero_frames(planes, frame_mask(lengths, planes.shape[1]))
        return self.affine(planes.flatten(2)), lengths


class ConformerBlock(nn.Module):
    """Half of a feed-forward layer, self-attention, convolution, the other half, each added to its input; LayerNorm."""

    def __init__(self, channels: int, heads: int, hidden: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.first_half = feed_forward(channels, hidden, dropout)
        self.attention_norm = nn.LayerNorm(channels)
        self.attention = SelfAttention(channels, heads, dropout)
        self.attention_dropout = nn.Dropout(dropout)
        self.convolution = ConvolutionModule(channels, kernel, dropout)
        self.second_half = feed_forward(channels, hidden, dropout)
        self.norm = nn.LayerNorm(channels)

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, channels) -> the same."""
        frames = torch.add(frames, self.first_half(frames), alpha=0.5)
        frames = frames + self.attention_dropout(self.attention(self.attention_norm(frames), mask))
        frames = frames + self.convolution(frames, mask)
        out: Tensor = self.norm(torch.add(frames, self.second_half(frames), alpha=0.5))
        return out


def feed_forward(channels: int, hidden: int, dropout: float) -> nn.Sequential:
    """LayerNorm, hidden layer with SiLU, output layer, and dropout after both."""
    return nn.Sequential(
        nn.LayerNorm(channels),
        nn.Linear(channels, hidden),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(hidden, channels),
        nn.Dropout(dropout),
    )


class ConvolutionModule(nn.Module):
    """LayerNorm, affine map to twice the channels, gating; depthwise convolution, BatchNorm, SiLU, affine."""

    def __init__(self, channels: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, 2 * channels)
        self.depthwise = DepthwiseConvolution(channels, kernel)
        self.depthwise_norm = ChannelNorm(channels)
        self.combine = nn.Linear(channels, channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, channels) -> the same."""
        gated = zero_frames(functional.glu(self.expand(self.norm(frames)), 2), mask)
        convolved = functional.silu(self.depthwise_norm(self.depthwise(gated)))
        out: Tensor = self.dropout(self.combine(convolved))
        return out
