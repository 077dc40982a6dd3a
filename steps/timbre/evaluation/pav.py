"""The best calibration that scores allow, by pool-adjacent-violators: minCllr and the lower curve of ECE plots.

Made of the corners of a Roc (metrics.py, whose pav() gives it): weights of a draw will do for counts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.number]


@dataclass(frozen=True)
class Pav:
    """Pools of trials that share one log-likelihood ratio, in ascending order of score.

    targets, nontargets: (P,) float64, how many (or what weight) of each class are in a pool; never both 0.
    """

    targets: Floats
    nontargets: Floats

    @classmethod
    def of(cls, misses: Numbers, false_alarms: Numbers, false_alarms_above: Numbers, num_nontarget: float) -> "Pav":
        """Isotonic regression of labels on scores (Zadrozny and Elkan 2002), of the counts that Roc has, in its shapes.

        Non-targets between two target scores are together from the start: no monotonic map could tell them apart.
        """
        from scipy.optimize import isotonic_regression  # slow to import

        steps = 2 * len(false_alarms_above) + 1  # non-targets below a target score, then what ties with it, ...
        targets, nontargets = np.zeros(steps), np.zeros(steps)
        targets[1::2] = np.diff(misses)
        nontargets[0] = num_nontarget - false_alarms[0]
        nontargets[1::2] = false_alarms[:-1] - false_alarms_above
        nontargets[2::2] = false_alarms_above - false_alarms[1:]
        weights = targets + nontargets
        present = np.flatnonzero(weights)
        targets, nontargets, weights = targets[present], nontargets[present], weights[present]
        starts = isotonic_regression(targets / weights, weights=weights).blocks[:-1]
        return cls(np.add.reduceat(targets, starts), np.add.reduceat(nontargets, starts))

    def llrs(self) -> Floats:
        """(P,) log-likelihood ratio of each pool, ascending; infinite where one class is alone."""
        with np.errstate(divide="ignore"):
            llrs: Floats = np.log(self.targets / self.targets.sum()) - np.log(self.nontargets / self.nontargets.sum())
        return llrs

    def cllr(self) -> float:
        """Cllr of the pools in bits: minCllr, what perfect calibration leaves (Bruemmer and du Preez 2006)."""
        return float(self.ece(np.array([0.0]))[0])

    def ece(self, log_odds: Floats) -> Floats:
        """Empirical cross-entropy in bits at prior LOG_ODDS (natural), of the same shape."""
        llrs = self.llrs()
        return weighted_ece(llrs, self.targets, llrs, self.nontargets, log_odds)


def weighted_ece(
    target_llrs: Floats, target_weights: Numbers, nontarget_llrs: Floats, nontarget_weights: Numbers, log_odds: Floats
) -> Floats:
    """Empirical cross-entropy in bits (Ramos and Gonzalez-Rodriguez 2008) at each of LOG_ODDS, the natural prior ones.

    The mean over targets of log2(1 + exp(-(llr + log_odds))) by their prior, plus that of non-targets by theirs; a
    weight of 0 takes no part, even where its term is infinite.
    """
    result = np.empty(len(log_odds))
    rows, columns = target_weights > 0, nontarget_weights > 0
    for place, odds in enumerate(log_odds):
        prior = 1 / (1 + np.exp(-odds))
        misses = np.average(np.logaddexp(0, -(target_llrs[rows] + odds)), weights=target_weights[rows])
        alarms = np.average(np.logaddexp(0, nontarget_llrs[columns] + odds), weights=nontarget_weights[columns])
        result[place] = (prior * misses + (1 - prior) * alarms) / np.log(2)
    return result
