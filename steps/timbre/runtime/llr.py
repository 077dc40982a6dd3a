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
    score times those, by which a measure moves the slope. name: of the back-end, the measure, or both. low, high: of a
    mean or a gap, the range that was seen in training, if the slope goes by it: what lies outside counts as its end.
    """

    kind: Kind
    name: str
    weight: float = 0.0
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return self.name if self.kind == "score" else f"{self.kind} {self.name}"

    @property
    def is_product(self) -> bool:
        """Of a score with a mean or a gap: a value that follows from the others."""
        return self.kind in ("scaled_mean", "scaled_gap")

    def times(self, measure: "Term") -> "Term":
        """This score times the "mean" or the "gap" of a MEASURE."""
        return Term("scaled_mean" if measure.kind == "mean" else "scaled_gap", f"{self.name} {measure.name}")


@dataclass(frozen=True)
class LinearLlr:
    """llr = offset + sum of weight * value, over TERMS, in natural logarithms.

    prior: that of a target in training; trained_on: on how many "targets" and "nontargets", and what else there is to
    tell people; least_slope: what the weight of the one score, with all that moves it, does not fall below: a higher
    score never speaks against one speaker.
    """

    offset: float
    terms: tuple[Term, ...]
    prior: float
    trained_on: dict[str, Any]
    least_slope: float | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "LinearLlr":
        """What `content` gave; KeyError, TypeError, ValueError or OverflowError where it is something else."""
        terms = tuple(
            Term(
                term["kind"],
                str(term["name"]),
                float(term["weight"]),
                *map(_number, (term.get("low"), term.get("high"))),
            )
            for term in content["terms"]
        )
        trained_on = dict(content["trained_on"])
        counts = [int(trained_on[name]) for name in ("targets", "nontargets")]
        least = _number(content.get("least_slope"))
        result = cls(float(content["offset"]), terms, float(content["prior"]), trained_on, least)
        numbers = (result.offset, least, *(number for term in terms for number in (term.weight, term.low, term.high)))
        finite = np.isfinite([number for number in numbers if number is not None]).all()
        if min(counts) < 1 or not terms or not finite or any(term.kind not in KINDS for term in terms):
            raise ValueError("it needs terms of known kinds with finite weights")
        moving = [str(term) for term in terms if term.is_product]
        if moving and moving != [str(term) for term in product_terms(result.given)]:
            raise ValueError("slopes go by all means and gaps of its measures, or by none")
        return result

    def content(self) -> dict[str, Any]:
        """The same as plain values."""
        terms = [{key: value for key, value in asdict(term).items() if value is not None} for term in self.terms]
        least = {} if self.least_slope is None else {"least_slope": self.least_slope}
        return {"offset": self.offset, "terms": terms, **least, "prior": self.prior, "trained_on": self.trained_on}

    @property
    def given(self) -> list[Term]:
        """The terms whose values are given: all but products."""
        return [term for term in self.terms if not term.is_product]

    def apply(self, values: Floats) -> Floats:
        """Log-likelihood ratios (N,) of trials with VALUES (N, K), in the order of `given`."""
        given = self.given
        if len(given) == len(self.terms):
            llrs: Floats = self.offset + values @ np.array([term.weight for term in given])
            return llrs
        values = within_ranges(given, values)
        llrs = np.full(len(values), self.offset)
        for place, term in enumerate(given):
            llrs += (self.slopes(term, values) if term.kind == "score" else term.weight) * values[:, place]
        return llrs

    def slopes(self, score: Term, values: Floats) -> Floats:
        """What SCORE is multiplied by, (N,), in trials with VALUES (N, K) of the terms `given`, within their ranges."""
        weights = {str(term): term.weight for term in self.terms}
        slopes = np.full(len(values), score.weight)
        for place, term in enumerate(self.given):
            if term.kind in ("mean", "gap"):
                slopes += weights[str(score.times(term))] * values[:, place]
        return slopes if self.least_slope is None else np.maximum(slopes, self.least_slope)

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


def product_terms(terms: Sequence[Term]) -> list[Term]:
    """Every score of TERMS times every mean and gap."""
    measures = [term for term in terms if term.kind in ("mean", "gap")]
    return [score.times(measure) for score in terms if score.kind == "score" for measure in measures]


def within_ranges(terms: Sequence[Term], values: Floats) -> Floats:
    """VALUES (N, K) of TERMS, none outside the range that its term has, if it has one."""
    lows = np.array([-np.inf if term.low is None else term.low for term in terms])
    highs = np.array([np.inf if term.high is None else term.high for term in terms])
    clipped: Floats = np.clip(values, lows, highs)
    return clipped


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]


def pack_terms(names: Sequence[str]) -> list[Term]:
    """What the calibration of a pack with the measures NAMES is linear in."""
    kinds: tuple[Kind, ...] = ("mean", "gap")
    return [Term("score", SCORE), *(Term(kind, name) for name in names for kind in kinds)]
