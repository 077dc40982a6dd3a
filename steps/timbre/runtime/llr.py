"""From scores to log-likelihood ratios: what is linear in a score and in quality measures of both sides.

Trained by calibration.py of the recipe or by own_calibration.py, applied by packs, here and in the recipe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Kind = Literal["score", "mean", "gap", "same", "scaled_mean", "scaled_gap"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MEASURES = ("logdur", "snr", "band", "magnitude")  # those that can be told of a recording by itself
SCORE = "score"  # what the calibration of a pack calls its score


@dataclass(frozen=True)
class Term:
    """A value of a trial that the log-likelihood ratio is linear in, and its weight.

    kind: "score" of a back-end; of a quality measure of either side the "mean" or the "gap", their absolute difference;
    "same", 1 where both sides have the same label (sex, language), otherwise 0; "scaled_mean" and "scaled_gap", the
    score times those, by which a measure moves the slope. name: of the back-end, the measure, or both.
    """

    kind: Kind
    name: str
    weight: float = 0.0

    def __str__(self) -> str:
        return self.name if self.kind == "score" else f"{self.kind} {self.name}"

    def times(self, measure: "Term") -> "Term":
        """This score times the "mean" or the "gap" of a MEASURE."""
        return Term("scaled_mean" if measure.kind == "mean" else "scaled_gap", f"{self.name} {measure.name}")


@dataclass(frozen=True)
class LinearLlr:
    """llr = offset + sum of weight * value, over TERMS, in natural logarithms.

    prior: that of a target in training; trained_on: on how many "targets" and "nontargets", and what else there is to
    tell people.
    """

    offset: float
    terms: tuple[Term, ...]
    prior: float
    trained_on: dict[str, Any]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "LinearLlr":
        """What `content` gave; KeyError, TypeError, ValueError or OverflowError where it is something else."""
        terms = tuple(Term(term["kind"], str(term["name"]), float(term["weight"])) for term in content["terms"])
        trained_on = dict(content["trained_on"])
        counts = [int(trained_on[name]) for name in ("targets", "nontargets")]
        result = cls(float(content["offset"]), terms, float(content["prior"]), trained_on)
        finite = np.isfinite([result.offset, *(term.weight for term in terms)]).all()
        if min(counts) < 1 or not terms or not finite or any(term.kind not in KINDS for term in terms):
            raise ValueError("it needs terms of known kinds with finite weights")
        return result

    def content(self) -> dict[str, Any]:
        """The same as plain values."""
        terms = [asdict(term) for term in self.terms]
        return {"offset": self.offset, "terms": terms, "prior": self.prior, "trained_on": self.trained_on}

    @property
    def scaled(self) -> bool:
        """Whether measures move the slope too."""
        return any(term.kind.startswith("scaled_") for term in self.terms)

    def apply(self, values: Floats) -> Floats:
        """Log-likelihood ratios (N,) of trials with VALUES (N, K), in the order of `terms`."""
        llrs: Floats = self.offset + values @ np.array([term.weight for term in self.terms])
        return llrs

    def supported(self, llrs: Floats) -> Floats:
        """LLRS, no farther from 0 than the list supports that they were calibrated on.

        One trial in N is the least that N trials tell of: a line fitted to them goes on to where nobody has looked.
        """
        clipped: Floats = np.clip(llrs, -np.log(self.trained_on["targets"]), np.log(self.trained_on["nontargets"]))
        return clipped

    def __str__(self) -> str:
        return " ".join([f"llr = {self.offset:.4g}", *(f"{term.weight:+.4g} * {term}" for term in self.terms)])


def measure_values(
    names: Sequence[str], enroll: Sequence[Mapping[str, float]], test: Sequence[Mapping[str, float]]
) -> Floats:
    """Values (N, 2 len(NAMES)) of the terms that `trial_values` makes of measures: mean and gap of each name."""
    first, second = (np.array([[one[name] for name in names] for one in side]) for side in (enroll, test))
    return mean_and_gap(first, second)


def mean_and_gap(first: Floats, second: Floats) -> Floats:
    """Of measures (N, K) of either side: mean and gap of each, (N, 2 K)."""
    values: Floats = np.stack([(first + second) / 2, np.abs(first - second)], axis=-1).reshape(len(first), -1)
    return values


def products(scores: Floats, measures: Floats) -> Floats:
    """Every column of SCORES (N, S) times every column of MEASURES (N, M): (N, S M), those of the first score first."""
    values: Floats = (scores[:, :, None] * measures[:, None, :]).reshape(len(scores), -1)
    return values


def pack_terms(names: Sequence[str], scaled: bool = False) -> list[Term]:
    """What the calibration of a pack with the measures NAMES is linear in; with SCALED also their products with it."""
    kinds: tuple[Kind, ...] = ("mean", "gap")
    score, measures = Term("score", SCORE), [Term(kind, name) for name in names for kind in kinds]
    return [score, *measures, *(score.times(measure) for measure in measures if scaled)]


def pack_values(scores: Floats, measures: Floats, scaled: bool = False) -> Floats:
    """Values (N, K) of `pack_terms` for trials with SCORES (N,) and, from `mean_and_gap`, MEASURES (N, M)."""
    column = scores[:, None]
    return np.column_stack([column, measures, *([products(column, measures)] if scaled else [])])
