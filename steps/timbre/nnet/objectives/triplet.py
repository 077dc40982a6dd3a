"""Triplet loss over all triplets of a batch, without making them: counted by sorting, in B x B of memory."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from timbre.nnet.objectives.in_batch import cosine_matrix, nearest_is_positive, pair_masks
from timbre.nnet.objectives.objective import Objective
from timbre.utils.errors import DataError

Counts = tuple[Tensor, Tensor]


class Triplet(Objective):
    """Triplet loss (Schroff et al. 2015, arXiv 1503.03832): max(0, d(a, p) - d(a, n) + margin).

    The anchor a and the positive p are of one speaker, the negative n is of another; there must be speakers with two
    or more examples in a batch, in whatever order. A batch without any triplet has loss 0. Distances are of
    embeddings scaled to length 1: 1 - cosine, or the squared Euclidean one, which is twice that.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of training speakers
        distance: of two embeddings
        margin: by which the negative is to be further away than the positive
        mining: which triplets of a batch count. all; semihard: the negative is further away than the positive, but not
            by the margin; hard: it is not further away; ranked: for each pair of a speaker one negative, at random
            among the `rank` nearest to the anchor
        rank: of ranked mining; where the batch has fewer negatives, it is among these
        reduction: the mean is over the triplets with a loss above 0 (which keeps its gradient from fading when few
            are left), or over all that were mined. The two differ for all and ranked alone, as semihard and hard
            triplets all have a loss
    """

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        distance: Literal["cosine", "squared_euclidean"] = "cosine",
        margin: float = 0.1,
        mining: Literal["all", "semihard", "hard", "ranked"] = "all",
        rank: int = 10,
        reduction: Literal["nonzero", "mined"] = "nonzero",
    ) -> None:
        super().__init__()
        if margin <= 0 or rank < 1:
            raise DataError(f"Triplet: margin is {margin}, rank is {rank}; one must be above 0, the other at least 1")
        self.distance, self.margin, self.mining = distance, margin, mining
        self.rank, self.reduction = rank, reduction

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and of each example whether the nearest other one of the batch is of its speaker."""
        cosines = cosine_matrix(embeddings)
        positive, negative = pair_masks(labels)
        distances = (1 - cosines) * (1 if self.distance == "cosine" else 2)
        mine = self._ranked if self.mining == "ranked" else self._counted
        return mine(distances, positive, negative), nearest_is_positive(cosines, positive)

    def _counted(self, distances: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """The mean over all triplets, or semihard or hard ones.

        A hinge is linear where it is not 0, so the sum over the triplets is that of all distances, each times the
        number of triplets it takes part in: as d(a, p) minus as d(a, n).
        """
        fixed = distances.detach()
        if self.mining == "all":
            pairs, foils = _violations(fixed, positive, negative, self.margin)
        elif self.mining == "hard":
            pairs, foils = _inversions(fixed, positive, negative)
        else:
            pairs, foils = (
                violations - inversions
                for violations, inversions in zip(
                    _violations(fixed, positive, negative, self.margin),
                    _inversions(fixed, positive, negative),
                    strict=True,
                )
            )
        number = pairs.sum()
        total = ((pairs - foils) * distances).sum() + self.margin * number
        if self.mining == "all" and self.reduction == "mined":
            number = (positive.sum(1) * negative.sum(1)).sum()
        return total / number.clamp(min=1)

    def _ranked(self, distances: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """The mean over pairs of a speaker, each with a negative drawn for it; by torch's generator, which resumes."""
        ordered, order = distances.detach().masked_fill(~negative, torch.inf).sort(1)
        choices = negative.sum(1, keepdim=True).clamp(max=self.rank)
        draws = (torch.rand_like(ordered) * choices).long()
        foils = distances.gather(1, order.gather(1, draws))
        losses = functional.relu(distances - foils + self.margin) * (positive & (choices > 0))
        number = (losses > 0).sum() if self.reduction == "nonzero" else (positive & (choices > 0)).sum()
        return losses.sum() / number.clamp(min=1)


def _violations(distances: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Counts:
    """For each pair (a, p) how many n have d(a, n) < d(a, p) + margin, and for each (a, n) how many p: two of (B, B).

    Both ask the same floats the same question, so that both count the same triplets.
    """
    reach = distances + margin
    pairs = torch.searchsorted(_ordered(distances, negative), reach)
    short = torch.searchsorted(_ordered(reach, positive), distances, right=True)
    return pairs * positive, (positive.sum(1, keepdim=True) - short) * negative


def _inversions(distances: Tensor, positive: Tensor, negative: Tensor) -> Counts:
    """As _violations, of d(a, n) <= d(a, p)."""
    pairs = torch.searchsorted(_ordered(distances, negative), distances, right=True)
    short = torch.searchsorted(_ordered(distances, positive), distances)
    return pairs * positive, (positive.sum(1, keepdim=True) - short) * negative


def _ordered(values: Tensor, mask: Tensor) -> Tensor:
    """Each row of VALUES (B, B) in order, what MASK leaves out last."""
    return values.masked_fill(~mask, torch.inf).sort(1).values
