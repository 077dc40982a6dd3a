"""What a study of explanations found, with intervals over speakers: tables, a plot. For measure_explanations.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from timbre.evaluation.plots import COLORS, GREY, STYLE, save
from timbre.evaluation.results import write_json
from timbre.evaluation.results_page import table
from timbre.explain.deletion_curves import SHARES, Values
from timbre.explain.explanation_study import BASELINES, Measured
from timbre.explain.map_files import WORDS
from timbre.runtime.thresholds import interval
from timbre.utils.files import atomic_write

_NAMES = {"random": "random order", "energy": "energy of the cell", "vad": "voiced frames around"}
_COLUMNS = ("deletion", "deletion_gain", "insertion", "insertion_gain", "located", "sanity")
_HEADS = {
    "deletion": "deletion",
    "deletion_gain": "less than random",
    "insertion": "insertion",
    "insertion_gain": "more than random",
    "located": "own half of a splice",
    "sanity": "correlation, weights randomised",
}


@dataclass(frozen=True)
class Figure95:
    """A number and its 95 % interval over speakers; None: too few of them."""

    value: float
    ends: tuple[float, float] | None

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "–"
        return f"{self.value:.3f}" + ("" if self.ends is None else f" [{self.ends[0]:.3f}, {self.ends[1]:.3f}]")


class Summary:
    """Of each map: shares of the score kept, and how much that is better than a random order; of methods, the rest.

    A share is the sum over utterances of the mean of the curve less the score of nothing but the mean frame, divided by
    the sum of the whole scores less the same.

    Args:
        found: of each utterance
        num_draws: of speakers
        seed: of the draws
    """

    def __init__(self, found: Sequence[Measured], num_draws: int, seed: int) -> None:
        self.found = list(found)
        names = [one.wanted.speaker for one in found]
        speakers, numbers = np.unique(names, return_inverse=True)
        rng = np.random.default_rng(seed)
        drawn = rng.integers(0, len(speakers), (num_draws if len(speakers) > 1 else 0, len(speakers)))
        counts = [np.ones(len(speakers), np.int64), *(np.bincount(row, minlength=len(speakers)) for row in drawn)]
        self._weights = np.stack(counts)[:, numbers]  # (1 + draws, utterances)
        self.num_speakers = len(speakers)
        self.maps = [name for name in found[0].deletion if name not in BASELINES] + list(BASELINES)
        self.table = {name: self._row(name) for name in self.maps}

    def _row(self, name: str) -> dict[str, Figure95]:
        row: dict[str, Figure95] = {}
        for which, sign in (("deletion", -1), ("insertion", 1)):
            shares, chance = (self._shares(which, one) for one in (name, "random"))
            row[which] = _figure(shares)
            if name != "random":
                row[f"{which}_gain"] = _figure(sign * (shares - chance))
        if name not in BASELINES:
            row["located"] = _figure(self._means([one.located.get(name, np.nan) for one in self.found]))
            row["sanity"] = _figure(self._means([one.sanity[name] for one in self.found]))
        return row

    def _shares(self, which: str, name: str) -> Values:
        """(1 + draws,): of all utterances, then of each draw."""
        lows = np.array([one.ends[1] for one in self.found])
        spans = np.array([one.ends[0] for one in self.found]) - lows
        areas = np.array([one.areas(which)[name] for one in self.found]) - lows
        return _divided(self._weights @ areas, self._weights @ spans)

    def _means(self, values: Sequence[float]) -> Values:
        array = np.array(values)
        known = ~np.isnan(array)
        return _divided(self._weights[:, known] @ array[known], self._weights[:, known].sum(axis=1))

    def mean_curves(self, which: str) -> dict[str, Values]:
        """(11,) of each map: the share of the score that is kept, by the share of the cells."""
        lows = np.array([one.ends[1] for one in self.found])
        span = float((np.array([one.ends[0] for one in self.found]) - lows).sum())
        return {
            name: np.sum([getattr(one, which)[name] - low for one, low in zip(self.found, lows, strict=True)], axis=0)
            / (span if span > 0 else np.nan)
            for name in self.maps
        }

    def write(self, out: Path, title: str, settings: dict[str, Any]) -> str:
        """Writes OUT.md, OUT.tsv, OUT.json, OUT.png and OUT.svg; what OUT.md says."""
        rows = [[WORDS.get(name, _NAMES.get(name, name)), *map(str, self._cells(name))] for name in self.maps]
        counts = f"{len(self.found)} utterances of {self.num_speakers} speakers"
        text = f"# {title}\n\n{counts}; [ , ]: 95 % interval by bootstrap over speakers.\n\n"
        text += table(["map", *_HEADS.values()], rows)
        text += f"\n\n{_LEGEND}\n\n![Deletion and insertion curves]({out.name}.png)\n"
        with atomic_write(out.with_name(f"{out.name}.md")) as file:
            file.write(text)
        with atomic_write(out.with_name(f"{out.name}.tsv")) as file:
            file.write("\t".join(["map", *(f"{c}{end}" for c in _COLUMNS for end in ("", "_low", "_high"))]) + "\n")
            for name in self.maps:
                numbers = [number for one in self._cells(name) for number in (one.value, *(one.ends or (np.nan,) * 2))]
                file.write("\t".join([name, *("" if np.isnan(n) else f"{n:.6g}" for n in numbers)]) + "\n")
        content = {**settings, "num_utts": len(self.found), "num_speakers": self.num_speakers, "maps": {}}
        drawn = {which: self.mean_curves(which) for which in ("deletion", "insertion")}
        for name in self.maps:
            figures = {c: {"value": f.value, "interval": f.ends} for c, f in self.table[name].items()}
            curves = {which: drawn[which][name].tolist() for which in drawn}
            content["maps"][name] = {**figures, "curves": {"shares": SHARES.tolist(), **curves}}
        write_json(out.with_name(f"{out.name}.json"), content)
        self._plot(drawn, [out.with_name(f"{out.name}{end}") for end in (".png", ".svg")], f"{title}, {counts}")
        return text

    def _cells(self, name: str) -> list[Figure95]:
        nothing = Figure95(np.nan, None)
        return [self.table[name].get(column, nothing) for column in _COLUMNS]

    def _plot(self, drawn: dict[str, dict[str, Values]], paths: Sequence[Path], title: str) -> None:
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(9.4, 3.9), layout="constrained")
            for place, (which, curves) in enumerate(drawn.items()):
                axes = figure.add_subplot(1, 2, place + 1)
                for number, (name, curve) in enumerate(curves.items()):
                    known = name in BASELINES
                    style = (GREY, ("-", "--", ":")[BASELINES.index(name)]) if known else (COLORS[number % 7], "-")
                    label = WORDS.get(name, _NAMES.get(name, name))
                    axes.plot(100 * SHARES, curve, color=style[0], linestyle=style[1], linewidth=1.6, label=label)
                better = "lower is better" if which == "deletion" else "higher is better"
                words = "taken away" if which == "deletion" else "there alone"
                axes.set(xlabel=f"cells {words}, by the map (%)", ylabel="share of the score" if not place else "")
                axes.set_title(f"{which}: {better}", fontsize=9)
                axes.grid(color="#e4e4e4", linewidth=0.6)
                axes.set_xlim(0, 100)
            handles, labels = axes.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=8)
            figure.suptitle(title, fontsize=10)
            save(figure, paths)


_LEGEND = """Deletion: share of the score that is left, on average, while cells are taken away in the order of the map;
the lower the better. Insertion: share that is reached with these cells alone; the higher the better. A map that is no
better than a random order, or than the energy, explains nothing. Own half of a splice: of what speaks for the speaker,
the share in the half of a recording that is hers, the other being someone else's; 0.5 is chance. Correlation: of the
map with that of a network of randomised weights; near 1 the map is of the recording, not of the network."""


def _divided(above: Values, below: Values) -> Values:
    result: Values = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return result


def _figure(values: Values) -> Figure95:
    return Figure95(float(values[0]), interval(values[1:]))
