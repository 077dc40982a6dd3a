"""Where to put the threshold, and what errors to expect there: for a decision pack, here and in the recipe.

Errors are counted on a list; their intervals are by the bootstrap over speakers of bootstrap.py, at fixed thresholds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PRIORS = (0.5, 0.05, 0.01, 0.001)
FALSE_ALARM_RATES = (0.05, 0.01, 0.001, 0.0001)
ENOUGH = 30  # errors, for a rate within 30 % of the true one with 90 % confidence (Doddington et al. 2000)
PointKind = Literal["prior", "false_alarm_rate"]
_WIDE = 1.3 / 0.7  # ends of an interval of 30 % on either side


@dataclass(frozen=True)
class ErrorRate:
    """Errors counted on a list: rate is errors / trials; low, high: 95 % interval, of no use where both are None."""

    errors: int
    trials: int
    low: float | None
    high: float | None

    @property
    def rate(self) -> float:
        return self.errors / self.trials

    def __str__(self) -> str:
        ends = "" if self.low is None or self.high is None else f" [{100 * self.low:.3g}, {100 * self.high:.3g}]"
        return f"{100 * self.rate:.3g} %{ends}"


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold on log-likelihood ratios, accept from there on, and what it costs.

    kind: "prior", the Bayes threshold for a target prior and equal costs, or "false_alarm_rate", the lowest threshold
    with at most that rate on the list; value: of the prior or the rate.
    """

    kind: PointKind
    value: float
    threshold: float
    miss: ErrorRate
    false_alarm: ErrorRate

    @property
    def word(self) -> str:
        """Whether the list is large enough to say so."""
        if self.kind == "false_alarm_rate" and self.value * self.false_alarm.trials < 1:
            return f"no: {self.false_alarm.trials:,} nontargets cannot show a rate of {100 * self.value:g} %"
        kinds = (("misses", self.miss), ("false alarms", self.false_alarm))
        if few := [f"{rate.errors} {name}" for name, rate in kinds if rate.errors < ENOUGH]:
            return f"no: {' and '.join(few)}, of which {ENOUGH} are wanted"
        wide = [name for name, rate in kinds if rate.low is None or rate.high is None or rate.high > _WIDE * rate.low]
        return f"no: too few speakers to know the {' and the '.join(wide)}" if wide else "yes"


def bayes_threshold(prior: float) -> float:
    """The log-likelihood ratio from which on accepting costs less at the target PRIOR, with equal costs."""
    return float(np.log((1 - prior) / prior))


def rate_threshold(nontargets: Floats, rate: float) -> float:
    """The lowest threshold at which at most a share RATE of NONTARGETS (N,) is accepted, ties included."""
    descending = np.sort(nontargets)[::-1]
    allowed = int(rate * len(nontargets) * (1 + 1e-12))
    return float(np.nextafter(descending[allowed], np.inf)) if allowed < len(descending) else -np.inf


def operating_points(
    llrs: Floats,
    target: Bools,
    enroll_speaker: Ints,
    test_speaker: Ints,
    priors: Sequence[float] = PRIORS,
    rates: Sequence[float] = FALSE_ALARM_RATES,
    num_draws: int = 1000,
    seed: int = 0,
) -> list[OperatingPoint]:
    """The points for PRIORS and for false-alarm RATES, measured on a list.

    llrs, target: (N,), of both classes; enroll_speaker, test_speaker: (N,) speaker numbers from 0.
    """
    thresholds = np.array(
        [bayes_threshold(prior) for prior in priors] + [rate_threshold(llrs[~target], rate) for rate in rates]
    )
    rates_found = error_rates(llrs, target, enroll_speaker, test_speaker, thresholds, num_draws, seed)
    kinds: list[tuple[PointKind, float]] = [("prior", prior) for prior in priors]
    kinds += [("false_alarm_rate", rate) for rate in rates]
    return [
        OperatingPoint(kind, value, float(threshold), miss, false_alarm)
        for (kind, value), threshold, (miss, false_alarm) in zip(kinds, thresholds, rates_found, strict=True)
    ]


