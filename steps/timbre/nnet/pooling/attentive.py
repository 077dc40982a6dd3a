"""Poolings that weight the frames by an attention: one weight a frame, or one of each channel's own."""

from typing import Literal

import torch
from torch import Tensor, nn

from timbre.nnet.layers import mean_and_std, zero_padding
from timbre.nnet.pooling.pooling import Pooling
from timbre.nnet.pooling.weighting import frame_weights, mean_and_std_by_channel, means_and_stds, weighted_sums
from timbre.utils.errors import DataError


class SelfAttentivePooling(Pooling):
    """Mean weighted by softmax over time of v'tanh(Wh + b) (SAP: Cai et al. 2018, arXiv 1804.05160, 2.3).

    Args:
        channels: channels in
        bottleneck: size of the hidden layer, that of v; None: as many as channels
    """

    def __init__(self, channels: int, bottleneck: int | None = None) -> None:
        super().__init__()
        bottleneck = channels if bottleneck is None else bottleneck
        if bottleneck < 1:
            raise DataError(f"SelfAttentivePooling: bottleneck is {bottleneck}; it must be at least 1")
        self.hidden = nn.Conv1d(channels, bottleneck, 1)
        self.attention = nn.Conv1d(bottleneck, 1, 1, bias=False)
        self.output_dim = channels

    def pool(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Weighted means."""
        frames = zero_padding(frames, mask)
        return weighted_sums(frames, self.weights(frames, mask))[:, 0]

    def weights(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, 1, T) of FRAMES (B, C, T), zero past the end."""
        return frame_weights(self.attention(torch.tanh(self.hidden(frames))), mask)


class AttentiveStatisticsPooling(Pooling):
    """Mean and standard deviation weighted by an attention of each channel's own (ECAPA-TDNN, arXiv 2005.07143, 2.3).

    weights = softmax over time of affine(tanh(affine([frame; mean; std]))); without global context, of the frame alone.
    With one weight a frame for all channels, and without global context, it is that of Okabe et al. 2018 (arXiv
    1803.10963).

    Args:
        channels: channels in
        bottleneck: size of the hidden layer of the attention
        global_context: the attention sees mean and standard deviation of the utterance beside each frame
        hidden: what is between the two affine maps: tanh (ECAPA-TDNN), ReLU and BatchNorm (ResNetSE34V2 of
            voxceleb_trainer), or these and tanh (TaoRuijie's ECAPA-TDNN)
        channel_dependent: each channel has weights of its own
        variance_floor: least variance
        unbiased_context: the variance that the attention sees is by one frame less than there are, with variance_floor
            added (WeSpeaker)
    """

    def __init__(
        self,
        channels: int,
        bottleneck: int = 128,
        global_context: bool = True,
        hidden: Literal["tanh", "relu_norm", "relu_norm_tanh"] = "tanh",
        channel_dependent: bool = True,
        variance_floor: float = 1e-5,
        unbiased_context: bool = False,
    ) -> None:
        super().__init__()
        if bottleneck < 1:
            raise DataError(f"AttentiveStatisticsPooling: bottleneck is {bottleneck}; it must be at least 1")
        self.variance_floor, self.unbiased_context = variance_floor, unbiased_context
        self.frame = nn.Conv1d(channels, bottleneck, 1)
        # the part of the first affine map that sees [mean; std]: applied once an utterance, not once a frame
        self.context = nn.Linear(2 * channels, bottleneck, bias=False) if global_context else None
        between: list[nn.Module] = [nn.ReLU(), nn.BatchNorm1d(bottleneck)] if hidden != "tanh" else []
        self.between = nn.Sequential(*between, *([nn.Tanh()] if hidden != "relu_norm" else []))
        self.attention = nn.Conv1d(bottleneck, channels if channel_dependent else 1, 1)
        self.output_dim = 2 * channels

    def pool(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Weighted means, then weighted standard deviations."""
        frames = zero_padding(frames, mask)
        weights = self.weights(frames, mask)
        if weights.shape[1] == 1:
            return torch.cat(means_and_stds(frames, weights, self.variance_floor), 2)[:, 0]
        return torch.cat(mean_and_std_by_channel(frames, weights, self.variance_floor), 1)

    def weights(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, C or 1, T) of FRAMES (B, C, T), zero past the end."""
        hidden = self.frame(frames)
        if self.context is not None:
            statistics = mean_and_std(frames, mask, self.variance_floor, self.unbiased_context)
            hidden = hidden + self.context(torch.cat(statistics, 1))[:, :, None]
        return frame_weights(self.attention(self.between(hidden)), mask)


class MultiHeadAttentivePooling(Pooling):
    """Channels in groups (heads), whose frames are weighted by an attention of the group's own, or several (queries).

    With one query and one affine map it is that of India et al. 2019 (arXiv 1906.09890); with several queries, MQMHA
    (Zhao et al. 2021, arXiv 2110.05042).

    Args:
        channels: channels in
        heads: groups of channels; an attention sees one group
        queries: attentions of each group
        bottleneck: size of the hidden layer of each attention, with tanh; None: it is one affine map
        deviation: standard deviations beside the means
        variance_floor: least variance
    """

    def __init__(
        self,
        channels: int,
        heads: int = 8,
        queries: int = 1,
        bottleneck: int | None = 64,
        deviation: bool = True,
        variance_floor: float = 1e-5,
    ) -> None:
        super().__init__()
        if min(heads, queries, 1 if bottleneck is None else bottleneck) < 1 or channels % heads:
            raise DataError(
                f"MultiHeadAttentivePooling: heads is {heads}, queries is {queries}, bottleneck is {bottleneck}; each "
                f"must be at least 1, and heads divide {channels} channels"
            )
        self.heads, self.queries = heads, queries
        self.deviation, self.variance_floor = deviation, variance_floor
        scores = heads * queries
        if bottleneck is None:
            self.attention = nn.Sequential(nn.Conv1d(channels, scores, 1, groups=heads))
        else:
            self.attention = nn.Sequential(
                nn.Conv1d(channels, scores * bottleneck, 1, groups=heads),
                nn.Tanh(),
                nn.Conv1d(scores * bottleneck, scores, 1, groups=scores),
            )
        self.output_dim = (2 if deviation else 1) * queries * channels

    def pool(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Weighted means, head by head, in each query by query; then the standard deviations in the same order."""
        frames = zero_padding(frames, mask)
        weights = torch.unflatten(self.weights(frames, mask), 1, (self.heads, self.queries))
        parts = torch.unflatten(frames, 1, (self.heads, -1))
        if not self.deviation:
            return weighted_sums(parts, weights).flatten(1)
        return torch.cat(means_and_stds(parts, weights, self.variance_floor), 1).flatten(1)

    def weights(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, heads * queries, T) of FRAMES (B, C, T), zero past the end."""
        return frame_weights(self.attention(frames), mask)
