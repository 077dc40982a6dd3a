"""Objectives on batches of N speakers with M utterances each: every utterance is to find its own speaker's prototype.

Rows i * M to (i + 1) * M - 1 of a batch are one speaker, and no speaker is there twice: labels are not looked at.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.objectives.objective import Batches, Objective
from timbre.utils.errors import DataError

SMALLEST_SCALE = 1e-6


class Prototypes(Objective):
    """Base of the objectives that compare an utterance with what the others of its speaker, and all others', make."""

    batches: Batches = "speakers"

    @property
    def utts_per_speaker(self) -> int:
        """The M of the batches: at least 2, for a prototype is made of other utterances than it is compared with."""
        return self._utts_per_speaker

    @utts_per_speaker.setter
    def utts_per_speaker(self, number: int) -> None:
        if number < 2:
            raise DataError(f"{type(self).__name__}: utts_per_speaker is {number}; it must be at least 2")
        self._utts_per_speaker = number

    def by_speaker(self, embeddings: Tensor) -> Tensor:
        """EMBEDDINGS (N * M, D) as (N, M, D)."""
        if embeddings.shape[0] % self.utts_per_speaker:
            raise ValueError(
                f"{type(self).__name__}: a batch of {embeddings.shape[0]} examples is not of "
                f"{self.utts_per_speaker} utterances of each speaker"
            )
        return embeddings.reshape(-1, self.utts_per_speaker, embeddings.shape[1])

    def query_and_prototype(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """The first utterance of each speaker, and the mean of the others: two of (N, D)."""
        groups = self.by_speaker(embeddings)
        return groups[:, 0], groups[:, 1:].mean(1)


class ScaledCosines(Prototypes):
    """Base of those whose similarities are w * cos + b, w and b learned, w above 0.

    w is clamped where it is used, so that the similarity never falls with the cosine. Inside the clamp w would have no
    gradient that could bring it back; therefore the parameter itself is put back, too, after each update.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of training speakers
        scale: w at the start
        offset: b at the start
    """

    def __init__(self, embedding_dim: int, num_speakers: int, scale: float = 10.0, offset: float = -5.0) -> None:
        super().__init__()
        if scale < SMALLEST_SCALE:
            raise DataError(f"{type(self).__name__}: scale is {scale}; it must be above 0")
        self.scale = nn.Parameter(torch.tensor(scale))
        self.offset = nn.Parameter(torch.tensor(offset))

    def similarity(self, cosines: Tensor) -> Tensor:
        """w * COSINES + b."""
        return self.scale.clamp(min=SMALLEST_SCALE) * cosines + self.offset

    def constrain(self, step: int) -> None:
        """Puts w back above 0."""
        self.scale.clamp_(min=SMALLEST_SCALE)


class Ge2e(ScaledCosines):
    """Generalised end-to-end loss (Wan et al. 2018, arXiv 1710.10467), the mean over the utterances.

    Each utterance, scaled to length 1, is compared with the centroids of all speakers of the batch; it has no part in
    that of its own. `softmax` wants its own speaker's to win, `contrast` sets it against the worst impostor alone.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of training speakers
        variant: the paper's softmax (text-independent) or contrast (text-dependent) loss
        scale: w at the start
        offset: b at the start
    """

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        variant: Literal["softmax", "contrast"] = "softmax",
        scale: float = 10.0,
        offset: float = -5.0,
    ) -> None:
        super().__init__(embedding_dim, num_speakers, scale, offset)
        self.variant = variant

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and of each utterance whether its own speaker's centroid is the nearest."""
        utterances = self.by_speaker(functional.normalize(embeddings))
        num_speakers, num_utts, _ = utterances.shape
        sums = utterances.sum(1)  # as good as means, for cosines
        others = functional.normalize(sums[:, None] - utterances, dim=2)
        cosines = utterances.flatten(0, 1) @ functional.normalize(sums).T
        speakers = torch.arange(num_speakers, device=embeddings.device).repeat_interleave(num_utts)
        own = (utterances * others).sum(2).flatten()[:, None]
        similarities = self.similarity(cosines.scatter(1, speakers[:, None], own))
        correct = similarities.detach().argmax(1) == speakers
        if self.variant == "softmax":
            return functional.cross_entropy(similarities, speakers), correct
        # sigmoid rises with the similarity, so the worst impostor is found before it
        impostor = similarities.scatter(1, speakers[:, None], -torch.inf).amax(1)
        return (torch.sigmoid(-self.similarity(own[:, 0])) + torch.sigmoid(impostor)).mean(), correct


class Prototypical(Prototypes):
    """Prototypical networks (Snell et al. 2017, arXiv 1703.05175) as Chung et al. 2020 (arXiv 2003.11982) use them.

    The first utterance of each speaker is to find the mean of that speaker's others, by squared Euclidean distance; of
    embeddings as they are, so that their length counts.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of training speakers
    """

    def __init__(self, embedding_dim: int, num_speakers: int) -> None:
        super().__init__()

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the distances, negative, and of each speaker whether its own prototype is the nearest."""
        # about the mean, since what all have in common costs digits; and without the square of the query in
        # -|q - p|^2 = 2 q.p - |p|^2 - |q|^2, which is the same for all prototypes: softmax does not see it
        queries, prototypes = self.query_and_prototype(embeddings - embeddings.mean(0))
        return classify(2 * queries @ prototypes.T - prototypes.square().sum(1))


class AngularPrototypical(ScaledCosines):
    """Angular prototypical loss (Chung et al. 2020, arXiv 2003.11982): as Prototypical, by w * cos + b.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of training speakers
        scale: w at the start
        offset: b at the start; softmax does not see it, so it stays
    """

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy, and of each speaker whether its own prototype is the nearest."""
        queries, prototypes = self.query_and_prototype(embeddings)
        return classify(self.similarity(functional.normalize(queries) @ functional.normalize(prototypes).T))


def classify(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Cross-entropy of LOGITS (N, N) where the diagonal should win, and where it does."""
    speakers = torch.arange(logits.shape[0], device=logits.device)
    return functional.cross_entropy(logits, speakers), logits.detach().argmax(1) == speakers
