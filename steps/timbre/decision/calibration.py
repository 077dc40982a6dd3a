"""From scores to log-likelihood ratios: one score is calibrated, several are fused, quality measures move the offset.

Trained by train_calibration.py, applied by calibrate_scores.py and by a decision pack.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from scipy.special import expit, logit

from timbre.evaluation.metrics import Bools, Floats, cllr
from timbre.runtime.llr import LinearLlr, Term
from timbre.runtime.logistic import fit_logistic
from timbre.utils.documents import read_yaml
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibration(LinearLlr):
    """One that can be trained, and lives in a file."""

    @classmethod
    def train(
        cls, terms: Sequence[Term], values: Floats, target: Bools, prior: float, ridge: float = 1e-6
    ) -> "Calibration":
        """Fitted by `fit_logistic` to VALUES (N, K) of TERMS of trials, of which TARGET (N,) are of one speaker.

        Raises:
            DataError: a class has no trial, or an option makes no sense
        """
        offset, weights = fit_logistic(values, target, prior, ridge, expit, logit)
        fitted = tuple(Term(term.kind, term.name, float(weight)) for term, weight in zip(terms, weights, strict=True))
        for term in fitted:
            if term.kind == "score" and term.weight <= 0:
                log.warning(
                    "the weight of %s is %.3g: it says nothing, or nothing that the others do not", term, term.weight
                )
        llrs = offset + values @ weights
        if llrs[target].min() > llrs[~target].max():
            log.warning("no target scores below a nontarget: only the ridge keeps these log-likelihood ratios finite")
        trained_on = {
            "targets": int(target.sum()),
            "nontargets": int((~target).sum()),
            "cllr": round(cllr(llrs[target], llrs[~target]), 6),
        }
        return cls(offset, fitted, prior, trained_on)

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
