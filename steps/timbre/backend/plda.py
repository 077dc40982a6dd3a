"""Two-covariance PLDA, numerically Kaldi's: training by EM, length norm, log-likelihood ratios, smoothing.

A speaker is a draw from N(mean, B), her utterance one from N(speaker, W). Called by model_kinds.py and backends.py.
"""

import logging
from pathlib import Path

import numpy as np
import scipy.linalg

from timbre.backend.model_files import read_plda, write_plda
from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.vectors import Floats
from timbre.runtime.factors import Latent
from timbre.utils.errors import DataError

log = logging.getLogger(__name__)


class Plda(Latent):
    """A model in the basis in which W is the identity and B is diagonal."""

    @classmethod
    def read(cls, path: Path) -> "Plda":
        """Reads Kaldi's `<Plda>` object, binary or text."""
        return cls(*read_plda(path))

    def write(self, path: Path) -> None:
        """Writes Kaldi's binary `<Plda>` object."""
        write_plda(path, self.mean, self.transform, self.psi)

    @classmethod
    def from_covariances(cls, mean: Floats, within: Floats, between: Floats) -> "Plda":
        """The model of MEAN (D,), WITHIN and BETWEEN (D, D).

        Raises:
            DataError: WITHIN is not positive definite
        """
        psi, vectors = diagonalize(within, between)
        return cls(mean, np.ascontiguousarray(vectors.T), psi)

    def covariances(self) -> tuple[Floats, Floats]:
        """Within-speaker and between-speaker covariances in the space of the embeddings, (D, D) each."""
        inverse = np.linalg.inv(self.transform)
        return inverse @ inverse.T, (inverse * self.psi) @ inverse.T

    def smooth(self, factor: float) -> "Plda":
        """Within-speaker covariance plus FACTOR times the between-speaker one, as ivector-copy-plda --smoothing."""
        within = 1 + factor * self.psi
        return Plda(self.mean, self.transform / np.sqrt(within)[:, None], self.psi / within)


def diagonalize(within: Floats, between: Floats) -> tuple[Floats, Floats]:
    """psi (D,) descending and V (D, D) with V' WITHIN V = I and V' BETWEEN V = diag(psi).

    Raises:
        DataError: WITHIN is not positive definite
    """
    try:
        psi, vectors = scipy.linalg.eigh(between, within)
    except np.linalg.LinAlgError:
        raise DataError(
            f"the within-speaker covariance is singular in {len(within)} dimensions: fewer, by LDA, or more utterances"
        ) from None
    return np.maximum(psi[::-1], 0), vectors[:, ::-1]


def train_plda(stats: SpeakerStats, num_iters: int = 10) -> Plda:
    """A model of STATS by NUM_ITERS iterations of expectation maximisation, as Kaldi's ivector-compute-plda.

    In the basis that diagonalises both covariances every speaker's posterior is a vector, not a matrix, so an iteration
    is one eigenvalue problem and a few products over all speakers at once.

    Raises:
        DataError: the within-speaker covariance becomes singular
    """
    rank = np.linalg.matrix_rank(stats.scatter, hermitian=True)
    if rank < len(stats.scatter):
        log.warning("within speakers these embeddings vary in %d of %d dimensions: LDA first", rank, len(stats.scatter))
    mean = stats.means.mean(axis=0)  # of speakers, whatever their number of utterances
    centered = stats.means - mean
    counts = stats.counts[:, None]
    within = between = np.eye(len(mean))
    for iteration in range(num_iters):
        psi, basis = diagonalize(within, between)
        log.info("EM iteration %d: log-likelihood %.4f an utterance", iteration, _log_likelihood(stats, psi, basis))
        observed = centered @ basis
        variance = psi / (1 + counts * psi)  # (S, D), posterior of the speaker
        posterior = counts * variance * observed
        residual = observed - posterior
        between_sum = posterior.T @ posterior + np.diag(variance.sum(axis=0))
        within_sum = (counts * residual).T @ residual + np.diag((counts * variance).sum(axis=0))
        back = np.linalg.inv(basis)
        between = back.T @ between_sum @ back / stats.num_speakers
        within = (back.T @ within_sum @ back + stats.scatter) / stats.num_utts
    return Plda.from_covariances(mean, within, between)


def log_likelihood(stats: SpeakerStats, model: Plda) -> float:
    """Log-likelihood of the data behind STATS under MODEL, per utterance: what EM never lowers."""
    return _log_likelihood(stats, model.psi, model.transform.T)


def _log_likelihood(stats: SpeakerStats, psi: Floats, basis: Floats) -> float:
    """With covariances I and PSI (D,) in BASIS (D, D), as Kaldi's PldaEstimator::ComputeObjf."""
    observed = (stats.means - stats.means.mean(axis=0)) @ basis
    variance = psi + 1 / stats.counts[:, None]
    log_det = 2 * np.linalg.slogdet(basis)[1]  # of the inverse of the within-speaker covariance
    num_free = stats.num_utts - stats.num_speakers
    constant = len(psi) * np.log(2 * np.pi) - log_det
    within = num_free * constant + np.sum(basis * (stats.scatter @ basis))
    between = stats.num_speakers * constant + np.sum(np.log(variance) + observed**2 / variance)
    return float(-0.5 * (within + between) / stats.num_utts)