def error_rates(
    llrs: Floats,
    target: Bools,
    enroll_speaker: Ints,
    test_speaker: Ints,
    thresholds: Floats,
    num_draws: int = 1000,
    seed: int = 0,
) -> list[tuple[ErrorRate, ErrorRate]]:
    """Misses and false alarms at each of THRESHOLDS (T,); the rest as of `operating_points`."""
    num_speakers = 1 + int(max(enroll_speaker.max(), test_speaker.max()))
    second = np.where(enroll_speaker == test_speaker, num_speakers, test_speaker)  # as in bootstrap.py
    pairs, place = np.unique(enroll_speaker * (num_speakers + 1) + second, return_inverse=True)
    sides = np.divmod(pairs, num_speakers + 1)
    counts = [speaker_counts(num_speakers, seed, index) for index in range(num_draws)]
    found = []
    for mask, errors in ((target, llrs[:, None] < thresholds), (~target, llrs[:, None] >= thresholds)):
        totals = np.bincount(place[mask], minlength=len(pairs))
        wrong = np.array([np.bincount(place[mask], column[mask], len(pairs)) for column in errors.T])
        used = np.flatnonzero(totals)
        draws = np.full((num_draws, len(thresholds)), np.nan)
        for row, drawn in enumerate(counts):
            weights = drawn[sides[0][used]] * drawn[sides[1][used]]
            if (total := float(weights @ totals[used])) > 0:
                draws[row] = wrong[:, used] @ weights / total
        found.append(
            [_rate(int(count), int(mask.sum()), column) for count, column in zip(wrong.sum(1), draws.T, strict=True)]
        )
    return list(zip(*found, strict=True))


def _rate(errors: int, trials: int, draws: Floats) -> ErrorRate:
    """With the interval of DRAWS; where nothing is wrong none can be drawn, and the rule of three bounds it."""
    low, high = interval(draws) or (None, None)
    if not errors:
        low, high = 0.0, min(1.0, 3 / trials)
    elif errors == trials:
        low, high = max(0.0, 1 - 3 / trials), 1.0
    return ErrorRate(errors, trials, low, high)


def speaker_counts(num_speakers: int, seed: int, index: int) -> Ints:
    """(num_speakers + 1,) how often each speaker is in draw INDEX; 1 at the end, for trials of one speaker."""
    drawn = np.random.default_rng([seed, index]).integers(0, num_speakers, num_speakers)
    return np.append(np.bincount(drawn, minlength=num_speakers), 1)


def interval(draws: Floats, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval of DRAWS (B,), None where fewer than half of them are defined (too few speakers)."""
    defined = draws[~np.isnan(draws)]
    if not 0 < len(draws) <= 2 * len(defined):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def entries(points: Sequence[OperatingPoint]) -> list[dict[str, Any]]:
    """POINTS as plain values."""
    content = []
    for point in points:
        entry = asdict(point)
        for name, rate in (("miss", point.miss), ("false_alarm", point.false_alarm)):
            entry[name] = {"rate": rate.rate, **asdict(rate)}
        content.append({**entry, "enough": point.word})
    return content


def points_of(content: Sequence[Mapping[str, Any]]) -> list[OperatingPoint]:
    """What `entries` gave; KeyError, TypeError, ValueError or OverflowError where it is something else."""
    points = [
        OperatingPoint(
            entry["kind"],
            float(entry["value"]),
            float(entry["threshold"]),
            *map(_rate_of, (entry["miss"], entry["false_alarm"])),
        )
        for entry in content
    ]
    for point in points:
        if point.kind not in get_args(PointKind) or np.isnan([point.value, point.threshold]).any():
            raise ValueError(f"{point.kind} {point.value}, threshold {point.threshold}")
    return points


def _rate_of(entry: Mapping[str, Any]) -> ErrorRate:
    low, high = (None if entry[name] is None else float(entry[name]) for name in ("low", "high"))
    rate = ErrorRate(int(entry["errors"]), int(entry["trials"]), low, high)
    if not 0 <= rate.errors <= rate.trials or not rate.trials:
        raise ValueError(f"{rate.errors} errors of {rate.trials} trials")
    return rate
