"""Objectives by the angles between embeddings and a direction for each speaker, and how a margin on them grows.

AngularSoftmax.class_logits takes any slice of the classes, as class_chunks.py needs it.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.objectives.class_chunks import Shard, class_cross_entropy
from timbre.nnet.objectives.objective import Objective
from timbre.nnet.scheduled import Scheduled
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class MarginWarmup:
    """A margin that grows from 0 to its full size.

    Args:
        start: step up to which it is 0
        end: step from which it is full; 0: full from the first step on
        shape: linear, or exponential (1 - 0.001^x: most of it comes early, as in WeSpeaker)
        start_share: instead of a step, the share of all steps (0.13) up to which it is 0; with end_share
        end_share: the share of all steps from which it is full
    """

    start: int = 0
    end: int = 0
    shape: Literal["linear", "exponential"] = "linear"
    start_share: float | None = None
    end_share: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise DataError(f"margin warm-up from step {self.start} to step {self.end} is not an interval")
        if self.start_share is None and self.end_share is None:
            return
        if self.start_share is None or self.end_share is None or not 0 <= self.start_share <= self.end_share <= 1:
            text = f"from the share {self.start_share} to the share {self.end_share} of the steps is not an interval"
            raise DataError(f"margin warm-up {text} within 0 to 1")
        if self.end:
            raise DataError("margin warm-up by steps (start, end) and by shares (start_share, end_share): give one")

    def fraction(self, step: int, num_steps: int = 1) -> float:
        """The share, 0 to 1, of the margin that is in force at STEP of NUM_STEPS."""
        start: float = self.start
        end: float = self.end
        if self.start_share is not None and self.end_share is not None:
            start, end = self.start_share * num_steps, self.end_share * num_steps
        if step >= end:
            return 1.0
        part = max(0.0, (step - start) / (end - start)) if end > start else 0.0
        return part if self.shape == "linear" else (1 - 0.001**part) / (1 - 0.001)


class WarmMargin(nn.Module, Scheduled):
    """What an objective derives from, before its other base, if it has a margin that warms up."""

    margin: Tensor

    def set_up_margin(self, margin: float, warmup: MarginWarmup) -> None:
        """To be called by the constructor: MARGIN is the full one, WARMUP says how it gets there."""
        if margin < 0:
            raise DataError(f"{type(self).__name__}: margin is {margin}; it must not be below 0")
        self.full_margin, self.warmup = margin, warmup
        # A tensor, so that a compiled graph need not be made anew when it grows, and a buffer, so that a resumed or
        # loaded objective has the margin that was in force.
        self.register_buffer("margin", torch.tensor(0.0))
        self.update(0, 1)

    def update(self, step: int, num_steps: int) -> None:
        """Sets the margin to what the warm-up says for STEP of NUM_STEPS."""
        self.set_margin(self.warmup.fraction(step, num_steps))

    def set_margin(self, fraction: float) -> None:
        """Sets the margin to FRACTION of the full one."""
        self.margin.fill_(self.full_margin * fraction)

    @property
    def current_margin(self) -> float:
        """The margin in force now."""
        return float(self.margin)


class CosineClasses(Objective):
    """Base of the objectives that have a direction for each speaker, and see the cosines of embeddings with them.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of classes
        sub_centers: directions of a class, of which the nearest counts

    Attributes:
        weight: (num_speakers, embedding_dim), or (num_speakers, sub_centers, embedding_dim) with several
    """

    classifies = True

    def __init__(self, embedding_dim: int, num_speakers: int, sub_centers: int = 1) -> None:
        super().__init__()
        if sub_centers < 1:
            raise DataError(f"{type(self).__name__}: sub_centers is {sub_centers}; it must be at least 1")
        weight = nn.init.xavier_normal_(torch.empty(num_speakers * sub_centers, embedding_dim))
        self.weight = nn.Parameter(weight if sub_centers == 1 else weight.view(num_speakers, sub_centers, -1))

    def class_cosines(self, embeddings: Tensor, rows: Tensor) -> Tensor:
        """Cosines (B, C) of EMBEDDINGS (B, embedding_dim) of length 1 with the classes whose weights are ROWS."""
        cosines = functional.linear(embeddings, functional.normalize(rows, dim=-1).flatten(0, -2))
        return cosines if rows.dim() == 2 else torch.unflatten(cosines, 1, rows.shape[:2]).amax(2)

    def logits(self, embeddings: Tensor) -> Tensor:
        """Of all classes that this rank holds."""
        return self.plain_logits(embeddings, self.class_cosines(functional.normalize(embeddings), self.weight))

    @abstractmethod
    def plain_logits(self, embeddings: Tensor, cosines: Tensor) -> Tensor:
        """Logits (B, C) without margin of EMBEDDINGS (B, embedding_dim), whose COSINES with C classes are (B, C)."""


class AngularSoftmax(CosineClasses):
    """Base of the softmax losses whose logits are cosines times a length, with a margin on that of the target.

    Attributes:
        chunk: of more classes than this, the logits of so many at a time are held in memory
        top_k: so many of the nearest wrong classes have logits that differ from the others'
    """

    chunk: int = 65536
    top_k: int = 0

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the logits, and whether the target has the largest cosine."""
        return class_cross_entropy(
            embeddings, labels, self.weight, self.class_logits, self.chunk, self.shard, self.top_k
        )

    def shard_classes(self, rank: int, size: int) -> None:
        """Keeps the classes of RANK of SIZE alone; the loss is then over all ranks of torch.distributed."""
        self.shard = Shard.of_rank(rank, size, len(self.weight))
        first, count = self.shard.first, self.shard.num_classes
        self.weight = nn.Parameter(self.weight.detach()[first : first + count].clone())

    def class_logits(
        self, embeddings: Tensor, rows: Tensor, targets: Tensor, floors: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Logits with margin, and cosines without, of all classes or some of them.

        Args:
            embeddings: (B, embedding_dim)
            rows: (C, ...) weights of the classes in question
            targets: (B,) which of them is right; -1: none of them
            floors: (B, 1) cosines of the farthest of the `top_k` nearest wrong classes; None: rows are all classes

        Returns:
            two of (B, C)
        """
        cosines = self.class_cosines(functional.normalize(embeddings), rows)
        lengths = self.lengths(embeddings)
        places, changes = self.changes(cosines, targets, floors)
        # added, where it could be put: then the gradient need not be copied
        return (lengths * cosines).scatter_add_(1, places, lengths * changes), cosines

    def plain_logits(self, embeddings: Tensor, cosines: Tensor) -> Tensor:
        """The cosines times their length."""
        return self.lengths(embeddings) * cosines

    def changes(self, cosines: Tensor, targets: Tensor, floors: Tensor | None) -> tuple[Tensor, Tensor]:
        """Where the margin changes COSINES (B, C), and what it adds there: two of (B, N); here, N = 1, the target."""
        places = targets.clamp(min=0)[:, None]
        cosine = cosines.gather(1, places)
        return places, torch.where(targets[:, None] >= 0, self.with_margin(cosine) - cosine, 0)

    @abstractmethod
    def lengths(self, embeddings: Tensor) -> Tensor | float:
        """What the cosines of EMBEDDINGS (B, embedding_dim) are multiplied by: a number, or (B, 1)."""

    @abstractmethod
    def with_margin(self, cosines: Tensor) -> Tensor:
        """COSINES (B, 1) with the target speaker, made harder by the margin."""


class CosineSoftmax(WarmMargin, AngularSoftmax):
    """Base of the softmax losses on scaled cosines, with a margin that warms up; without one, a normalised softmax.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of classes
        scale: what cosines are multiplied by
        margin: the full margin
        warmup: how it gets there
        sub_centers: directions of a class, of which the nearest counts
    """

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        scale: float = 30.0,
        margin: float = 0.2,
        warmup: MarginWarmup = MarginWarmup(),
        sub_centers: int = 1,
    ) -> None:
        super().__init__(embedding_dim, num_speakers, sub_centers)
        if scale <= 0:
            raise DataError(f"{type(self).__name__}: scale is {scale}; it must be above 0")
        self.scale = scale
        self.set_up_margin(margin, warmup)

    def lengths(self, embeddings: Tensor) -> float:
        """The scale."""
        return self.scale


class AmSoftmax(CosineSoftmax):
    """Additive margin softmax (Wang et al. 2018, arXiv 1801.05599): cos - m."""

    def with_margin(self, cosines: Tensor) -> Tensor:
        """Subtracts the margin."""
        return cosines - self.margin


class AamSoftmax(CosineSoftmax):
    """Additive angular margin softmax (Deng et al. 2019, arXiv 1801.07698): cos(theta + m).

    With sub-centres, a class is the nearest of several directions (Deng et al. 2020, ECCV, "Sub-center ArcFace"), so
    that wrong labels gather at one that does not matter. With the inter-top-K penalty (Zhao et al. 2021, arXiv
    2110.05042), the nearest wrong classes count as nearer by an angle than they are.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of classes
        scale: what cosines are multiplied by
        margin: the full margin, in radians
        warmup: how it gets there
        easy_margin: a margin only where the cosine is positive
        sub_centers: directions of a class, of which the nearest counts
        top_k: how many of the nearest wrong classes have the penalty; 0: none has
        top_k_margin: the penalty at the full margin, in radians; it grows as the margin does
    """

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        scale: float = 30.0,
        margin: float = 0.2,
        warmup: MarginWarmup = MarginWarmup(),
        easy_margin: bool = False,
        sub_centers: int = 1,
        top_k: int = 0,
        top_k_margin: float = 0.06,
    ) -> None:
        super().__init__(embedding_dim, num_speakers, scale, margin, warmup, sub_centers)
        if not 0 <= margin < math.pi / 2:
            raise DataError(f"AamSoftmax: margin is {margin}; it is an angle from 0 to below pi/2")
        if top_k < 0 or not 0 <= top_k_margin < math.pi / 2:
            raise DataError(
                f"AamSoftmax: top_k is {top_k}, top_k_margin is {top_k_margin}; one must not be below 0, the other an "
                "angle from 0 to below pi/2"
            )
        if top_k and not margin:
            raise DataError("AamSoftmax: top_k_margin grows with the margin, which is 0")
        self.easy_margin, self.top_k = easy_margin, top_k
        self.top_k_share = top_k_margin / margin if top_k else 0.0

    def with_margin(self, cosines: Tensor) -> Tensor:
        """Adds the margin to the angle."""
        if self.easy_margin:
            return torch.where(cosines > 0, add_angle(cosines, self.margin), cosines)
        return add_angle(cosines, self.margin)

    def changes(self, cosines: Tensor, targets: Tensor, floors: Tensor | None) -> tuple[Tensor, Tensor]:
        """The target, and the nearest wrong classes."""
        places, changes = super().changes(cosines, targets, floors)
        if not self.top_k:
            return places, changes
        # one more than wanted, as the target may be among them
        nearest = cosines.detach().topk(min(self.top_k + 1, cosines.shape[1]), 1).indices
        wrong = nearest != targets[:, None]
        chosen = wrong & (wrong.cumsum(1) <= self.top_k)
        if floors is not None:
            chosen &= cosines.gather(1, nearest) >= floors
        near = cosines.gather(1, nearest)
        nearer = -add_angle(-near, self.top_k_share * self.margin)  # cos(theta - m) = -cos(pi - theta + m)
        return torch.cat((places, nearest), 1), torch.cat((changes, torch.where(chosen, nearer - near, 0)), 1)


def add_angle(cosines: Tensor, angle: Tensor) -> Tensor:
    """cos(theta + ANGLE) of COSINES of theta, by the addition theorem: acos has no gradient at 1.

    Past theta = pi - ANGLE, where it would rise again, cos(theta) continues it, lowered so as to be continuous.
    """
    # the floor keeps the gradient of the root finite where the cosine is +-1
    sines = (1 - cosines.square()).clamp(min=1e-7).sqrt()
    cos_angle, sin_angle = torch.cos(angle), torch.sin(angle)
    return torch.where(cosines > -cos_angle, cosines * cos_angle - sines * sin_angle, cosines - (1 - cos_angle))
