"""From scores to log-likelihood ratios: one score is calibrated, several are fused, quality measures move the offset.

Trained by train_calibration.py, applied by calibrate_scores.py and by a decision pack.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from scipy.special import expit, logit

from timbre.evaluation.metrics import Bools, Floats, cllr
from timbre.runtime.llr import LinearLlr, Term, product_terms, within_ranges
from timbre.runtime.logistic import fit_logistic
from timbre.utils.documents import read_yaml
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

log = logging.getLogger(__name__)

_SEEN = (1.0, 99.0)  # percentiles of a measure in training: the range in which the slope follows it
_LEAST_SLOPE = 0.1  # of a score, as a share of its mean in training


def _with_range(term: Term, values: Floats) -> Term:
    if term.kind not in ("mean", "gap"):
        return term
    low, high = np.percentile(values, _SEEN)
    return replace(term, low=float(low), high=float(high))


@dataclass(frozen=True)
class Calibration(LinearLlr):
    """One that can be trained, and lives in a file."""

    @classmethod
    def train(
        cls,
        terms: Sequence[Term],
        values: Floats,
        target: Bools,
        prior: float,
        ridge: float | None = None,
        scaled: bool = False,
    ) -> "Calibration":
        """Fitted by `fit_logistic` to VALUES (N, K) of TERMS of trials, of which TARGET (N,) are of one speaker.

        SCALED: measures, in the range seen here, move the slope of each score too, for trials of many conditions.
        RIDGE: by default 1e-6, and 1e-4 with SCALED.

        Raises:
            DataError: a class has no trial, or an option makes no sense
        """
        design, least = values, None
        if scaled:
            given = [_with_range(term, values[:, place]) for place, term in enumerate(terms)]
            terms, values = [*given, *product_terms(given)], within_ranges(given, values)
            places = {str(term): place for place, term in enumerate(given)}
            pairs = [(s, m) for s in given if s.kind == "score" for m in given if m.kind in ("mean", "gap")]
            products = [values[:, places[str(score)]] * values[:, places[str(measure)]] for score, measure in pairs]
            design = np.column_stack([values, *products])
        offset, weights = fit_logistic(design, target, prior, ridge or (1e-4 if scaled else 1e-6), expit, logit)
        fitted = tuple(replace(term, weight=float(weight)) for term, weight in zip(terms, weights, strict=True))
        for term in fitted:
            if term.kind == "score" and term.weight <= 0 and not scaled:
                log.warning(
                    "the weight of %s is %.3g: it says nothing, or nothing that the others do not", term, term.weight
                )
        fit = cls(offset, fitted, prior, {})
        if scaled and sum(term.kind == "score" for term in fitted) == 1:
            score = next(term for term in fitted if term.kind == "score")
            least = max(0.0, _LEAST_SLOPE * float(fit.slopes(score, values).mean()))
        fit = replace(fit, least_slope=least)
        llrs = fit.apply(values)
        if llrs[target].min() > llrs[~target].max():
            log.warning("no target scores below a nontarget: only the ridge keeps these log-likelihood ratios finite")
        trained_on = {
            "targets": int(target.sum()),
            "nontargets": int((~target).sum()),
            "cllr": round(cllr(llrs[target], llrs[~target]), 6),
        }
        return replace(fit, trained_on=trained_on)

    def write(self, path: Path) -> None:
        """Writes PATH, YAML that a person can read."""
        with atomic_write(path) as file:
            file.write("# natural-log likelihood ratio = offset + sum of weight * value\n")
            yaml.safe_dump(self.content(), file, sort_keys=False, allow_unicode=True)

    @classmethod
    def read(cls, path: Path) -> "Calibration":
        """Reads what `write` wrote.

        Raises:
            DataError: no such file, or it holds something else
        """
        content = read_yaml(path)
        try:
            return cls(**vars(LinearLlr.of(content)))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"not a calibration: {type(error).__name__} {error}", path) from error
