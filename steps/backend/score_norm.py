"""S-norm and AS-norm: scores measured in the spread of each side's scores against a cohort of other speakers.

Called by normalize_scores.py. The same for every back-end: a cohort is one more test side to its `factors`.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from steps.backend.backends import Backend
from steps.backend.scoring import Factors, map_products
from steps.backend.vectors import Embeddings, Floats, Side, Vectors
from steps.datadir.datadir import invert
from steps.utils.errors import DataError

log = logging.getLogger(__name__)

_FLOOR = 1e-6  # of a standard deviation: a cohort that scores alike must not divide by zero


@dataclass(frozen=True)
class CohortStats:
    """Mean and standard deviation of the cohort scores of N vectors, (N,) each."""

    mean: Floats
    std: Floats

    def at(self, rows: npt.NDArray[np.integer]) -> "CohortStats":
        """Those of some rows."""
        return CohortStats(self.mean[rows], self.std[rows])


def read_cohort(path: Path, utt2spk: Path | None, trial_speakers: Collection[str], trial_utts: Collection[str]) -> Side:
    """The cohort in PATH: with UTT2SPK the mean vector of each speaker, otherwise every vector; nobody of the trials.

    Raises:
        DataError: an id comes twice, UTT2SPK does not name an utterance, or fewer than two members are left
    """
    embeddings = Embeddings.read(path)
    speakers = embeddings.speakers(utt2spk) if utt2spk else embeddings.ids
    members = invert(dict(zip(embeddings.ids, speakers, strict=True)))
    tried = set(trial_utts)
    excluded = {speaker for speaker, utts in members.items() if speaker in trial_speakers or not tried.isdisjoint(utts)}
    if excluded:
        log.info("cohort %s: left out %d of %d speakers, who are in the trials", path, len(excluded), len(members))
    members = {speaker: utts for speaker, utts in members.items() if speaker not in excluded}
    if len(members) < 2:
        raise DataError(f"a cohort of {len(members)} cannot normalise scores", path)
    side = embeddings.average(members, str(utt2spk))
    return Side.single(side.ids, side.vectors)  # scored like any test vector


def cohort_stats(factors: Factors, top_n: int | None, nj: int = 1) -> CohortStats:
    """Of every row's TOP_N highest scores, or of all (None): mean and population standard deviation.

    Raises:
        DataError: TOP_N is less than 2
    """
    if top_n is not None and top_n < 2:
        raise DataError(f"the {top_n} highest cohort scores have no spread: take at least 2")
    num_rows, size = len(factors.left), len(factors.right)
    first = size - min(top_n or size, size)
    stats = CohortStats(np.empty(num_rows), np.empty(num_rows))
    bias = factors.right_bias.astype(np.float32)

    def measure(rows: slice, scores: Vectors) -> None:
        scores += bias[factors.group[rows]] if len(bias) > 1 else bias[0]
        if first:
            scores.partition(first, axis=1)
        top = scores[:, first:]
        mean = top.mean(axis=1, dtype=np.float64)
        top -= mean[:, None].astype(np.float32)  # small numbers square well in single precision
        rest = top.mean(axis=1, dtype=np.float64)
        variance = np.einsum("nk,nk->n", top, top) / top.shape[1] - rest**2
        stats.mean[rows] = mean + factors.left_bias[rows]
        stats.std[rows] = np.sqrt(np.maximum(variance, 0))

    map_products(factors, measure, nj)
    return CohortStats(stats.mean, np.maximum(stats.std, _FLOOR))


def side_stats(
    backend: Backend, enroll: Side, test: Side, cohort: Side, top_n: int | None, nj: int = 1
) -> tuple[CohortStats, CohortStats]:
    """Cohort statistics of the enrolment side and of the test side; what stands on both sides is scored once."""
    place = {key: row for row, key in enumerate(enroll.ids)}
    rows = np.fromiter((place.get(key, -1) for key in test.ids), np.int64, len(test.ids))
    same = rows >= 0
    same[same] = (enroll.num_utts[rows[same]] == 1) & (enroll.vectors[rows[same]] == test.vectors[same]).all(axis=1)
    rows[~same] = len(enroll.ids) + np.arange(np.count_nonzero(~same))
    alone = np.flatnonzero(~same)
    both = Side(
        [*enroll.ids, *(test.ids[row] for row in alone.tolist())],
        np.concatenate([enroll.vectors, test.vectors[alone]]),
        np.append(enroll.num_utts, test.num_utts[alone]),
    )
    stats = cohort_stats(backend.factors(both, cohort), top_n, nj)
    return stats.at(np.arange(len(enroll.ids))), stats.at(rows)


def normalize(scores: Floats, enroll: CohortStats, test: CohortStats) -> Floats:
    """SCORES (N,) of trials whose two sides have the statistics ENROLL and TEST, (N,) each (Matejka et al. 2017)."""
    return 0.5 * ((scores - enroll.mean) / enroll.std + (scores - test.mean) / test.std)
