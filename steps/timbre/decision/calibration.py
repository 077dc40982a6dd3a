"""From scores to log-likelihood ratios: one score is calibrated, several are fused, quality measures move the offset.

Trained by train_calibration.py, applied by calibrate_scores.py and by a decision pack.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from timbre.decision.logistic import fit_logistic
from timbre.evaluation.metrics import Bools, Floats, cllr
from timbre.utils.documents import read_yaml
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

log = logging.getLogger(__name__)

Kind = Literal["score", "mean", "gap", "same"]
_KINDS = ("score", "mean", "gap", "same")


@dataclass(frozen=True)
class Term:
    """A value of a trial that the log-likelihood ratio is linear in, and its weight.

    kind: "score" of a back-end; of a quality measure of either side the "mean" or the "gap", their absolute difference;
    "same", 1 where both sides have the same label (sex, language), otherwise 0. name: of the back-end or the measure.
    """

    kind: Kind
    name: str
    weight: float = 0.0

    def __str__(self) -> str:
        return self.name if self.kind == "score" else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Calibration:
    """llr = offset + sum of weight * value, over TERMS, in natural logarithms.

    prior: that of a target in training; trained_on: on how many "targets" and "nontargets", and what else there is to
    tell people.
    """

    offset: float
    terms: tuple[Term, ...]
    prior: float
    trained_on: dict[str, Any]

    @classmethod
    def train(
        cls, terms: Sequence[Term], values: Floats, target: Bools, prior: float, ridge: float = 1e-6
    ) -> "Calibration":
        """Fitted by `fit_logistic` to VALUES (N, K) of TERMS of trials, of which TARGET (N,) are of one speaker.

        Raises:
            DataError: a class has no trial, or an option makes no sense
        """
        offset, weights = fit_logistic(values, target, prior, ridge)
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

    def apply(self, values: Floats) -> Floats:
        """Log-likelihood ratios (N,) of trials with VALUES (N, K), in the order of `terms`."""
        llrs: Floats = self.offset + values @ np.array([term.weight for term in self.terms])
        return llrs

    def __str__(self) -> str:
        return " ".join([f"llr = {self.offset:.4g}", *(f"{term.weight:+.4g} * {term}" for term in self.terms)])

    def write(self, path: Path) -> None:
        """Writes PATH, YAML that a person can read."""
        content = {
            "offset": self.offset,
            "terms": [asdict(term) for term in self.terms],
            "prior": self.prior,
            "trained_on": self.trained_on,
        }
        with atomic_write(path) as file:
            file.write("# natural-log likelihood ratio = offset + sum of weight * value\n")
            yaml.safe_dump(content, file, sort_keys=False, allow_unicode=True)

    @classmethod
    def read(cls, path: Path) -> "Calibration":
        """Reads what `write` wrote.

        Raises:
            DataError: no such file, or it holds something else
        """
        content = read_yaml(path)
        try:
            terms = tuple(Term(term["kind"], str(term["name"]), float(term["weight"])) for term in content["terms"])
            trained_on = dict(content["trained_on"])
            counts = [int(trained_on[name]) for name in ("targets", "nontargets")]
            result = cls(float(content["offset"]), terms, float(content["prior"]), trained_on)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"not a calibration: {type(error).__name__} {error}", path) from error
        numbers = [result.offset, *(term.weight for term in terms)]
        if (
            min(counts) < 1
            or not terms
            or not np.isfinite(numbers).all()
            or any(term.kind not in _KINDS for term in terms)
        ):
            raise DataError("not a calibration: it needs terms of known kinds with finite weights", path)
        return result
