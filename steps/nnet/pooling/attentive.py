"""Poolings that weight the frames by attention."""

import torch
from torch import Tensor, nn

from steps.nnet.layers import mean_and_std
from steps.nnet.pooling.base import Pooling


class AttentiveStatisticsPooling(Pooling):
    """Mean and standard deviation weighted by an attention of each channel's own (ECAPA-TDNN, arXiv 2005.07143, 2.3).

    weights = softmax over time of affine(tanh(affine([frame; mean; std]))); without global context, of the frame alone.

    Args:
        channels: channels in
        bottleneck: size of the hidden layer of the attention
        global_context: the attention sees mean and standard deviation of the utterance beside each frame
        variance_floor: least variance
    """

    def __init__(
        self, channels: int, bottleneck: int = 128, global_context: bool = True, variance_floor: float = 1e-5
    ) -> None:
        super().__init__()
        self.variance_floor = variance_floor
        self.frame = nn.Conv1d(channels, bottleneck, 1)
        # the part of the first affine map that sees [mean; std]: applied once an utterance, not once a frame
        self.context = nn.Linear(2 * channels, bottleneck, bias=False) if global_context else None
        self.attention = nn.Conv1d(bottleneck, channels, 1)
        self.output_dim = 2 * channels

    def pool(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Weighted means, then weighted standard deviations."""
        hidden = self.frame(frames)
        if self.context is not None:
            hidden = hidden + self.context(torch.cat(mean_and_std(frames, mask, self.variance_floor), 1))[:, :, None]
        scores = self.attention(torch.tanh(hidden))
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
            frames = frames.masked_fill(~mask, 0)  # 0 * NaN is NaN
        weights = scores.softmax(2, dtype=torch.float32)
        mean = (weights * frames).sum(2)
        variance = (weights * (frames - mean[:, :, None]).square()).sum(2)
        return torch.cat((mean, variance.clamp(min=self.variance_floor).sqrt()), 1)
