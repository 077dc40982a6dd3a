"""Scores between all windows of a recording, cosine or PLDA as Kaldi's ivector-plda-scoring-dense.

Called by clustering.py and score_dense.py.
"""

from dataclasses import dataclass

import numpy as np

from timbre.backend.backends import CosineBackend
from timbre.backend.plda import Plda
from timbre.backend.scoring import map_products
from timbre.backend.vectors import Floats, Projection, Side, Vectors
from timbre.runtime.factors import Factors
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class CosineScorer:
    """Cosine after PROJECTION, which makes vectors of unit length."""

    projection: Projection

    def factors(self, windows: Side) -> Factors:
        """All cosines."""
        return CosineBackend(self.projection).factors(windows, windows)


@dataclass(frozen=True)
class PldaScorer:
    """Log-likelihood ratios in the space that holds most of the variance of a recording (Kaldi's --target-energy).

    projection: what comes before the model; target_energy: share of the variance of the projected windows, 1 for all.
    """

    projection: Projection
    plda: Plda
    target_energy: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.target_energy <= 1:
            raise DataError(f"target_energy is {self.target_energy:g}; it must be above 0, and at most 1")

    def factors(self, windows: Side) -> Factors:
        """All log-likelihood ratios."""
        vectors = self.projection.apply(windows)
        plda = self.plda
        if plda.dim != vectors.shape[1]:
            raise DataError(f"the PLDA model has dimension {plda.dim}, the vectors have {vectors.shape[1]}")
        if abs(self.target_energy - 1) > 0.001:  # what Kaldi takes for 1
            basis = principal_basis(vectors, self.target_energy)
            vectors, plda = (vectors @ basis.T).astype(np.float32), transform_plda(plda, basis)
        latent = plda.latent(vectors, windows.num_utts)
        return plda.factors(latent, windows.num_utts, latent)


def principal_basis(vectors: Vectors, target_energy: float) -> Floats:
    """Principal axes (K, D) of VECTORS (N, D): those with TARGET_ENERGY of the variance and, as in Kaldi, one more."""
    wide = vectors.astype(np.float64)
    values, axes = np.linalg.eigh(np.cov(wide, rowvar=False, bias=True).reshape(wide.shape[1], -1))
    values, axes = np.maximum(values[::-1], 0), axes[:, ::-1]
    share = np.cumsum(values) / max(values.sum(), np.finfo(np.float64).tiny)
    needed = 1 + int(np.searchsorted(share, target_energy, side="right"))
    basis: Floats = axes[:, : needed + 1].T
    return basis


def transform_plda(plda: Plda, matrix: Floats) -> Plda:
    """The model of vectors that go through MATRIX (K, D), as Kaldi's Plda::ApplyTransform."""
    within, between = plda.covariances()
    return Plda.from_covariances(matrix @ plda.mean, matrix @ within @ matrix.T, matrix @ between @ matrix.T)


def dense_scores(factors: Factors) -> Vectors:
    """The matrix of all scores, (N, N) float32."""
    scores = np.empty((len(factors.left), len(factors.right)), np.float32)

    def fill(rows: slice, block: Vectors) -> None:
        bias = factors.left_bias[rows, None] + factors.right_bias[factors.group[rows]]
        scores[rows] = block + bias.astype(np.float32)

    map_products(factors, fill)
    return scores


def symmetrize(scores: Vectors) -> None:
    """Makes the lower triangle of SCORES (N, N) the mirror of the upper one: rounding is not the same in both."""
    for row in range(1, len(scores)):
        scores[row, :row] = scores[:row, row]
