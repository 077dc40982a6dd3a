"""Layers on frames (B, T, C), where channels lie together: Transformer, Conformer and ReDimNet are made of them."""

from torch import Tensor, nn
from torch.nn import functional

from timbre.utils.errors import DataError


def zero_frames(frames: Tensor, mask: Tensor | None) -> Tensor:
    """FRAMES (B, T, ...), zero where MASK (B, 1, T) is False."""
    if mask is None:
        return frames
    return frames.masked_fill(~mask.view(len(mask), -1, *[1] * (frames.dim() - 2)), 0)


def check_sizes(kind: str, channels: int, blocks: int, hidden: int, dropout: float) -> None:
    """Raises DataError, in the name of the class KIND, for sizes that blocks of attention cannot have."""
    if min(channels, blocks, hidden) < 1 or not 0 <= dropout < 1:
        raise DataError(
            f"{kind}: channels {channels}, blocks {blocks}, hidden {hidden}, dropout {dropout}; sizes must be "
            "at least 1, dropout from 0 to below 1"
        )


class SelfAttention(nn.Module):
    """Multi-head self-attention over the frames of each utterance (Vaswani et al. 2017), without positions.

    Args:
        channels: channels in and out
        heads: number of heads, of channels / heads each
        dropout: share of the attention weights that is dropped
    """

    def __init__(self, channels: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if heads < 1 or channels % heads:
            raise DataError(f"SelfAttention: {channels} channels do not make {heads} equal heads")
        self.heads = heads
        self.project = nn.Linear(channels, 3 * channels)
        self.dropout = nn.Dropout(dropout)
        self.combine = nn.Linear(channels, channels)

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """FRAMES (B, T, channels), all finite, and the mask (B, 1, T) of those attended to -> the same shape."""
        query, key, value = self.project(frames).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=None if mask is None else mask[:, None],
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        out: Tensor = self.combine(attended.transpose(1, 2).flatten(2))
        return out


class DepthwiseConvolution(nn.Module):
    """Each channel convolved over time by a filter of its own, with zeros around.

    Args:
        channels: channels in and out
        kernel: number of frames spliced, odd
    """

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise DataError(f"DepthwiseConvolution: a kernel of {kernel} frames is not odd")
        self.filters = nn.Conv2d(channels, channels, (kernel, 1), padding=(kernel // 2, 0), groups=channels)

    def forward(self, frames: Tensor) -> Tensor:
        """FRAMES (B, T, channels), zero past the end -> the same shape."""
        # a plane of one column is channels-last as the frames lie, and that is the fast layout on a CPU: 3 to 4 times
        # as fast as conv1d, which makes copies. With a plane of one row oneDNN never returns from bfloat16 and 16
        # channels.
        # CUDA has kernels of its own for channels first
        planes = frames.transpose(1, 2)[..., None]
        out: Tensor = self.filters(planes.contiguous() if planes.is_cuda else planes)
        return out[..., 0].transpose(1, 2)


class ChannelNorm(nn.BatchNorm1d):
    """BatchNorm of the channels, the last dimension."""

    def forward(self, frames: Tensor) -> Tensor:
        """(..., C) -> the same shape."""
        return super().forward(frames.flatten(0, -2)).view_as(frames)
