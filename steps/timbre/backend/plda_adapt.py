"""Adaptation of a PLDA model to another domain, with embeddings of known speakers or without. Called by adapt_plda.py.

B and W are a model's covariances between and within speakers; O is the domain that the model is of, I the new one.
"""

import numpy as np

from timbre.backend.plda import Plda, diagonalize
from timbre.backend.vectors import Floats, Vectors
from timbre.runtime.factors import double_blocks
from timbre.utils.errors import DataError


def adapt_plda(
    plda: Plda,
    vectors: Vectors,
    mean_diff_scale: float,
    within_covar_scale: float,
    between_covar_scale: float,
    prior_utts: float = 0,
) -> Plda:
    """PLDA with the mean of VECTORS (N, D), and with the variance they have beyond the model's, as ivector-adapt-plda.

    In each direction in which VECTORS vary more than the model says, a share of the excess, WITHIN_COVAR_SCALE, is
    added to the within-speaker covariance and another, BETWEEN_COVAR_SCALE, to the between-speaker one. The squared
    distance of the means counts as variance with weight MEAN_DIFF_SCALE. The variance of N vectors has weight
    N / (N + PRIOR_UTTS), the model's own the rest, or that of few vectors would pass for variance of the domain.
    """
    mean, variance = _moments(plda, vectors)
    difference = mean - plda.mean
    variance += mean_diff_scale * np.outer(difference, difference)
    within, between = plda.covariances()
    variance = _shrunk(variance, within + between, len(vectors), prior_utts)
    # in this space the model's total covariance is the identity
    whiten = plda.transform / np.sqrt(1 + plda.psi)[:, None]
    eigenvalues, directions = np.linalg.eigh(whiten @ variance @ whiten.T)
    excess = np.maximum(eigenvalues - 1, 0)
    back = np.linalg.inv(directions.T @ whiten)
    added = (back * excess) @ back.T
    return Plda.from_covariances(mean, within + within_covar_scale * added, between + between_covar_scale * added)


def coral(plda: Plda, vectors: Vectors, prior_utts: float = 0) -> Plda:
    """PLDA of VECTORS (N, D)'s mean and total covariance: correlation alignment (Sun et al. 2016) of the model.

    The embeddings that the model is of, mapped by A = C_I^1/2 C_O^-1/2 so that their covariance becomes C_I, would have
    the covariances A B A' and A W A' (Lee et al. 2019, section 2.2). PRIOR_UTTS as in `adapt_plda`.

    Raises:
        DataError: VECTORS are fewer than it takes to tell their covariance
    """
    mean, variance = _moments(plda, vectors)
    if len(vectors) <= plda.dim:
        raise DataError(f"{len(vectors)} embeddings do not tell a covariance of {plda.dim} dimensions")
    within, between = plda.covariances()
    variance = _shrunk(variance, within + between, len(vectors), prior_utts)
    align = _power(variance, 0.5) @ _power(within + between, -0.5)
    return Plda.from_covariances(mean, align @ within @ align.T, align @ between @ align.T)


def coral_plus(
    plda: Plda,
    vectors: Vectors,
    within_covar_scale: float = 0.8,
    between_covar_scale: float = 0.8,
    prior_utts: float = 0,
) -> Plda:
    """PLDA with that of `coral` where it has more variance (Lee, Wang and Koshinaka, The CORAL+ algorithm, 2019).

    Shares of the excess are added to W and to B separately, so that neither ever loses variance. PRIOR_UTTS as in
    `adapt_plda`.
    """
    within, between = plda.covariances()
    aligned = coral(plda, vectors, prior_utts)
    aligned_within, aligned_between = aligned.covariances()
    within = within + within_covar_scale * _excess(within, aligned_within)
    between = between + between_covar_scale * _excess(between, aligned_between)
    return Plda.from_covariances(aligned.mean, within, between)


def interpolate(inside: Plda, outside: Plda, weight: float, regularize: bool = False) -> Plda:
    """INSIDE, trained on the new domain, interpolated with OUTSIDE: WEIGHT of the former, the rest of the latter.

    With OUTSIDE as it is this is LIP (Garcia-Romero and McCree 2014), with its `coral` CIP (Wang et al., A generalized
    framework for domain adaptation of PLDA, 2020). REGULARIZE, as there, takes from OUTSIDE only what it has beyond
    INSIDE, so that neither covariance becomes smaller than that of INSIDE.

    Raises:
        DataError: WEIGHT is not between 0 and 1
    """
    if not 0 <= weight <= 1:
        raise DataError(f"the weight of the new domain is {weight:g}; it must lie between 0 and 1")
    pairs = zip(inside.covariances(), outside.covariances(), strict=True)
    if regularize:
        within, between = (own + (1 - weight) * _excess(own, other) for own, other in pairs)
    else:
        within, between = (weight * own + (1 - weight) * other for own, other in pairs)
    return Plda.from_covariances(inside.mean, within, between)


def _moments(plda: Plda, vectors: Vectors) -> tuple[Floats, Floats]:
    """Mean (D,) and covariance (D, D) of VECTORS."""
    if vectors.shape[1] != plda.dim:
        raise DataError(f"the PLDA model has dimension {plda.dim}, the vectors have {vectors.shape[1]}")
    mean: Floats = vectors.mean(axis=0, dtype=np.float64)
    variance = np.zeros((plda.dim, plda.dim))
    for _, block in double_blocks(vectors):
        variance += (block - mean).T @ (block - mean) / len(vectors)
    return mean, variance


def _shrunk(variance: Floats, model: Floats, number: int, prior: float) -> Floats:
    """VARIANCE of NUMBER vectors with that of the MODEL, as if PRIOR vectors had told it."""
    weight = number / (number + prior)
    shrunk: Floats = weight * variance + (1 - weight) * model
    return shrunk


def _power(covariance: Floats, exponent: float) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    power: Floats = (vectors * np.maximum(values, 1e-12 * values[-1]) ** exponent) @ vectors.T
    return power


def _excess(own: Floats, other: Floats) -> Floats:
    """What the covariance OTHER has beyond OWN, in the directions that diagonalise both: never less than nothing."""
    ridge = 1e-10 * np.trace(own) / len(own) * np.eye(len(own))  # between speakers, OWN may be of lower rank
    ratios, basis = diagonalize(own + ridge, other)
    back = np.linalg.inv(basis)
    excess: Floats = (back.T * np.maximum(ratios - 1, 0)) @ back
    return excess
