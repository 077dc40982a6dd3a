"""Intervals of error rates by drawing speakers anew, not trials: trials of one speaker are far from independent.

A draw takes as many speakers as there are, with replacement. A trial of speaker i with herself then counts n_i times,
one of speakers i and j n_i n_j times. Two-way, the speakers of each side are drawn for themselves: a trial counts
n_i m_j times, whoever i and j are. Called by results.py and breakdown.py.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.evaluation.metrics import PRIORS, Bools, Corners, Floats, Ints

Integers = npt.NDArray[np.integer]

_DRAWS = 16  # at once: their weights of one pair fill a cache line
_WEIGHTS = 1 << 24  # of pairs in draws that are held at once, for each thread: 64 MB


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
    enroll_speaker: Integers,
    test_speaker: Integers,
    *,
    num_draws: int = 1000,
    seed: int = 0,
    priors: Sequence[float] = PRIORS,
    nj: int = 1,
    llr: bool = False,
    two_way: bool = False,
) -> Draws:
    """EER, ROCCH-EER, minDCF and minCllr, with LLR actDCF and Cllr too, of NUM_DRAWS draws of speakers.

    Exact, without binning: trials are counted once by pair of speakers and by the corners of the curve that they lie
    between; the curves of many draws at once are then this sparse matrix times the products of the speakers' counts.

    scores: (N,); target: (N,); enroll_speaker, test_speaker: (N,) speaker numbers from 0; two_way: enrolment and test
    speakers are two factors, drawn apart (the pigeonhole bootstrap, Owen 2007): for lists whose sides are of different
    making, and wider than the true interval rather than narrower.
    """
    if num_draws == 0:
        nothing = dict.fromkeys(priors, np.empty(0))
        return Draws(np.empty(0), nothing, act_dcf=nothing if llr else {})
    num_speakers = 1 + max(int(enroll_speaker.max()), int(test_speaker.max()))
    # drawn together: where both sides are one speaker, the second factor is that of a dummy who is always drawn once
    second = test_speaker if two_way else np.where(enroll_speaker == test_speaker, num_speakers, test_speaker)
    pairs, pair_of = _pairs(enroll_speaker, second)
    targets, nontargets = (_SortedClass.of(scores, pair_of, mask) for mask in (target, ~target))
    del pair_of
    corners = Corners.find(targets.scores, nontargets.scores, thresholds=False)
    actual = _ActualCosts.of(targets, nontargets, priors, len(pairs[0])) if llr else None
    below = targets.between(corners.first, len(pairs[0]))
    around = nontargets.between(np.stack([corners.below, corners.upto], axis=1).ravel(), len(pairs[0]))
    del targets, nontargets
    pools = [np.unique(side) for side in (enroll_speaker, test_speaker)] if two_way else [np.arange(num_speakers)]
    width = 3 + len(priors) + (1 + len(priors)) * llr

    def draw(index: int) -> list[npt.NDArray[np.int32]]:
        """How often each speaker of a side is drawn."""
        rng = np.random.default_rng([seed, index])
        drawn = [pool[rng.integers(0, len(pool), len(pool))] for pool in pools]
        return [np.append(np.bincount(side, minlength=num_speakers), 1).astype(np.int32) for side in drawn]

    def rates(missed: Ints, rejected: Ints, costs: list[float]) -> list[float]:
        """Of one draw, from the weights of the trials below each corner and in all."""
        num_target, num_nontarget = int(missed[-1]), int(rejected[-1])
        if not (num_target and num_nontarget):
            return [np.nan] * width
        curve = corners.weigh(missed[:-1], rejected[:-1:2], rejected[1:-1:2], num_target, num_nontarget)
        return [curve.eer(), curve.rocch_eer(), curve.min_cllr(), *map(curve.min_dcf, priors), *costs]

    def some(indices: range) -> list[list[float]]:
        counts = [draw(index) for index in indices]
        first, last = (np.stack([sides[place] for sides in counts], axis=1) for place in (0, -1))
        weights = first[pairs[0]] * last[pairs[1]]
        missed, rejected = (np.cumsum(part @ weights, axis=0, dtype=np.int64).T.copy() for part in (below, around))
        costs = actual.of_draws(weights) if actual else [[]] * len(indices)
        return list(map(rates, missed, rejected, costs))

    together = max(1, min(_DRAWS, _WEIGHTS // len(pairs[0])))
    batches = [range(begin, min(begin + together, num_draws)) for begin in range(0, num_draws, together)]
    with ThreadPoolExecutor(max(1, nj)) as pool:
        table = np.array([row for rows in pool.map(some, batches) for row in rows]).reshape(num_draws, width)
    dcfs, others = np.split(table[:, 3:], [len(priors)], axis=1)
    return Draws(
        table[:, 0],
        dict(zip(priors, dcfs.T, strict=True)),
        table[:, 1],
        table[:, 2],
        *((others[:, 0], dict(zip(priors, others[:, 1:].T, strict=True))) if llr else ()),
    )


def _pairs(first: Integers, second: Integers) -> tuple[tuple[Integers, Integers], npt.NDArray[np.int32]]:
    """The distinct pairs of FIRST (N,) and SECOND (N,), two arrays (P,), and the number of each trial's pair (N,)."""
    width = 1 + int(second.max())
    keys = first * np.int64(width) + second
    size = (1 + int(first.max())) * width
    if size > 4 * len(keys):
        distinct, pair_of = np.unique(keys, return_inverse=True)
        return np.divmod(distinct, width), pair_of.astype(np.int32)
    known = np.zeros(size, bool)
    known[keys] = True
    number = np.cumsum(known, dtype=np.int32) - np.int32(1)
    return np.divmod(np.flatnonzero(known), width), number[keys]


