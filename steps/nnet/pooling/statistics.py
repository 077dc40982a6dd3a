"""Poolings without weights: mean, mean and standard deviation."""

import torch
from torch import Tensor

from steps.nnet.layers import masked_mean, mean_and_std
from steps.nnet.pooling.base import Pooling


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
    """

    def __init__(self, channels: int, variance_floor: float = 1e-10) -> None:
        super().__init__()
        self.variance_floor = variance_floor
        self.output_dim = 2 * channels

    def pool(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Means, then biased standard deviations."""
        return torch.cat(mean_and_std(frames, mask, self.variance_floor), 1)
