"""Multi-similarity loss, on batches in any order."""

import torch
from torch import Tensor

from timbre.nnet.objectives.in_batch import cosine_matrix, nearest_is_positive, pair_masks
from timbre.nnet.objectives.objective import Objective
from timbre.utils.errors import DataError


class MultiSimilarity(Objective):
    """Multi-similarity loss (Wang et al. 2019, arXiv 1904.06627), the mean over the examples of a batch.

    Pairs are mined first: of an example's negatives those more similar to it than its least similar positive less
    epsilon, of its positives those less similar than its most similar negative plus epsilon. Then each pair counts the
    more, the worse it is beside the example's other ones.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of training speakers
        alpha: how much the worst positives outweigh the others
        beta: how much the worst negatives outweigh the others
        base: cosine above which positives, and below which negatives, count little
        epsilon: of the mining; null: all pairs count
    """

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        epsilon: float | None = 0.1,
    ) -> None:
        super().__init__()
        if alpha <= 0 or beta <= 0:
            raise DataError(f"MultiSimilarity: alpha is {alpha}, beta is {beta}; both must be above 0")
        self.alpha, self.beta, self.base, self.epsilon = alpha, beta, base, epsilon

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and of each example whether the nearest other one of the batch is of its speaker."""
        cosines = cosine_matrix(embeddings)
        positive, negative = pair_masks(labels)
        correct = nearest_is_positive(cosines, positive)
        if self.epsilon is not None:
            fixed = cosines.detach()
            least = fixed.masked_fill(~positive, torch.inf).amin(1, keepdim=True)
            most = fixed.masked_fill(~negative, -torch.inf).amax(1, keepdim=True)
            positive = positive & (fixed < most + self.epsilon)
            negative = negative & (fixed > least - self.epsilon)
        pull = _soft_maximum(self.alpha * (self.base - cosines), positive) / self.alpha
        push = _soft_maximum(self.beta * (cosines - self.base), negative) / self.beta
        return (pull + push).mean(), correct


def _soft_maximum(values: Tensor, mask: Tensor) -> Tensor:
    """log(1 + the sum of exp(VALUES) where MASK) of each row of (B, B): 0 where there is none."""
    values = values.masked_fill(~mask, -torch.inf)
    return torch.cat([values, values.new_zeros(len(values), 1)], 1).logsumexp(1)
