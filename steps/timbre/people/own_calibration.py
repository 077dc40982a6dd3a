"""A pack fitted to one's own recordings: calibration, thresholds, what errors to expect, and what cannot be known yet.

Errors are of log-likelihood ratios of speakers whom the calibration has not seen. For `timbre calibrate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.people.own_recordings import Recordings, find_strangers
from timbre.runtime.factors import Floats, Ints
from timbre.runtime.llr import LinearLlr
from timbre.runtime.logistic import fit_logistic
from timbre.runtime.scorer import Scorer
from timbre.runtime.thresholds import (
    FALSE_ALARM_RATES,
    PRIORS,
    ErrorRate,
    OperatingPoint,
    bayes_threshold,
    error_rates,
    operating_points,
)
from timbre.utils.errors import DataError

Bools = npt.NDArray[np.bool_]
LEAST_SPEAKERS, MOST = 5, 4000  # speakers at least, recordings at most: 8 million pairs
_FOLDS = 5
_LENGTHS = (0.0, 2.0, 4.0, 8.0, np.inf)  # seconds of speech of the shorter recording of a pair
WANTED = 0.3  # relative half width of an interval that is good enough (Doddington et al. 2000)


@dataclass(frozen=True)
class Group:
    """Errors, at even odds, of the pairs of one kind: of a duration, or of recordings of some format."""

    name: str
    speakers: int
    miss: ErrorRate | None
    false_alarm: ErrorRate | None


@dataclass(frozen=True)
class OwnCalibration:
    """calibration: fitted to all; points: those that the data can show; refused: (what, why) of the others; before,
    after: Cllr in bits of the pack as it was and, cross-validated, as it is fitted; wanted: what would be needed."""

    calibration: LinearLlr
    points: Sequence[OperatingPoint]
    refused: Sequence[tuple[str, str]]
    wanted: Sequence[str]
    groups: Sequence[Group]
    tested: dict[str, tuple[float, float]]
    speakers: int
    recordings: int
    targets: int
    nontargets: int
    before: float
    after: float


@dataclass(frozen=True)
class _Pairs:
    rows: Ints
    columns: Ints
    llrs: Floats  # of the pack as it was, not clipped
    first: Ints  # speakers
    second: Ints

    @property
    def target(self) -> Bools:
        same: Bools = self.first == self.second
        return same


def fit_own(scorer: Scorer, recordings: Recordings, draws: int = 1000, seed: int = 0) -> OwnCalibration:
    """The calibration of the pack of SCORER for RECORDINGS, whose `doubts` get those that may be under a wrong name.

    The new log-likelihood ratio is a line in the old one: two numbers can be learnt from a few speakers.

    Args:
        scorer: of the pack
        recordings: of at least LEAST_SPEAKERS speakers, two or more each
        draws: of speakers, for the intervals
        seed: of the draws

    Raises:
        DataError: too few speakers, too many recordings, or scores that tell speakers apart the wrong way round
    """
    people, number = recordings.people, len(recordings.heard)
    if len(people) < LEAST_SPEAKERS:
        raise DataError(f"{len(people)} speakers with two usable recordings; {LEAST_SPEAKERS} are needed at least")
    if number > MOST:
        raise DataError(f"{number:,} recordings; at most {MOST:,} are compared with each other: give some of them")
    pairs = _compare(scorer, recordings)
    offset, slope = _fit(pairs, np.ones(len(pairs.rows), bool), scorer.calibration.prior)
    llrs = _cross_validated(pairs, len(people), scorer.calibration.prior, seed)
    target = pairs.target
    speaker_pairs = len(people) * (len(people) - 1) // 2
    trained_on = {
        "targets": number - len(people),  # what is independent, of all those pairs
        "nontargets": speaker_pairs,
        "cllr": round(cllr(llrs, target), 6),
        "speakers": len(people),
    }
    priors = [prior for prior in PRIORS if bayes_threshold(prior) <= np.log(speaker_pairs)]
    rates = [rate for rate in FALSE_ALARM_RATES if rate * speaker_pairs >= 1]
    points = operating_points(llrs, target, pairs.first, pairs.second, priors, rates, draws, seed)
    return OwnCalibration(
        _moved(scorer.calibration, offset, slope, trained_on),
        points,
        [(f"prior {one:g}", _too_few(one, speaker_pairs)) for one in _others(PRIORS, priors)]
        + [(f"false-alarm rate {one:g}", _too_few(one, speaker_pairs)) for one in _others(FALSE_ALARM_RATES, rates)],
        [text for point in points for text in _wanted(point, len(people), number)],
        [*_by_length(pairs, llrs, recordings, draws, seed), *_by_kind(pairs, llrs, recordings, draws, seed)],
        _ranges(recordings),
        len(people), number, int(target.sum()), int((~target).sum()),
        cllr(pairs.llrs, target), cllr(llrs, target),
    )  # fmt: skip


def cllr(llrs: Floats, target: Bools) -> float:
    """Cost of log-likelihood ratios in bits (Bruemmer and du Preez 2006)."""
    costs = np.logaddexp(0, np.where(target, -llrs, llrs))
    return float((costs[target].mean() + costs[~target].mean()) / (2 * np.log(2)))


def _compare(scorer: Scorer, recordings: Recordings) -> _Pairs:
    vectors, numbers = recordings.vectors, recordings.numbers
    scores = scorer.score(vectors, np.ones(len(vectors), np.int64), vectors)
    measures = [one.encoding.measures for one in recordings.heard]
    llrs = np.empty_like(scores)
    for row, one in enumerate(measures):
        llrs[row] = scorer.llr(scores[row], [one] * len(measures), measures)
    recordings.doubts += find_strangers(recordings, llrs)
    rows, columns = np.triu_indices(len(vectors), 1)
    return _Pairs(rows, columns, llrs[rows, columns], numbers[rows], numbers[columns])


def _fit(pairs: _Pairs, used: Bools, prior: float) -> tuple[float, float]:
    offset, weights = fit_logistic(pairs.llrs[used, None], pairs.target[used], prior)
    if weights[0] <= 0:
        raise DataError(
            "recordings of one speaker score no higher than those of two: is each folder one speaker, or are these"
            " recordings unlike all that the network was trained on?"
        )
    return offset, float(weights[0])


def _moved(old: LinearLlr, offset: float, slope: float, trained_on: dict[str, Any]) -> LinearLlr:
    """OFFSET + SLOPE times OLD."""
    terms = tuple(replace(term, weight=slope * term.weight) for term in old.terms)
    least = None if old.least_slope is None else slope * old.least_slope
    return replace(old, offset=offset + slope * old.offset, terms=terms, trained_on=trained_on, least_slope=least)


def _cross_validated(pairs: _Pairs, speakers: int, prior: float, seed: int) -> Floats:
    """Log-likelihood ratios (N,) of each pair by a calibration that has seen neither of its speakers."""
    fold = np.empty(speakers, np.int64)
    fold[np.random.default_rng(seed).permutation(speakers)] = np.arange(speakers) % _FOLDS
    first, second = fold[pairs.first], fold[pairs.second]
    llrs = np.empty(len(pairs.llrs))
    for one in range(_FOLDS):
        for two in range(one, _FOLDS):
            asked = ((first == one) & (second == two)) | ((first == two) & (second == one))
            used = ~np.isin(first, (one, two)) & ~np.isin(second, (one, two))
            offset, slope = _fit(pairs, used, prior)
            llrs[asked] = offset + slope * pairs.llrs[asked]
    return llrs


def _others(listed: Sequence[float], some: Sequence[float]) -> list[float]:
    return [one for one in listed if one not in some]


def _too_few(rate: float, speaker_pairs: int) -> str:
    wanted = int(np.ceil(0.5 + np.sqrt(0.25 + 2 / rate)))
    return f"{speaker_pairs:,} pairs of speakers cannot show it; {wanted:,} speakers could"


def _wanted(point: OperatingPoint, speakers: int, recordings: int) -> list[str]:
    """How many speakers it would take to know the errors at POINT within WANTED, by the width of their intervals."""
    told = []
    for name, rate in (("misses", point.miss), ("false alarms", point.false_alarm)):
        if rate.low is None or rate.high is None or not rate.errors:
            wide = None
        else:
            wide = (rate.high - rate.low) / 2 / rate.rate
        if wide is not None and wide <= WANTED:
            continue
        more = max(2 * speakers, 30) if wide is None else int(np.ceil(speakers * (wide / WANTED) ** 2))
        kind = "prior" if point.kind == "prior" else "false-alarm rate"
        told.append(
            f"{kind} {point.value:g}: to know the {name} within {100 * WANTED:.0f} %, about {more:,} speakers instead"
            f" of {speakers:,}, with as many recordings each ({recordings / speakers:.1f})"
        )
    return told


def _by_length(pairs: _Pairs, llrs: Floats, recordings: Recordings, draws: int, seed: int) -> list[Group]:
    speech = np.array([one.encoding.speech for one in recordings.heard])
    shorter = np.minimum(speech[pairs.rows], speech[pairs.columns])
    found = []
    for low, high in pairwise(_LENGTHS):
        name = f"{low:g} s of speech and more" if high == np.inf else f"{low:g} to {high:g} s of speech"
        found.append(_group(name, pairs, llrs, (shorter >= low) & (shorter < high), draws, seed))
    return [one for one in found if one is not None]


def _by_kind(pairs: _Pairs, llrs: Floats, recordings: Recordings, draws: int, seed: int) -> list[Group]:
    kinds = np.array([one.kind for one in recordings.heard])
    names = sorted(set(kinds.tolist()))
    found = []
    for place, one in enumerate(names):
        for two in names[place:]:
            both = {one, two}
            used = np.isin(kinds[pairs.rows], list(both)) & np.isin(kinds[pairs.columns], list(both))
            if one != two:
                used &= kinds[pairs.rows] != kinds[pairs.columns]
            found.append(_group(one if one == two else f"{one} against {two}", pairs, llrs, used, draws, seed))
    return [one for one in found if one is not None]


def _group(name: str, pairs: _Pairs, llrs: Floats, used: Bools, draws: int, seed: int) -> Group | None:
    if not used.any():
        return None
    first, second, target = pairs.first[used], pairs.second[used], pairs.target[used]
    threshold = np.zeros(1)
    [(miss, alarm)] = (
        error_rates(llrs[used], target, first, second, threshold, draws, seed)
        if (target.any() and not target.all())
        else [(None, None)]
    )
    return Group(name, len(set(first.tolist()) | set(second.tolist())), miss, alarm)


def _ranges(recordings: Recordings) -> dict[str, tuple[float, float]]:
    """As tested.py of the recipe: what lies outside is unlike what the errors were counted on."""
    columns: dict[str, list[float]] = {"seconds": [one.encoding.speech for one in recordings.heard]}
    for name in ("snr", "band"):
        values = [one.encoding.measures.get(name) for one in recordings.heard]
        if None not in values:
            columns[name] = values
    ends = {name: np.percentile(values, (0.5, 99.5)).tolist() for name, values in columns.items()}
    return {name: (round(low, 3), round(high, 3)) for name, (low, high) in ends.items()}
