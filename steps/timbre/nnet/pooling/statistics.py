"""Poolings without weights: mean, mean and standard deviation, maximum, last frame."""

import torch
from torch import Tensor

from timbre.nnet.layers import masked_mean, mean_and_std
from timbre.nnet.pooling.pooling import Pooling


class MeanPooling(Pooling):
    """Temporal average."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.output_dim = channels

    def pool(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Means over time."""
        return masked_mean(frames, mask)


class StatisticsPooling(Pooling):
    """Mean and standard deviation over time (Snyder et al. 2018; Kaldi's StatisticsPoolingComponent).

    Args:
        channels: channels in
        variance_floor: least variance, as Kaldi's
        unbiased: variances by one frame less than there are, with variance_floor added (WeSpeaker, 3D-Speaker)
    """

    def __init__(self, channels: int, variance_floor: float = 1e-10, unbiased: bool = False) -> None:
        super().__init__()
        self.variance_floor, self.unbiased = variance_floor, unbiased
        self.output_dim = 2 * channels

    def pool(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Means, then standard deviations."""
        return torch.cat(mean_and_std(frames, mask, self.variance_floor, self.unbiased), 1)


class MaxPooling(Pooling):
    """The largest value of each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.output_dim = channels

    def pool(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Maxima over time."""
        if mask is not None:
            frames = frames.masked_fill(~mask, -torch.inf)
        return frames.max(2).values.float()  # its backward pass needs the places alone, where that of amax compares


class LastFramePooling(Pooling):
    """The last frame, which in a recurrent network has seen all others."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.output_dim = channels

    def pool(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """The last real frame of each utterance."""
        if mask is None:
            return frames[:, :, -1].float()
        last = mask.sum(2, keepdim=True) - 1
        return frames.gather(2, last.expand(-1, frames.shape[1], 1))[:, :, 0].float()
