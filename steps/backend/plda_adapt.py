"""Unsupervised adaptation of a PLDA model to unlabelled embeddings of another domain. Called by adapt_plda.py."""

import numpy as np

from steps.backend.plda import Plda
from steps.backend.vectors import Floats, Vectors, double_blocks
from steps.utils.errors import DataError


def adapt_plda(
    plda: Plda, vectors: Vectors, mean_diff_scale: float, within_covar_scale: float, between_covar_scale: float
) -> Plda:
    """PLDA with the mean of VECTORS (N, D), and with the variance they have beyond the model's, as ivector-adapt-plda.

    In each direction in which VECTORS vary more than the model says, a share of the excess, WITHIN_COVAR_SCALE, is
    added to the within-speaker covariance and another, BETWEEN_COVAR_SCALE, to the between-speaker one. The squared
    distance of the means counts as variance with weight MEAN_DIFF_SCALE.
    """
    if vectors.shape[1] != plda.dim:
        raise DataError(f"the PLDA model has dimension {plda.dim}, the vectors have {vectors.shape[1]}")
    mean: Floats = vectors.mean(axis=0, dtype=np.float64)
    difference = mean - plda.mean
    variance = mean_diff_scale * np.outer(difference, difference)
    for _, block in double_blocks(vectors):
        variance += (block - mean).T @ (block - mean) / len(vectors)
    # in this space the model's total covariance is the identity
    whiten = plda.transform / np.sqrt(1 + plda.psi)[:, None]
    eigenvalues, directions = np.linalg.eigh(whiten @ variance @ whiten.T)
    excess = np.maximum(eigenvalues - 1, 0)
    back = np.linalg.inv(directions.T @ whiten)
    added = (back * excess) @ back.T
    within, between = plda.covariances()
    return Plda.from_covariances(mean, within + within_covar_scale * added, between + between_covar_scale * added)
