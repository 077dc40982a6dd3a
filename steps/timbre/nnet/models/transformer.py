"""Transformer encoder: blocks of self-attention and feed-forward layers, each normalised after it is added."""

from torch import Tensor, nn

from timbre.nnet.layers import frame_mask
from timbre.nnet.models.sequence import SelfAttention, check_sizes, zero_frames
from timbre.nnet.models.trunk import Frames, Trunk


class Transformer(Trunk):
    """Encoder of the Transformer (Vaswani et al. 2017, arXiv 1706.03762) without positions, after an affine map.

    Args:
        feat_dim: feature dimension
        channels: width
        blocks: number of blocks
        heads: heads of the attention
        hidden: hidden size of the feed-forward layers
        dropout: share dropped of each layer's output, of the hidden layers and of the attention weights
    """

    def __init__(
        self,
        feat_dim: int,
        channels: int = 80,
        blocks: int = 1,
        heads: int = 2,
        hidden: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_sizes("Transformer", channels, blocks, hidden, dropout)
        self.entry = nn.Linear(feat_dim, channels)
        self.blocks = nn.ModuleList(TransformerBlock(channels, heads, hidden, dropout) for _ in range(blocks))
        self.output_dim = channels
        self.min_frames, self.receptive_field = 1, None

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Frames:
        """FEATS (B, T, feat_dim) -> (B, channels, T), and the lengths as they are."""
        mask = frame_mask(lengths, feats.shape[1])
        frames = self.entry(zero_frames(feats, mask))
        for block in self.blocks:
            frames = block(frames, mask)
        return frames.transpose(1, 2), lengths


class TransformerBlock(nn.Module):
    """Self-attention, then a feed-forward layer with ReLU, each added to its input; LayerNorm of both sums."""

    def __init__(self, channels: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(channels, heads, dropout)
        self.attention_dropout = nn.Dropout(dropout)
        self.attention_norm = nn.LayerNorm(channels)
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, channels),
            nn.Dropout(dropout),
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, channels) -> the same."""
        frames = self.attention_norm(frames + self.attention_dropout(self.attention(frames, mask)))
        out: Tensor = self.norm(frames + self.feed_forward(frames))
        return out
