"""A binary classifier for each speaker, instead of a softmax over all of them."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.objectives.margin import CosineClasses, MarginWarmup, WarmMargin, add_angle
from timbre.utils.errors import DataError


class SphereFace2(WarmMargin, CosineClasses):
    """SphereFace2 (Wen et al. 2022, arXiv 2108.01513; for speakers Han et al. 2023, arXiv 2307.08205).

    Each class has a logit of its own, scale * s + b. The loss of an example is lambda times softplus of the negative
    logit of its class, and 1 - lambda times softplus of each other. The similarity s is g(cos(theta)) = 2 ((cos(theta)
    + 1) / 2)^t - 1, with the margin subtracted for its class and added for the others (type C), or g(cos(theta + m))
    and g(cos(theta - m)) (type A). b is learned, from where orthogonal embeddings have the least loss.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of classes
        scale: what similarities are multiplied by
        margin: the full margin; in radians for type A
        warmup: how it gets there
        margin_type: C, of the similarity (0.2, and 0.3 for fine-tuning), or A, of the angle (0.15 and 0.25)
        exponent: t; 1: similarities are cosines
        positive_weight: lambda
    """

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        scale: float = 32.0,
        margin: float = 0.2,
        warmup: MarginWarmup = MarginWarmup(),
        margin_type: Literal["A", "C"] = "C",
        exponent: int = 3,
        positive_weight: float = 0.7,
    ) -> None:
        super().__init__(embedding_dim, num_speakers)
        if scale <= 0 or exponent < 1 or not 0 < positive_weight < 1:
            raise DataError(
                f"SphereFace2: scale is {scale}, exponent is {exponent}, positive_weight is {positive_weight}; they "
                "must be above 0, at least 1, and between 0 and 1"
            )
        if margin_type == "A" and margin >= math.pi / 2:
            raise DataError(f"SphereFace2: margin is {margin}; of type A, it is an angle from 0 to below pi/2")
        self.scale, self.margin_type = scale, margin_type
        self.exponent, self.positive_weight = exponent, positive_weight
        self.set_up_margin(margin, warmup)
        self.bias = nn.Parameter(torch.zeros(()))
        self._start_bias(num_speakers)

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The binary losses of all classes, summed, and whether the target has the largest cosine."""
        cosines = self.class_cosines(functional.normalize(embeddings), self.weight)
        places = labels[:, None]
        own = self.binary_logits(cosines.gather(1, places), 1)[:, 0]
        others = self.binary_logits(cosines, -1).scatter_(1, places, -torch.inf)
        losses = self.positive_weight * functional.softplus(-own)
        losses = losses + (1 - self.positive_weight) * functional.softplus(others).sum(1)
        return losses.mean(), cosines.detach().argmax(1) == labels

    def plain_logits(self, embeddings: Tensor, cosines: Tensor) -> Tensor:
        """Those of the binary classifiers."""
        return self.scale * (2 * ((cosines + 1) / 2).pow(self.exponent) - 1) + self.bias

    def binary_logits(self, cosines: Tensor, sign: Literal[1, -1]) -> Tensor:
        """Logits of COSINES (B, N), with the margin of the own class (SIGN 1) or of other classes (-1)."""
        offset = self.bias - self.scale
        if self.margin_type == "A":
            cosines = sign * add_angle(sign * cosines, self.margin)  # cos(theta - m) = -cos(pi - theta + m)
        else:
            offset = offset - sign * self.scale * self.margin
        return torch.add(offset, (cosines + 1).pow(self.exponent), alpha=self.scale * 2 ** (1 - self.exponent))

    @torch.no_grad()
    def _start_bias(self, num_speakers: int) -> None:
        """Sets the bias to where the loss is least if all cosines are 0 and the margin is full."""
        self.set_margin(1.0)
        own, other = (self.binary_logits(torch.zeros(()), sign) for sign in (1, -1))  # as the bias is 0
        self.update(0, 0)
        odds = self.positive_weight / ((1 - self.positive_weight) * max(num_speakers - 1, 1))
        # u = exp(bias) solves exp(own + other) u^2 + exp(other) (1 - odds) u - odds = 0
        root = ((1 - odds) ** 2 + 4 * odds * torch.exp(own - other)).sqrt()
        self.bias.fill_(math.log(2 * odds) - other - torch.log(1 - odds + root))
