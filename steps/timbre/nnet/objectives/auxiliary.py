"""Terms for a WeightedSum with a softmax on embeddings as they are: they gather them about centres, or on a sphere."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.objectives.objective import Objective
from timbre.utils.errors import DataError


class CenterLoss(Objective):
    """Center loss (Wen et al. 2016, ECCV): half the mean squared distance from the embedding to its speaker's centre.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of classes
        alpha: how far a centre goes in each step towards the mean of its embeddings in the batch, as in the paper: by
            alpha * n / (1 + n) of the way for n embeddings, those of all ranks together. 0: centres are learned by
            gradient, which the weight of the term scales: with SGD they hardly move
    """

    centers: Tensor

    def __init__(self, embedding_dim: int, num_speakers: int, alpha: float = 0.0) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise DataError(f"CenterLoss: alpha is {alpha}; it must be from 0 to 1")
        self.alpha, self.gathers = alpha, alpha > 0
        centers = torch.zeros(num_speakers, embedding_dim)
        if alpha:
            self.register_buffer("centers", centers)
        else:
            self.register_parameter("centers", nn.Parameter(centers))

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        """The loss; no opinion."""
        deviations = embeddings - functional.embedding(labels, self.centers)
        if self.alpha and self.training:
            self._follow(deviations.detach(), labels)
        return deviations.square().sum(1).mean() / 2, None

    @torch.no_grad()
    def _follow(self, deviations: Tensor, labels: Tensor) -> None:
        """Moves the centres by DEVIATIONS (B, embedding_dim) of the embeddings from them."""
        counts = torch.zeros_like(self.centers[:, 0]).index_add_(0, labels, torch.ones_like(deviations[:, 0]))
        self.centers.index_add_(0, labels, self.alpha * deviations / (1 + counts[labels])[:, None])


class RingLoss(Objective):
    """Ring loss (Zheng et al. 2018, arXiv 1803.00130): half the mean squared difference of |x| from a learned radius.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of classes
        radius: where it starts
    """

    def __init__(self, embedding_dim: int, num_speakers: int, radius: float = 12.0) -> None:
        super().__init__()
        if radius <= 0:
            raise DataError(f"RingLoss: radius is {radius}; it must be above 0")
        self.radius = nn.Parameter(torch.tensor(radius))

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        """The loss; no opinion."""
        lengths = torch.linalg.vector_norm(embeddings, dim=1)
        return (lengths - self.radius).square().mean() / 2, None
