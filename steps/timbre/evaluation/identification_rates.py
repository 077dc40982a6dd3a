"""How often the right one of a gallery is found: rank curve, and detection and identification rate of an open set.

Called by identify_probes.py. Intervals are by drawing speakers of the probes anew; the gallery stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from timbre.evaluation.metrics import Floats, Ints
from timbre.evaluation.results import Interval, percent, percent_interval
from timbre.runtime.thresholds import interval

RATES = (0.1, 0.01, 0.001)  # of false alarms
RANKS = (1, 5)


@dataclass(frozen=True)
class OpenSet:
    """At the lowest threshold with which at most the share FALSE_ALARM_RATE of the strangers is taken for somebody:
    the share of the others who are found, as the best match and above it (DIR, Grother, NIST IR 8271)."""

    false_alarm_rate: float
    threshold: float
    rate: float
    ci: Interval | None


@dataclass(frozen=True)
class IdentificationRates:
    """top: rank -> (share of probes whose true entry has that rank or better, 95 % interval); curve: (R,) that share
    by rank from 1; open_set: empty where no probe is a stranger."""

    gallery: int
    probes: int
    strangers: int
    top: dict[int, tuple[float, Interval | None]]
    curve: Floats
    open_set: list[OpenSet]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "gallery": self.gallery,
            "probes": self.probes,
            "strangers": self.strangers,
            "top": {str(rank): {"rate": rate, "ci": ci} for rank, (rate, ci) in self.top.items()},
            "rank_curve": [float(rate) for rate in self.curve],
            "open_set": [vars(item) for item in self.open_set],
        }

    def __str__(self) -> str:
        lines = [f"{self.gallery} in the gallery, {self.probes} probes of them, {self.strangers} of strangers"]
        for rank, (rate, ci) in self.top.items():
            lines.append(f"top-{rank:<6} {percent(rate):>6} %  {percent_interval(ci)}")
        for item in self.open_set:
            name = f"DIR at FAR {100 * item.false_alarm_rate:g} %"
            lines.append(
                f"{name:<18} {percent(item.rate):>6} %  {percent_interval(item.ci)}  threshold {item.threshold:.3f}"
            )
        return "\n".join(lines)


def measure(
    rank: Ints,
    best: Floats,
    speakers: Ints,
    gallery: int,
    rates: Sequence[float] = RATES,
    num_draws: int = 1000,
    seed: int = 0,
) -> IdentificationRates:
    """Rates of probes, and their intervals over NUM_DRAWS draws of speakers.

    Args:
        rank: (P,) of the true entry from 1, 0 for strangers
        best: (P,) score of the best entry
        speakers: (P,) number of the probe's speaker, from 0
        gallery: number of entries
        rates: of false alarms
        num_draws: number of draws
        seed: of the draws
    """
    known = rank > 0
    ranks, known_best, strangers_best = rank[known], best[known], best[~known]
    first = known_best[ranks == 1]
    thresholds = [_threshold(strangers_best, np.ones(len(strangers_best)), rate) for rate in rates]
    num_speakers = 1 + int(speakers.max())
    shares = np.full((num_draws, len(RANKS) + len(rates)), np.nan)
    for index in range(num_draws):
        counts = np.bincount(
            np.random.default_rng([seed, index]).integers(0, num_speakers, num_speakers), minlength=num_speakers
        )
        weights, others = counts[speakers[known]].astype(np.float64), counts[speakers[~known]].astype(np.float64)
        if not weights.sum():
            continue
        shares[index, : len(RANKS)] = [np.average(ranks <= number, weights=weights) for number in RANKS]
        if others.sum():
            limits = [_threshold(strangers_best, others, rate) for rate in rates]
            shares[index, len(RANKS) :] = [
                np.average((ranks == 1) & (known_best >= limit), weights=weights) for limit in limits
            ]
    ends = [interval(column) for column in shares.T]
    histogram = np.bincount(np.minimum(ranks, gallery + 1), minlength=gallery + 2)[1:-1]
    top = {number: (float(np.mean(ranks <= number)), end) for number, end in zip(RANKS, ends, strict=False)}
    open_set = [
        OpenSet(rate, threshold, float(np.count_nonzero(first >= threshold) / len(ranks)), end)
        for rate, threshold, end in zip(rates, thresholds, ends[len(RANKS) :], strict=True)
        if len(strangers_best)
    ]
    curve = np.cumsum(histogram) / len(ranks)
    return IdentificationRates(gallery, len(ranks), len(strangers_best), top, curve, open_set)


def _threshold(scores: Floats, weights: Floats, rate: float) -> float:
    """The lowest threshold at which at most the share RATE of the weight of SCORES is at or above it."""
    if not len(scores):
        return -np.inf
    order = np.argsort(-scores, kind="stable")
    above = np.cumsum(weights[order])
    over = np.flatnonzero(above > rate * above[-1] * (1 + 1e-12))
    return float(np.nextafter(scores[order[over[0]]], np.inf)) if over.size else -np.inf
