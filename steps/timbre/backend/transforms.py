"""What may stand between embeddings and a model: centring, LDA, WCCN, whitening, PCA, length normalisation.

train_backend.py chains them as conf/backend/*.yaml lists them; trained, each is a `Projection`.
"""

import logging
from abc import ABC, abstractmethod
from typing import Literal

import numpy as np

from timbre.backend.lda import compute_lda, possible_dim
from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.vectors import Floats, Projection
from timbre.runtime.factors import Length
from timbre.utils.errors import DataError

log = logging.getLogger(__name__)


class Transform(ABC):
    """One change to embeddings, learnt from training embeddings."""

    @abstractmethod
    def train(self, stats: SpeakerStats) -> Projection:
        """The change that STATS teach; a transform of it is (K, D + 1), with an offset.

        Raises:
            DataError: STATS allow none
        """


class Mean(Transform):
    """Subtracts the mean of the training embeddings, as Kaldi's ivector-subtract-global-mean.

    Args:
        over: utterances, or the means of speakers, so that each speaker counts alike
    """

    def __init__(self, over: Literal["utterances", "speakers"] = "utterances") -> None:
        self._over = over

    def train(self, stats: SpeakerStats) -> Projection:
        """See the class."""
        return Projection(stats.mean if self._over == "utterances" else stats.means.mean(axis=0))


class Lda(Transform):
    """Linear discriminant analysis, as Kaldi's ivector-compute-lda; removes the mean.

    Args:
        dim: dimension to reduce to, or as many as the embeddings allow
        total_covariance_factor: 0 whitens the within-speaker covariance, 1 the total one, between them a mixture
        floor: of the eigenvalues of that covariance, relative to the largest
    """

    def __init__(self, dim: int = 128, total_covariance_factor: float = 0.0, floor: float = 1e-6) -> None:
        self._dim, self._factor, self._floor = dim, total_covariance_factor, floor

    def train(self, stats: SpeakerStats) -> Projection:
        """See the class."""
        dim = possible_dim(stats, self._dim)
        return Projection(transform=compute_lda(stats, dim, self._factor, self._floor))


class Wccn(Transform):
    """Within-class covariance normalisation (Hatch et al. 2006): the within-speaker covariance becomes the identity.

    Args:
        shrinkage: share of the covariance that is replaced by a sphere of the same trace
    """

    def __init__(self, shrinkage: float = 0.0) -> None:
        self._shrinkage = shrinkage

    def train(self, stats: SpeakerStats) -> Projection:
        """See the class."""
        within = _shrunk(stats.within, self._shrinkage, "Wccn")
        try:
            cholesky = np.linalg.cholesky(within)
        except np.linalg.LinAlgError:
            raise DataError(
                f"Wccn: the within-speaker covariance is singular in {len(within)} dimensions: fewer, by Lda or Pca, "
                "more utterances, or shrinkage"
            ) from None
        return _linear(np.linalg.inv(cholesky))


class Whitening(Transform):
    """The total covariance becomes the identity, the mean zero.

    Args:
        kind: zca leaves the axes as near as can be to where they were, pca turns them to the directions of variance
        shrinkage: share of the covariance that is replaced by a sphere of the same trace
        floor: of its eigenvalues, relative to the largest
    """

    def __init__(self, kind: Literal["zca", "pca"] = "zca", shrinkage: float = 0.0, floor: float = 1e-6) -> None:
        self._kind, self._shrinkage, self._floor = kind, shrinkage, floor

    def train(self, stats: SpeakerStats) -> Projection:
        """See the class."""
        values, vectors = np.linalg.eigh(_shrunk(stats.within + stats.between, self._shrinkage, "Whitening"))
        if values[-1] <= 0:
            raise DataError("Whitening of embeddings that never vary")
        least = self._floor * values[-1]
        if values[0] < least:
            count = np.count_nonzero(values < least)
            log.warning("Whitening: %d of %d dimensions vary less than the floor; Pca first", count, len(values))
        matrix = (vectors / np.sqrt(np.maximum(values, least))).T[::-1]
        return _linear(vectors[:, ::-1] @ matrix if self._kind == "zca" else matrix, stats.mean)


class Pca(Transform):
    """Principal component analysis: the directions in which the embeddings vary most; removes the mean.

    Args:
        dim: dimension to reduce to; null: the rank of the within-speaker covariance, so that PLDA has a solution
    """

    def __init__(self, dim: int | None = None) -> None:
        self._dim = dim

    def train(self, stats: SpeakerStats) -> Projection:
        """See the class."""
        most = len(stats.mean)
        dim = int(np.linalg.matrix_rank(stats.scatter, hermitian=True)) if self._dim is None else self._dim
        if not 1 <= dim <= most:
            raise DataError(f"Pca to {dim} dimensions: the vectors have {most}")
        _, vectors = np.linalg.eigh(stats.within + stats.between)
        return _linear(vectors[:, ::-1][:, :dim].T, stats.mean)


class LengthNorm(Transform):
    """Scales each vector to a length.

    Args:
        length: sqrt_dim, the square root of the dimension, as Kaldi's ivector-normalize-length before PLDA; or unit
    """

    def __init__(self, length: Literal["sqrt_dim", "unit"] = "sqrt_dim") -> None:
        self._length: Length = length

    def train(self, stats: SpeakerStats) -> Projection:
        """See the class."""
        return Projection(length=self._length)


def _linear(matrix: Floats, mean: Floats | None = None) -> Projection:
    """MATRIX (K, D) of vectors less MEAN (D,), which stays apart, for adaptation changes it."""
    return Projection(mean, np.column_stack([matrix, np.zeros(len(matrix))]))


def _shrunk(covariance: Floats, share: float, name: str) -> Floats:
    if not 0 <= share <= 1:
        raise DataError(f"{name}: shrinkage is {share:g}; it must lie between 0 and 1")
    sphere = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    shrunk: Floats = (1 - share) * covariance + share * sphere
    return shrunk
