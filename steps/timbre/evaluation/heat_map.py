"""Error rates of several runs on several trial lists as one coloured table. Called by compare_runs.py."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from timbre.evaluation.plots import STYLE, save
from timbre.evaluation.results import Interval, percent, percent_interval
from timbre.utils.names import natural_key

_CELL = 1.2, 0.5  # inches
_LOWEST = 1e-4  # an EER below it has the colour of this one: a logarithm has no place for 0
_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50)  # of the bar of colours, in per cent


class Rate(NamedTuple):
    """EER of a run on a trial list, a fraction, and its interval."""

    run: str
    trials: str
    eer: float
    eer_ci: Interval | None


def plot_heat_map(rates: Sequence[Rate], paths: Iterable[Path], title: str = "") -> None:
    """Writes EER and interval of each run (rows, in the order of RATES) on each trial list (columns) into PATHS.

    The colour is the logarithm of the EER, the darker the higher, in one hue, which print in grey and colour-blind
    eyes keep in order; the lowest EER of each list is in bold. A run that was not scored on a list has an empty cell.

    Args:
        rates: at most one for each run and list
        paths: files to write, PNG, SVG or PDF by suffix
        title: over the figure
    """
    cells = {(rate.run, rate.trials): rate for rate in rates}
    runs = list(dict.fromkeys(rate.run for rate in rates))
    lists = sorted({trials for _, trials in cells}, key=natural_key)
    best = {name: min(cells[run, name].eer for run in runs if (run, name) in cells) for name in lists}
    eers = np.full((len(runs), len(lists)), np.nan)
    for run, name in cells:
        eers[runs.index(run), lists.index(name)] = max(cells[run, name].eer, _LOWEST)
    low, high = np.nanmin(eers), np.nanmax(eers)
    norm = LogNorm(low / 1.05, high * 1.05)
    colors = mpl.colormaps["Blues"]
    with mpl.rc_context({**STYLE, "axes.spines.left": False, "axes.spines.bottom": False}):
        size = _CELL[0] * len(lists) + 2.6, _CELL[1] * len(runs) + 1.9
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        image = axes.imshow(eers, cmap=colors, norm=norm, aspect="auto")
        axes.set_xticks(range(len(lists)), lists, rotation=30, ha="left", rotation_mode="anchor")
        axes.set_yticks(range(len(runs)), runs)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.set_xticks(np.arange(len(lists) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(runs) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.tick_params(which="minor", length=0)
        for (run, name), rate in cells.items():
            row, column = runs.index(run), lists.index(name)
            ink = _ink(colors(norm(eers[row, column])))
            weight = "bold" if rate.eer == best[name] else "normal"
            text = percent(rate.eer)
            axes.text(column, row - 0.13, text, ha="center", va="center", color=ink, fontsize=10, fontweight=weight)
            ends = percent_interval(rate.eer_ci)
            axes.text(column, row + 0.22, ends, ha="center", va="center", color=ink, fontsize=7)
        bar = figure.colorbar(image, ax=axes, shrink=0.9, aspect=max(8, 4 * len(runs)), pad=0.01)
        bar.outline.set_visible(False)
        inside = [tick / 100 for tick in _TICKS if low / 1.05 <= tick / 100 <= high * 1.05]
        bar.ax.yaxis.set_major_locator(FixedLocator(inside))
        bar.ax.yaxis.set_minor_locator(NullLocator())
        bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}"))
        bar.set_label("EER (%)")
        if title:
            figure.suptitle(title, fontsize=10)
        save(figure, paths)


def _ink(color: tuple[float, float, float, float]) -> str:
    """Black or white, whichever stands out more from COLOR (WCAG 2 contrast)."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in color[:3]]
    luminance = float(np.dot(linear, [0.2126, 0.7152, 0.0722]))
    return "black" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "white"
