"""How often the speaker of an utterance is named rightly, out of a closed set; the interval of that rate, and its page.

Called by classify.py and compare_classifiers.py.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from timbre.evaluation.metrics import Bools, Ints
from timbre.evaluation.results import Interval, percent, percent_interval
from timbre.runtime.thresholds import interval
from timbre.utils.documents import read_json
from timbre.utils.errors import DataError

FEW = 20  # speakers below which the interval is Wilson's: too few to draw from


@dataclass(frozen=True)
class ClosedSetRates:
    """top: rank -> share of utterances whose speaker is among so many; ci: 95 % interval of that of rank 1.

    method: speakers, drawn anew, or Wilson's interval of utterances; classes: speakers to choose from; published:
    accuracy that somebody else has published of the task, if any was given.
    """

    classes: int
    utterances: int
    speakers: int
    top: dict[int, float]
    ci: Interval | None
    method: str
    published: float | None = None

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        shares = ", ".join(f"top-{rank} {percent(share)} %" for rank, share in self.top.items())
        said = "" if self.published is None else f"; published {percent(self.published)} %"
        which = "of utterances, by Wilson" if self.method == "wilson" else "over speakers"
        text = f"{self.utterances} utterances of {self.speakers} speakers, {self.classes} to choose from: {shares}"
        return f"{text}; top-1 {percent_interval(self.ci)} {which}{said}"


def measure_closed_set(
    rank: Ints, speakers: Ints, classes: int, top: int = 1, num_draws: int = 1000, seed: int = 0
) -> ClosedSetRates:
    """Accuracy, and its interval.

    Args:
        rank: (U,) of the true speaker of each utterance, from 1
        speakers: (U,) number of that speaker, any from 0
        classes: number of speakers to choose from
        top: the other rank that is told of
        num_draws: of speakers
        seed: of the draws

    Raises:
        DataError: there is no utterance
    """
    if not len(rank):
        raise DataError("no utterance has a label: there is no accuracy")
    right = rank == 1
    shares = {number: float(np.mean(rank <= number)) for number in sorted({1, top})}
    _, numbers = np.unique(speakers, return_inverse=True)
    count = 1 + int(numbers.max())
    if count < FEW:
        return ClosedSetRates(classes, len(rank), count, shares, wilson(int(right.sum()), len(rank)), "wilson")
    ends = interval(_draws(right, numbers, num_draws, seed))
    return ClosedSetRates(classes, len(rank), count, shares, ends, "speakers")


def wilson(right: int, total: int) -> Interval:
    """The 95 % interval of a share of RIGHT out of TOTAL independent things (Wilson 1927)."""
    z = 1.959963984540054
    share, width = right / total, z * z / total
    centre, half = share + width / 2, z * math.sqrt(share * (1 - share) / total + width / (4 * total))
    return max(0.0, (centre - half) / (1 + width)), min(1.0, (centre + half) / (1 + width))


def _draws(right: Bools, speakers: Ints, num_draws: int, seed: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """(B,) accuracy of draws of as many speakers as there are, all utterances of each."""
    totals = np.bincount(speakers).astype(np.float64)
    rights = np.bincount(speakers, weights=right)
    rates = np.empty(num_draws)
    for index in range(num_draws):
        drawn = np.random.default_rng([seed, index]).integers(0, len(totals), len(totals))
        rates[index] = rights[drawn].sum() / totals[drawn].sum()
    return rates


def read_rates(path: Path) -> ClosedSetRates:
    """What ClosedSetRates.as_json was written as.

    Raises:
        DataError: it is not there, or something else
    """
    try:
        content = read_json(path)
        content["top"] = {int(rank): float(share) for rank, share in content["top"].items()}
        return ClosedSetRates(**content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"not what classify.py writes: {error}", path) from error


def rates_table(rates: Mapping[str, ClosedSetRates]) -> str:
    """A Markdown table, a line a system in the order given."""
    lines = ["| system | top-1 accuracy, % | 95 % interval | published, % |", "|---|---|---|---|"]
    for name, one in rates.items():
        published = "" if one.published is None else percent(one.published)
        lines.append(f"| {name} | {percent(one.top[1])} | {percent_interval(one.ci)} | {published} |")
    kinds = {(one.utterances, one.speakers, one.classes, one.method) for one in rates.values()}
    for utterances, speakers, classes, method in sorted(kinds):
        which = "Wilson's, of utterances" if method == "wilson" else "over speakers"
        lines += ["", f"{utterances} utterances of {speakers} speakers, {classes} to choose from; intervals {which}."]
    return "\n".join(lines) + "\n"
