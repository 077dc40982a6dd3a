"""Simplified PLDA: a speaker is a point of a subspace of K dimensions, what remains has a full covariance.

x = m + V y + e, y ~ N(0, I), e ~ N(0, W): a two-covariance model with B = V V' (Kenny, Odyssey 2010; Garcia-Romero and
Espy-Wilson, Interspeech 2011). Called by model_kinds.py.
"""

import logging
from dataclasses import replace

import numpy as np

from timbre.backend.plda import Plda, log_likelihood
from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.vectors import Floats
from timbre.utils.errors import DataError

log = logging.getLogger(__name__)


def train_subspace(stats: SpeakerStats, dim: int, num_iters: int = 20) -> Plda:
    """A model of STATS with a speaker subspace of DIM dimensions, by NUM_ITERS iterations of EM.

    Each iteration ends with the minimum divergence step: what the posteriors say of the variance of y goes into V.

    Raises:
        DataError: DIM is not one of 1 to D, or the residual covariance becomes singular
    """
    if not 1 <= dim <= len(stats.mean):
        raise DataError(f"a speaker subspace of {dim} dimensions: the vectors have {len(stats.mean)}")
    mean = stats.means.mean(axis=0)  # of speakers, as in train_plda
    centered = stats.means - mean
    counts = stats.counts[:, None]
    second_moment = stats.scatter + (counts * centered).T @ centered
    within = second_moment / stats.num_utts
    subspace = _principal(stats.between, dim)
    for iteration in range(num_iters):
        model = Plda.from_covariances(mean, within, subspace @ subspace.T)
        log.info("EM iteration %d: log-likelihood %.4f an utterance", iteration, log_likelihood(stats, model))
        loadings = np.linalg.solve(within, subspace)
        precision, turn = np.linalg.eigh(subspace.T @ loadings)
        # with V turned so that V' W^-1 V is diagonal every posterior is a vector, not a matrix
        variance = 1 / (1 + counts * precision)  # (S, K)
        posterior = counts * variance * (centered @ (loadings @ turn))
        moment = (counts * posterior).T @ posterior + np.diag((counts * variance).sum(axis=0))
        cross = (counts * centered).T @ posterior
        subspace = np.linalg.solve(moment, cross.T).T
        within = (second_moment - subspace @ cross.T) / stats.num_utts
        within = 0.5 * (within + within.T)
        spread = (posterior.T @ posterior + np.diag(variance.sum(axis=0))) / stats.num_speakers
        subspace = subspace @ np.linalg.cholesky(spread)
    model = Plda.from_covariances(mean, within, subspace @ subspace.T)
    return replace(model, psi=np.where(np.arange(len(mean)) < dim, model.psi, 0))  # not the rounding of zeros


def _principal(covariance: Floats, dim: int) -> Floats:
    """(D, DIM): the directions of most variance, as long as the deviation in them."""
    values, vectors = np.linalg.eigh(covariance)
    # a dimension of the subspace that began at zero would stay there
    kept = np.maximum(values[::-1][:dim], 1e-6 * values[-1])
    principal: Floats = vectors[:, ::-1][:, :dim] * np.sqrt(kept)
    return principal
