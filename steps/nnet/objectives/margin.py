"""Softmax losses with a margin on the target class, and how a margin grows."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from steps.nnet.objectives.base import Objective
from steps.utils.errors import DataError


@dataclass(frozen=True)
class MarginWarmup:
    """A margin that grows from 0 to its full size.

    Args:
        start: step up to which it is 0
        end: step from which it is full; 0: full from the first step on
        shape: linear, or exponential (1 - 0.001^x: most of it comes early, as in WeSpeaker)
    """

    start: int = 0
    end: int = 0
    shape: Literal["linear", "exponential"] = "linear"

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise DataError(f"margin warm-up from step {self.start} to step {self.end} is not an interval")

    def fraction(self, step: int) -> float:
        """The share, 0 to 1, of the margin that is in force at STEP."""
        if step >= self.end:
            return 1.0
        part = max(0.0, (step - self.start) / (self.end - self.start)) if self.end > self.start else 0.0
        return part if self.shape == "linear" else (1 - 0.001**part) / (1 - 0.001)


class CosineSoftmax(Objective):
    """Base of the softmax losses on scaled cosines, whose target class has a margin; without one, a normalised softmax.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of classes
        scale: what cosines are multiplied by
        margin: the full margin
        warmup: how it gets there
    """

    classifies = True

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        scale: float = 30.0,
        margin: float = 0.2,
        warmup: MarginWarmup = MarginWarmup(),
    ) -> None:
        super().__init__()
        if scale <= 0 or margin < 0:
            raise DataError(f"scale is {scale}, margin is {margin}; one must be above 0, the other not below")
        self.scale, self.full_margin, self.warmup = scale, margin, warmup
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(num_speakers, embedding_dim)))
        self.margin: Tensor
        # A tensor, so that a compiled graph need not be made anew when it grows, and a buffer, so that a resumed or
        # loaded objective has the margin that was in force.
        self.register_buffer("margin", torch.tensor(0.0))
        self.update(0, 0)

    def update(self, step: int, num_steps: int) -> None:
        """Sets the margin to what the warm-up says for STEP."""
        self.set_margin(self.warmup.fraction(step))

    def set_margin(self, fraction: float) -> None:
        """Sets the margin to FRACTION of the full one."""
        self.margin.fill_(self.full_margin * fraction)

    @property
    def current_margin(self) -> float:
        """The margin in force now."""
        return float(self.margin)

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of scaled cosines, that of the target with margin, and whether the target has the largest."""
        cosines = functional.linear(functional.normalize(embeddings), functional.normalize(self.weight))
        target = cosines.gather(1, labels[:, None])
        logits = self.scale * cosines.scatter(1, labels[:, None], self.with_margin(target))
        return functional.cross_entropy(logits, labels), cosines.detach().argmax(1) == labels

    @abstractmethod
    def with_margin(self, cosines: Tensor) -> Tensor:
        """COSINES (B, 1) with the target speaker, made harder by the margin."""


class AmSoftmax(CosineSoftmax):
    """Additive margin softmax (Wang et al. 2018, arXiv 1801.05599): cos - m."""

    def with_margin(self, cosines: Tensor) -> Tensor:
        """Subtracts the margin."""
        return cosines - self.margin


class AamSoftmax(CosineSoftmax):
    """Additive angular margin softmax (Deng et al. 2019, arXiv 1801.07698): cos(theta + m).

    Past theta = pi - m, where cos(theta + m) would rise again, cos(theta) continues it, lowered so as to be continuous.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of classes
        scale: what cosines are multiplied by
        margin: the full margin, in radians
        warmup: how it gets there
        easy_margin: a margin only where the cosine is positive
    """

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        scale: float = 30.0,
        margin: float = 0.2,
        warmup: MarginWarmup = MarginWarmup(),
        easy_margin: bool = False,
    ) -> None:
        super().__init__(embedding_dim, num_speakers, scale, margin, warmup)
        if not 0 <= margin < math.pi / 2:
            raise DataError(f"AamSoftmax: margin is {margin}; it is an angle from 0 to below pi/2")
        self.easy_margin = easy_margin

    def with_margin(self, cosines: Tensor) -> Tensor:
        """Adds the margin to the angle, by the addition theorem: acos has no gradient at 1."""
        # the floor keeps the gradient of the root finite where the cosine is +-1
        sines = (1 - cosines.square()).clamp(min=1e-7).sqrt()
        cos_margin, sin_margin = torch.cos(self.margin), torch.sin(self.margin)
        shifted = cosines * cos_margin - sines * sin_margin
        if self.easy_margin:
            return torch.where(cosines > 0, shifted, cosines)
        return torch.where(cosines > -cos_margin, shifted, cosines - (1 - cos_margin))