@dataclass(frozen=True)
class _SortedClass:
    """Trials of one class by ascending score: scores (N,), and the pair of speakers that each is of, (N,) int32."""

    scores: Floats
    pairs: npt.NDArray[np.int32]

    @classmethod
    def of(cls, scores: Floats, pairs: npt.NDArray[np.int32], mask: Bools) -> "_SortedClass":
        scores, pairs = scores[mask], pairs[mask]
        order = np.argsort(scores)
        return cls(scores[order], pairs[order])

    def between(self, places: Ints, num_pairs: int) -> Any:
        """How many trials of each pair are before, between and after the ascending PLACES (K,): sparse (K + 1, P)."""
        from scipy.sparse import csr_array  # slow to import

        ends = np.concatenate([[0], places, [len(self.pairs)]])
        ones = np.ones(len(self.pairs), np.int32)
        counts = csr_array((ones, self.pairs, ends), shape=(len(places) + 1, num_pairs))
        if len(places) * num_pairs < len(self.pairs):  # often the same pair in the same place
            counts.sum_duplicates()
        return counts


@dataclass(frozen=True)
class _ActualCosts:
    """What log-likelihood ratios cost when they are believed: Cllr and actDCF, of any weights of the pairs of speakers.

    target_costs, nontarget_costs: (P,) summed terms of Cllr, in nats, of the trials of each pair; targets, nontargets:
    (P,) their numbers; missed, accepted: (Q, P) how many of them are on the wrong side of the Bayes threshold of each
    of PRIORS, (Q,).
    """

    target_costs: Floats
    nontarget_costs: Floats
    targets: Ints
    nontargets: Ints
    missed: Ints
    accepted: Ints
    priors: Floats

    @classmethod
    def of(cls, targets: _SortedClass, nontargets: _SortedClass, priors: Sequence[float], num: int) -> "_ActualCosts":
        odds = np.array(priors)
        thresholds = np.log((1 - odds) / odds)
        missed = [targets.pairs[:end] for end in np.searchsorted(targets.scores, thresholds)]
        accepted = [nontargets.pairs[begin:] for begin in np.searchsorted(nontargets.scores, thresholds)]
        return cls(
            target_costs=np.bincount(targets.pairs, np.logaddexp(0, -targets.scores), num).astype(np.float64),
            nontarget_costs=np.bincount(nontargets.pairs, np.logaddexp(0, nontargets.scores), num).astype(np.float64),
            targets=np.bincount(targets.pairs, minlength=num),
            nontargets=np.bincount(nontargets.pairs, minlength=num),
            missed=np.stack([np.bincount(pairs, minlength=num) for pairs in missed]),
            accepted=np.stack([np.bincount(pairs, minlength=num) for pairs in accepted]),
            priors=odds,
        )

    def of_draws(self, weights: npt.NDArray[np.int32]) -> list[list[float]]:
        """[Cllr in bits, actDCF of each prior] of every draw by the WEIGHTS (P, B) of the pairs; NaN without trials."""
        exact = weights.astype(np.float64)  # of integers: so are the sums but for those of costs
        with np.errstate(invalid="ignore", divide="ignore"):
            targets, nontargets = self.targets @ exact, self.nontargets @ exact
            cllr = (self.target_costs @ exact / targets + self.nontarget_costs @ exact / nontargets) / (2 * np.log(2))
            priors = self.priors[:, None]
            costs = priors * (self.missed @ exact / targets) + (1 - priors) * (self.accepted @ exact / nontargets)
        rows: list[list[float]] = np.vstack([cllr, costs / np.minimum(priors, 1 - priors)]).T.tolist()
        return rows
