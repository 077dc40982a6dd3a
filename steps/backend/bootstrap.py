"""Intervals of error rates by drawing speakers anew, not trials: trials of one speaker are far from independent.

A draw takes as many speakers as there are, with replacement. A trial of speaker i with herself then counts n_i times,
one of speakers i and j n_i n_j times. Two-way, the speakers of each side are drawn for themselves: a trial counts
n_i m_j times, whoever i and j are. Called by results.py and breakdown.py.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from steps.backend.metrics import PRIORS, Bools, Corners, Floats, Ints


@dataclass(frozen=True)
class Draws:
    """Error rates of every draw of speakers; NaN for a draw that has no target or no non-target trial left.

    eer, rocch_eer, min_cllr, cllr: (B,); min_dcf, act_dcf: prior -> (B,); cllr and act_dcf are empty unless the scores
    are log-likelihood ratios. Draws of the same trials and seed are of the same speakers: subtract to compare.
    """

    eer: Floats
    min_dcf: dict[float, Floats]
    rocch_eer: Floats = field(default_factory=lambda: np.empty(0))
    min_cllr: Floats = field(default_factory=lambda: np.empty(0))
    cllr: Floats = field(default_factory=lambda: np.empty(0))
    act_dcf: dict[float, Floats] = field(default_factory=dict)


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
    llr: bool = False,
    two_way: bool = False,
) -> Draws:
    """EER, ROCCH-EER, minDCF and minCllr, with LLR actDCF and Cllr too, of NUM_DRAWS draws of speakers.

    Exact, without binning: scores are sorted once, a draw is then a product of counts and a cumulative sum over trials.

    scores: (N,); target: (N,); enroll_speaker, test_speaker: (N,) speaker numbers from 0; two_way: enrolment and test
    speakers are two factors, drawn apart (the pigeonhole bootstrap, Owen 2007): for lists whose sides are of different
    making, and wider than the true interval rather than narrower.
    """
    num_speakers = 1 + max(int(enroll_speaker.max()), int(test_speaker.max()))
    # drawn together: where both sides are one speaker, the second factor is that of a dummy who is always drawn once
    second = test_speaker if two_way else np.where(enroll_speaker == test_speaker, num_speakers, test_speaker)
    targets, nontargets = (_SortedClass.of(scores, enroll_speaker, second, mask) for mask in (target, ~target))
    corners = Corners.find(targets.scores, nontargets.scores)
    pools = [np.unique(side) for side in (enroll_speaker, test_speaker)] if two_way else [np.arange(num_speakers)]
    actual = _ActualCosts.of(targets.scores, nontargets.scores, priors) if llr else None

    def draw(index: int) -> list[float]:
        rng = np.random.default_rng([seed, index])
        drawn = [pool[rng.integers(0, len(pool), len(pool))] for pool in pools]
        first, last = (np.append(np.bincount(side, minlength=num_speakers), 1) for side in (drawn[0], drawn[-1]))
        totals = targets.cumulate(first, last), nontargets.cumulate(first, last)
        curve = corners.roc(*totals)
        if not (curve.num_target and curve.num_nontarget):
            return [np.nan] * width
        row = [curve.eer(), curve.rocch_eer(), curve.min_cllr(), *(curve.min_dcf(prior) for prior in priors)]
        return row + (actual.of_draw(*totals) if actual else [])

    width = 3 + len(priors) + (1 + len(priors)) * llr
    with ThreadPoolExecutor(max(1, nj)) as pool:
        table = np.array(list(pool.map(draw, range(num_draws)))).reshape(num_draws, width)
    dcfs, others = np.split(table[:, 3:], [len(priors)], axis=1)
    return Draws(
        table[:, 0],
        dict(zip(priors, dcfs.T, strict=True)),
        table[:, 1],
        table[:, 2],
        *((others[:, 0], dict(zip(priors, others[:, 1:].T, strict=True))) if llr else ()),
    )


def interval(draws: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of DRAWS (B,), None where fewer than half of them are defined (too few speakers)."""
    defined = draws[~np.isnan(draws)]
    if not 0 < len(draws) <= 2 * len(defined):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class _ActualCosts:
    """What log-likelihood ratios cost when they are believed: Cllr and actDCF, of any weights of the trials.

    target_costs: (N,), nontarget_costs: (M,), terms of Cllr by ascending score, in nats; missed, rejected: (P,) how
    many targets and non-targets are below the Bayes threshold of each of PRIORS.
    """

    target_costs: Floats
    nontarget_costs: Floats
    missed: Ints
    rejected: Ints
    priors: Floats

    @classmethod
    def of(cls, targets: Floats, nontargets: Floats, priors: Sequence[float]) -> "_ActualCosts":
        odds = np.array(priors)
        missed, rejected = (np.searchsorted(part, np.log((1 - odds) / odds)) for part in (targets, nontargets))
        return cls(np.logaddexp(0, -targets), np.logaddexp(0, nontargets), missed, rejected, odds)

    def of_draw(self, targets: Ints, nontargets: Ints) -> list[float]:
        """[Cllr in bits, actDCF of each prior] for the weights of the first k trials of each class, k from 0 to all."""
        miss = np.diff(targets) @ self.target_costs / targets[-1]
        false_alarm = np.diff(nontargets) @ self.nontarget_costs / nontargets[-1]
        misses, accepted = targets[self.missed] / targets[-1], 1 - nontargets[self.rejected] / nontargets[-1]
        costs = (self.priors * misses + (1 - self.priors) * accepted) / np.minimum(self.priors, 1 - self.priors)
        return [(miss + false_alarm) / (2 * np.log(2)), *costs]


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

    def cumulate(self, first_counts: Ints, second_counts: Ints) -> Ints:
        """Weight of the first k trials for k = 0..N, given how often each speaker of a side was drawn: (N + 1,)."""
        result = np.zeros(len(self.scores) + 1, np.int64)
        np.cumsum(first_counts[self.first] * second_counts[self.second], out=result[1:])
        return result
