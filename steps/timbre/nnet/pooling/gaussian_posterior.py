"""Pooling by inference: frames are observations of the speaker, each with a precision of its own."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.layers import TdnnLayer, zero_padding
from timbre.nnet.pooling.pooling import Pooling
from timbre.utils.errors import DataError


class GaussianPosteriorPooling(Pooling):
    """Posterior mean of the speaker's vector given the frames (xi-vector: Lee, Wang, Koshinaka 2021, arXiv 2108.05679).

    Each frame x_t is the vector plus Gaussian noise, whose precision l_t a small network tells from the frame: affine,
    ReLU, BatchNorm, affine, and the square of softplus. With a prior of mean m and precision l, both learned, the
    posterior mean is (l m + sum of l_t x_t) / (l + sum of l_t), channel by channel.

    Args:
        channels: channels in
        bottleneck: size of the hidden layer of the network of precisions
        spread: what follows the means: none; the standard deviations of the posterior; or those of the frames and the
            prior mean about the posterior mean, with the same weights
        variance_floor: least variance of the frames
    """

    def __init__(
        self,
        channels: int,
        bottleneck: int = 256,
        spread: Literal["none", "posterior", "frames"] = "none",
        variance_floor: float = 1e-5,
    ) -> None:
        super().__init__()
        if bottleneck < 1:
            raise DataError(f"GaussianPosteriorPooling: bottleneck is {bottleneck}; it must be at least 1")
        self.spread, self.variance_floor = spread, variance_floor
        self.hidden = TdnnLayer(channels, bottleneck)
        self.precision = nn.Conv1d(bottleneck, channels, 1)
        self.prior_mean = nn.Parameter(torch.zeros(channels))
        self.prior_log_precision = nn.Parameter(torch.zeros(channels))
        self.output_dim = channels if spread == "none" else 2 * channels

    def pool(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """Posterior means, then standard deviations if asked for."""
        frames = zero_padding(frames, mask)
        # No logarithms are needed: all terms are positive, a precision that is too small for float32 is as good as 0,
        # and the prior's is there even if all are.
        precisions = functional.softplus(self.precision(self.hidden(frames)).float()).square()
        precisions = zero_padding(precisions, mask)
        prior = self.prior_log_precision.clamp(-40, 40).exp()
        total = precisions.sum(2) + prior
        mean = ((precisions * frames).sum(2) + prior * self.prior_mean) / total
        if self.spread == "none":
            return mean
        if self.spread == "posterior":
            return torch.cat((mean, total.rsqrt()), 1)
        center = mean.detach()  # where the variance is least, so that no gradient passes through it
        squares = (precisions * (frames - center[:, :, None]).square()).sum(2)
        variance = (squares + prior * (self.prior_mean - center).square()) / total
        return torch.cat((mean, variance.clamp(min=self.variance_floor).sqrt()), 1)
