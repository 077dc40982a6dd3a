"""PLDA in closed form (Ioffe, Probabilistic linear discriminant analysis, ECCV 2006). Called by model_kinds.py."""

import logging

import numpy as np

from timbre.backend.plda import Plda, diagonalize
from timbre.backend.speaker_stats import SpeakerStats

log = logging.getLogger(__name__)


def train_ioffe(stats: SpeakerStats) -> Plda:
    """The model of greatest likelihood if every speaker has as many utterances; otherwise n is their average number.

    The means of n utterances vary by B + W/n around the mean of all, where (n - 1)/n W is what their scatter around the
    speakers' means shows. In the directions that make that scatter the identity, psi = (n - 1)/n lambda - 1/n, with the
    variances lambda of the means, and none where that is negative.

    Raises:
        DataError: the within-speaker covariance is singular
    """
    average = stats.num_utts / stats.num_speakers
    variances, basis = diagonalize(stats.within, stats.between)
    psi = np.maximum((average - 1) / average * variances - 1 / average, 0)
    log.info("speakers differ in %d of %d dimensions", np.count_nonzero(psi), len(psi))
    return Plda(stats.mean, np.ascontiguousarray(basis.T) * np.sqrt((average - 1) / average), psi)
