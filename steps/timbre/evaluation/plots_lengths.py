"""EER against seconds of test speech, a line with its intervals for each system. Called by compare_runs.py --grid."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from timbre.evaluation.length_grid import Cell, Grid
from timbre.evaluation.plots import COLORS, GREY, STYLE, save
from timbre.feats.protocols import WHOLE, Protocol

_STYLES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))  # of lines, once the colours have been used
_MARKERS = ("o", "s", "^", "D")
_GAP = 0.9  # octaves from the longest cut to the whole utterance, and from there to each protocol of crops
_LEAST = 0.45  # octaves between two marks of the axis, so that their labels stay apart
_SPREAD = 0.3  # octaves over which the systems of one length stand side by side


def plot_lengths(grid: Grid, paths: Iterable[Path]) -> bool:
    """Writes the EER of the systems of GRID into each of PATHS (PNG, SVG or PDF by suffix), if there are cuts.

    Seconds are on a logarithmic axis; whole utterances and crops stand apart from them to the right. Systems stand side
    by side where they would hide each other's intervals.

    Returns:
        whether there was something to draw
    """
    cuts = {name: Protocol.named(name) for name in grid.lengths if "-" not in name}
    seconds = {name: cut.length for name, cut in cuts.items() if cut.recorded}
    lines = [line for line in grid.lines if line.cells]
    if not seconds or not lines:
        return False
    places = dict(zip(seconds, _apart(np.log2(list(seconds.values()))), strict=True))
    for name in (WHOLE, *grid.crops):
        places[name] = max(places.values()) + _GAP
    with mpl.rc_context(STYLE | {"text.parse_math": False}):
        figure = Figure(figsize=(7.4, max(3.8, 1.2 + 0.19 * len(lines))), layout="constrained")
        axes = figure.add_subplot()
        for index, line in enumerate(lines):
            color = COLORS[index % len(COLORS)]
            kind = index // len(COLORS) % len(_STYLES)
            aside = _SPREAD * ((index + 0.5) / len(lines) - 0.5)
            known = [(places[name] + aside, line.cells[name], name) for name in places if name in line.cells]
            joined = [(x, 100 * cell.eer) for x, cell, name in known if name in seconds]
            axes.plot(
                *zip(*joined, strict=True), color=color, linestyle=_STYLES[kind], linewidth=1.4
            ) if joined else None
            for x, cell, _ in known:
                axes.plot(*_bar(x, cell), color=color, linewidth=1.1, solid_capstyle="butt")
            for x, cell, name in known:
                face = "white" if name in grid.crops else color
                axes.plot(
                    x, 100 * cell.eer, _MARKERS[kind], color=color, markersize=4.5, markerfacecolor=face, zorder=3
                )
            label, dashes, marker = f"{line.run}, {line.backend}", _STYLES[kind], _MARKERS[kind]
            axes.plot([], [], color=color, linestyle=dashes, marker=marker, markersize=4.5, linewidth=1.4, label=label)
        border = max(places[name] for name in seconds) + _GAP / 2
        axes.axvline(border, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        labels = [f"{seconds[name]:g}" if name in seconds else name for name in places]
        axes.xaxis.set_major_locator(FixedLocator(list(places.values())))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticklabels(labels)
        axes.set(xlabel="seconds of each side of a trial", ylabel="EER (%), with 95 % interval")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_title(grid.trials, fontsize=10)
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
        save(figure, paths)
    return True


def _bar(x: float, cell: Cell) -> tuple[list[float], list[float]]:
    """The interval of CELL, a point where there is none."""
    return [x, x], [100 * end for end in cell.eer_ci or (cell.eer, cell.eer)]


def _apart(places: np.ndarray) -> list[float]:
    """Ascending PLACES, moved to the right where they are nearer than _LEAST to the one before."""
    moved: list[float] = []
    for place in places.tolist():
        moved.append(max(place, moved[-1] + _LEAST) if moved else place)
    return moved
