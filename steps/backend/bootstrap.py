"""Intervals of error rates by drawing speakers anew, not trials: trials of one speaker are far from independent.

A draw takes as many speakers as there are, with replacement. A trial of speaker i with herself then counts n_i times,
one of speakers i and j n_i n_j times. Called by results.py.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from steps.backend.metrics import PRIORS, Bools, Corners, Floats, Ints


@dataclass(frozen=True)
class Draws:
    """Error rates of every draw of speakers; NaN for a draw that has no target or no non-target trial left.

    eer: (B,); min_dcf: prior -> (B,). Draws of the same trials and seed are of the same speakers: subtract to compare.
    """

    eer: Floats
    min_dcf: dict[float, Floats]


def bootstrap(
    scores: Floats,
    target: Bools,
    enroll_speaker: Ints,
    test_speaker: Ints,
    *,
    num_draws: int = 1000,
    seed: int = 0,
    priors: Sequence[float] = PRIORS,
    nj: int = 1,
) -> Draws:
    """EER and minDCF of NUM_DRAWS draws of speakers.

    Exact, without binning: scores are sorted once, a draw is then a product of counts and a cumulative sum over trials.

    scores: (N,); target: (N,); enroll_speaker, test_speaker: (N,) speaker numbers from 0.
    """
    num_speakers = 1 + max(int(enroll_speaker.max()), int(test_speaker.max()))
    # where both sides are the same speaker, the second factor is that of a dummy who is always drawn once
    second = np.where(enroll_speaker == test_speaker, num_speakers, test_speaker)
    targets, nontargets = (_SortedClass.of(scores, enroll_speaker, second, mask) for mask in (target, ~target))
    corners = Corners.find(targets.scores, nontargets.scores)

    def draw(index: int) -> list[float]:
        drawn = np.random.default_rng([seed, index]).integers(0, num_speakers, num_speakers)
        counts = np.append(np.bincount(drawn, minlength=num_speakers), 1)
        roc = corners.roc(targets.cumulate(counts), nontargets.cumulate(counts))
        if not (roc.num_target and roc.num_nontarget):
            return [np.nan] * (1 + len(priors))
        return [roc.eer(), *(roc.min_dcf(prior) for prior in priors)]

    with ThreadPoolExecutor(max(1, nj)) as pool:
        table = np.array(list(pool.map(draw, range(num_draws)))).reshape(num_draws, 1 + len(priors))
    return Draws(table[:, 0], {prior: table[:, 1 + column] for column, prior in enumerate(priors)})


def interval(draws: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of DRAWS (B,), None where fewer than half of them are defined (too few speakers)."""
    defined = draws[~np.isnan(draws)]
    if not 0 < len(draws) <= 2 * len(defined):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class _SortedClass:
    """Trials of one class by ascending score: scores (N,), and the two speakers whose counts multiply (N,)."""

    scores: Floats
    first: Ints
    second: Ints

    @classmethod
    def of(cls, scores: Floats, first: Ints, second: Ints, mask: Bools) -> "_SortedClass":
        chosen = np.flatnonzero(mask)
        chosen = chosen[np.argsort(scores[chosen])]
        return cls(scores[chosen], first[chosen], second[chosen])

    def cumulate(self, counts: npt.NDArray[np.int64]) -> Ints:
        """Weight of the first k trials for k = 0..N, given how often each speaker was drawn: (N + 1,)."""
        result = np.zeros(len(self.scores) + 1, np.int64)
        np.cumsum(counts[self.first] * counts[self.second], out=result[1:])
        return result
