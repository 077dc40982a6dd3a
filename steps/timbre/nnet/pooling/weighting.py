"""Weights over the frames of an utterance, and statistics with them. The poolings with attention call it.

FRAMES must be finite also where their weight is 0: padding is zeroed before.
"""

import torch
from torch import Tensor


def frame_weights(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax over time of SCORES (B, N, T), float32; exactly 0 where MASK (B, 1, T) is False."""
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(2, dtype=torch.float32)


def mean_and_std_by_channel(frames: Tensor, weights: Tensor, variance_floor: float) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over time of FRAMES (B, C, T) with WEIGHTS (B, C, T), of sum 1 -> two of (B, C)."""
    mean = (weights * frames).sum(2)
    # the mean is where the variance is least, so that no gradient passes through it
    variance = (weights * (frames - mean.detach()[:, :, None]).square()).sum(2)
    return mean, variance.clamp(min=variance_floor).sqrt()


def weighted_sums(frames: Tensor, weights: Tensor) -> Tensor:
    """Sums over time of FRAMES (..., C, T), once with each of WEIGHTS (..., N, T) -> (..., N, C), float32."""
    with torch.autocast(frames.device.type, enabled=False):
        return weights @ frames.float().transpose(-1, -2)


def means_and_stds(frames: Tensor, weights: Tensor, variance_floor: float) -> tuple[Tensor, Tensor]:
    """Means and standard deviations over time of FRAMES (..., C, T), with each of WEIGHTS (..., N, T), of sum 1.

    Returns:
        two of (..., N, C), float32
    """
    # About the mean of all N means: with one it is exact in two passes, with several the square of what is left
    # of each costs few digits. The result does not depend on it, so no gradient passes through it.
    center = weighted_sums(frames, weights.mean(-2, keepdim=True)).detach()
    deviations = frames - center.transpose(-1, -2)
    means = weighted_sums(deviations, weights)
    variances = weighted_sums(deviations.square(), weights) - means.square()
    return means + center, variances.clamp(min=variance_floor).sqrt()
