"""Error rates of scored trials: EER, ROCCH-EER, minDCF, actDCF, Cllr, minCllr. For results.py, bootstrap.py, plots.

Errors are counted in integers and equal scores are one operating point: no result depends on the order of the trials.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from timbre.evaluation.pav import Pav
from timbre.utils.errors import DataError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_CORNERS = 1 << 20  # target scores looked at at a time, and kept as thresholds even where they tell nothing new
_BLOCK = 1 << 20  # scores looked at at a time
PRIORS = (0.05, 0.01, 0.001)  # of a target: the operating points of VoxCeleb and of the NIST evaluations


@dataclass(frozen=True)
class Roc:
    """The corners of a ROC curve in counts (or weights) of errors, thresholds ascending, reject-all last.

    Corner k accepts scores >= thresholds[k], the k-th distinct target score. From there the curve goes through
    (misses[k + 1], false_alarms_above[k]), straight there if non-targets tie with the targets, and on to corner k + 1
    along a line of equal misses: every other threshold is no better than these corners.

    thresholds: (K + 1,), the last is +inf; misses, false_alarms: (K + 1,); false_alarms_above: (K,), non-targets whose
    score is strictly above; num_target, num_nontarget: the totals.
    """

    thresholds: Floats
    misses: Ints
    false_alarms: Ints
    false_alarms_above: Ints
    num_target: int
    num_nontarget: int

    def eer(self) -> float:
        """Equal error rate as a fraction, by linear interpolation of the curve where it crosses miss = false alarm."""
        corner = self._eer_corner()
        if corner == 0:
            return 0.0  # a threshold without any error
        before, after = int(self.misses[corner - 1]), int(self.misses[corner])
        excess_before = int(self._excess(self.misses[corner - 1], self.false_alarms[corner - 1]))
        excess_after = int(self._excess(self.misses[corner], self.false_alarms_above[corner - 1]))
        if excess_after <= 0:
            return after / self.num_target
        return self._crossing(before, after, excess_before, excess_after)

    def eer_threshold(self) -> float:
        """A score at which misses and false alarms are about as frequent: the first target score with enough misses."""
        return float(self.thresholds[self._eer_corner()])

    def rocch_eer(self) -> float:
        """EER of the ROC curve's convex hull: the highest Bayes error over all priors, never above the EER."""
        excess = self._excess(self.misses, self.false_alarms)
        first, last = 0, len(excess) - 1
        if excess[0] >= 0:
            return 0.0
        while True:  # the hull's edge under the diagonal: replace the end of an edge by the farthest corner below it
            miss_weight = self.false_alarms[first] - self.false_alarms[last]
            false_alarm_weight = self.misses[last] - self.misses[first]
            span = slice(first, last + 1)
            cost = miss_weight * self.misses[span] + false_alarm_weight * self.false_alarms[span]
            lowest = int(np.argmin(cost))
            if cost[lowest] == cost[0]:
                break
            if excess[first + lowest] <= 0:
                first += lowest
            else:
                last = first + lowest
        return self._crossing(int(self.misses[first]), int(self.misses[last]), int(excess[first]), int(excess[last]))

    def min_dcf(self, prior: float) -> float:
        """Minimum normalised detection cost (both costs 1) at a target PRIOR; reject-all included, so at most 1."""
        return float(self._costs(prior).min() / min(prior, 1 - prior))

    def min_dcf_corner(self, prior: float) -> int:
        """The corner at which min_dcf is reached."""
        return int(self._costs(prior).argmin())

    def min_cllr(self) -> float:
        """Cllr in bits of the same scores after the best monotonic calibration (PAV); at most 1."""
        return self.pav().cllr()

    def pav(self) -> Pav:
        """The pools of the best monotonic calibration."""
        return Pav.of(self.misses, self.false_alarms, self.false_alarms_above, self.num_nontarget)

    def _eer_corner(self) -> int:
        """The first corner with at least as high a miss rate as false-alarm rate."""
        return int(np.searchsorted(self._excess(self.misses, self.false_alarms), 0))

    def _costs(self, prior: float) -> Floats:
        return prior * (self.misses / self.num_target) + (1 - prior) * (self.false_alarms / self.num_nontarget)

    def _excess(self, misses: Ints, false_alarms: Ints) -> Ints:
        """Miss rate minus false-alarm rate, times both totals: an integer that grows along the curve."""
        return misses * self.num_nontarget - false_alarms * self.num_target

    def _crossing(self, before: int, after: int, excess_before: int, excess_after: int) -> float:
        part = -excess_before / (excess_after - excess_before)
        return (before + part * (after - before)) / self.num_target


