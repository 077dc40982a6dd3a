"""Linear discriminant analysis, numerically Kaldi's ivector-compute-lda. Called by transforms.py."""

import logging

import numpy as np

from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.vectors import Floats
from timbre.utils.errors import DataError

logger = logging.getLogger(__name__)


def possible_dim(stats: SpeakerStats, dim: int) -> int:
    """DIM, or the most that STATS allow LDA where that is less, which is logged."""
    limit, reason = _limit(stats)
    if dim > limit >= 1:
        logger.warning("LDA to %d dimensions, not %d: these embeddings allow no more, by %s", limit, dim, reason)
    return min(dim, limit)


def _limit(stats: SpeakerStats) -> tuple[int, str]:
    return min((len(stats.mean), "their dimension"), (stats.num_speakers - 1, "the number of speakers less one"))


def compute_lda(stats: SpeakerStats, dim: int, total_covariance_factor: float = 0.0, floor: float = 1e-6) -> Floats:
    """The affine transform that makes the within-speaker covariance the identity and spreads the speakers' means most.

    Args:
        stats: of embeddings (N, D)
        dim: dimension K to reduce to
        total_covariance_factor: weight of the total covariance in what becomes the identity
        floor: of the eigenvalues of that covariance, relative to the largest

    Returns:
        (K, D + 1), the last column an offset that removes the mean; rows of any sign

    Raises:
        DataError: K is more than there are dimensions, or than speakers less one can tell apart
    """
    limit, reason = _limit(stats)
    if not 1 <= dim <= limit:
        raise DataError(f"LDA to {dim} dimensions: these embeddings allow 1 to {limit}, {reason}")
    between = stats.between
    eigenvalues, vectors = np.linalg.eigh(stats.within + total_covariance_factor * between)
    if eigenvalues[-1] <= 0:
        raise DataError("LDA of embeddings that never vary within a speaker")
    whiten = (vectors / np.sqrt(np.maximum(eigenvalues, floor * eigenvalues[-1]))).T
    _, directions = np.linalg.eigh(whiten @ between @ whiten.T)
    linear = directions[:, : -dim - 1 : -1].T @ whiten
    return np.column_stack([linear, -linear @ stats.mean])