@dataclass(frozen=True)
class Corners:
    """Where the corners of a Roc lie in the sorted scores of each class, whatever the trials weigh.

    thresholds: (K,) distinct target scores; first: (K,) index of the first target with that score; below, upto: (K,)
    numbers of non-targets whose score is < and <= it. Most of those that follow another with no non-target between or
    beside them can be left out, and are of more than about 10^6 target scores: the curve is straight there.
    """

    thresholds: Floats
    first: Ints
    below: Ints
    upto: Ints

    @classmethod
    def find(cls, targets: Floats, nontargets: Floats, thresholds: bool = True) -> "Corners":
        """Corners of ascending TARGETS and ascending NONTARGETS; without THRESHOLDS no more than the curve takes."""
        every = 1 + len(targets) // _CORNERS if thresholds else len(targets)  # how dense where the curve is straight
        parts, last = [], -1  # non-targets below the target score before
        for begin in range(0, len(targets), _CORNERS):
            block = targets[max(begin - 1, 0) : begin + _CORNERS]
            first = np.flatnonzero(block[1:] != block[:-1]) + max(begin, 1)
            if begin == 0:
                first = np.append(0, first)
            if not len(first):
                continue
            scores = targets[first]
            below, upto = (np.searchsorted(nontargets, scores, side=side) for side in ("left", "right"))
            kept = slice(None) if every == 1 else (upto != np.append(last, below[:-1])) | (first % every == 0)
            parts.append((scores[kept], first[kept], below[kept], upto[kept]))
            last = below[-1]
        return cls(*map(np.concatenate, zip(*parts, strict=True)))

    def count(self, num_target: int, num_nontarget: int) -> "Roc":
        """The curve of trials that count once each."""
        return self.weigh(self.first, self.below, self.upto, num_target, num_nontarget)

    def weigh(self, missed: Ints, below: Ints, upto: Ints, num_target: int, num_nontarget: int) -> Roc:
        """The curve, from the weights of the targets and of the non-targets that lie under each corner."""
        return Roc(
            thresholds=np.append(self.thresholds, np.inf),
            misses=np.append(missed, num_target),
            false_alarms=np.append(num_nontarget - below, 0),
            false_alarms_above=num_nontarget - upto,
            num_target=int(num_target),
            num_nontarget=int(num_nontarget),
        )


def roc(targets: Floats, nontargets: Floats) -> Roc:
    """The ROC curve of target scores and non-target scores, in any order; what `split` gives."""
    targets, nontargets = np.sort(targets), np.sort(nontargets)
    return Corners.find(targets, nontargets).count(len(targets), len(nontargets))


def operating_points(names: Sequence[str]) -> dict[str, float]:
    """Target priors by name: "0.01", or "0.01:10:1" with the costs of a miss and of a false alarm.

    Normalised costs depend on nothing but the effective prior, P C_miss / (P C_miss + (1 - P) C_fa): that is the value.

    Raises:
        DataError: a name that is neither, a prior outside (0, 1), a cost that is not positive
    """
    points = {}
    for name in names:
        try:
            prior, *costs = map(float, name.split(":"))
            miss_cost, false_alarm_cost = costs or (1.0, 1.0)
        except ValueError:
            raise DataError(f"operating point '{name}' is neither PRIOR nor PRIOR:MISS_COST:FALSE_ALARM_COST") from None
        if not (0 < prior < 1 and 0 < miss_cost < np.inf and 0 < false_alarm_cost < np.inf):
            raise DataError(f"operating point '{name}': the prior must be between 0 and 1, costs positive")
        points[":".join(f"{float(part):g}" for part in name.split(":"))] = (
            prior * miss_cost / (prior * miss_cost + (1 - prior) * false_alarm_cost)
        )
    return points


def split(scores: Floats, target: Bools, trials: Path | None = None) -> tuple[Floats, Floats]:
    """Target scores and non-target scores of SCORES (N,), by TARGET (N,); messages name the file TRIALS.

    Raises:
        DataError: a score is not a number or infinite, or a class has no trial
    """
    if not np.isfinite(scores).all():
        row = int(np.isfinite(scores).argmin())
        problem = "not a number" if np.isnan(scores[row]) else "infinite"
        raise DataError(f"score of trial {row + 1} is {problem}", trials, row + 1)
    targets, nontargets = scores[target], scores[~target]
    for name, part in (("target", targets), ("nontarget", nontargets)):
        if not len(part):
            raise DataError(f"none of the {len(scores)} trials is a {name}: error rates need both kinds", trials)
    return targets, nontargets


def act_dcf(targets: Floats, nontargets: Floats, prior: float) -> float:
    """Normalised detection cost at the Bayes threshold of log-likelihood ratios: what minDCF is without an oracle."""
    threshold = np.log((1 - prior) / prior)
    cost = prior * np.mean(targets < threshold) + (1 - prior) * np.mean(nontargets >= threshold)
    return float(cost / min(prior, 1 - prior))


def cllr(targets: Floats, nontargets: Floats) -> float:
    """Cost of log-likelihood ratios in bits (Bruemmer and du Preez 2006); 1 is what a useless system reaches."""
    miss, false_alarm = _mean_cost(targets, -1), _mean_cost(nontargets, 1)
    return float((miss + false_alarm) / (2 * np.log(2)))


def _mean_cost(llrs: Floats, sign: int) -> float:
    """Mean of log(1 + exp(SIGN * llr)), some at a time."""
    total = 0.0
    for begin in range(0, len(llrs), _BLOCK):
        values = sign * llrs[begin : begin + _BLOCK].astype(np.float64)
        total += float((np.maximum(values, 0) + np.log1p(np.exp(-np.abs(values)))).sum())
    return total / len(llrs)
