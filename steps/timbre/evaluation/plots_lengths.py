"""EER against seconds of test speech, a line with its intervals for each system. Called by compare_runs.py --grid."""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from timbre.evaluation.length_grid import Cell, Grid, Line
from timbre.evaluation.plots import COLORS, GREY, STYLE, save
from timbre.feats.protocols import WHOLE, Protocol

_STYLES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))  # of lines, once the colours have been used
_MARKERS = ("o", "s", "^", "D")
_GAP = 0.9  # octaves from the longest cut to the whole utterance, and from there to each protocol of crops
_LEAST = 0.45  # octaves between two marks of the axis, so that their labels stay apart
_INCHES = 1.1  # an octave
_SPREAD = 0.3  # octaves over which the systems of one length stand side by side


def plot_lengths(grid: Grid, paths: Iterable[Path]) -> bool:
    """Writes the EER of the systems of GRID into each of PATHS (PNG, SVG or PDF by suffix), if there are cuts.

    Seconds are on a logarithmic axis; whole utterances and crops stand apart from them to the right. Of several runs
    each back-end has a panel of its own. Systems stand side by side where they would hide each other's intervals.

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
    by_run = len({line.run for line in lines}) > 1
    names = list(dict.fromkeys(line.run if by_run else line.backend for line in lines))
    panels = list(dict.fromkeys(line.backend for line in lines)) if by_run else [""]
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    width = max(4.2, 1.2 + _INCHES * (max(places.values()) - min(places.values())))
    with mpl.rc_context(STYLE | {"text.parse_math": False}):
        figure = Figure(figsize=(columns * width, 0.9 + 3 * rows + 0.17 * len(names)), layout="constrained")
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for panel, frame in zip(panels, axes, strict=False):
            shown = [line for line in lines if line.backend == panel or not by_run]
            for line in shown:
                name = line.run if by_run else line.backend
                _draw(frame, line, places, set(seconds), names.index(name), len(names))
            frame.axvline(
                max(places[name] for name in seconds) + _GAP / 2, color=GREY, linewidth=0.8, linestyle=(0, (4, 3))
            )
            frame.grid(axis="y", color="#e4e4e4", linewidth=0.6)
            frame.set_axisbelow(True)
            frame.set_title(f"{grid.trials}, {panel or lines[0].run}", fontsize=10)
        for frame in axes[len(panels) :]:
            frame.set_visible(False)
        axes[0].xaxis.set_major_locator(FixedLocator(list(places.values())))
        axes[0].xaxis.set_minor_locator(NullLocator())
        axes[0].set_xticklabels([f"{seconds[name]:g}" if name in seconds else _broken(name) for name in places])
        axes[0].set_ylim(bottom=0)
        figure.supxlabel("seconds of each side of a trial", fontsize=9)
        figure.supylabel("EER (%), with 95 % interval", fontsize=9)
        handles = [Line2D([], [], **_style(index), markersize=4.5, label=name) for index, name in enumerate(names)]
        figure.legend(handles=handles, loc="outside upper left", frameon=False, fontsize=8)
        save(figure, paths)
    return True


def _draw(axes: Axes, line: Line, places: Mapping[str, float], cuts: Collection[str], index: int, number: int) -> None:
    """The system LINE, which is INDEX of NUMBER."""
    aside = _SPREAD * ((index + 0.5) / number - 0.5)
    style = _style(index)
    known = [(places[name] + aside, line.cells[name], name) for name in places if name in line.cells]
    joined = [(x, 100 * cell.eer) for x, cell, name in known if name in cuts]
    if joined:
        axes.plot(*zip(*joined, strict=True), color=style["color"], linestyle=style["linestyle"], linewidth=1.4)
    for x, cell, name in known:
        axes.plot(*_bar(x, cell), color=style["color"], linewidth=1.1, solid_capstyle="butt")
        face = style["color"] if name in cuts or name == WHOLE else "white"  # crops are hollow
        axes.plot(
            x, 100 * cell.eer, style["marker"], color=style["color"], markersize=4.5, markerfacecolor=face, zorder=3
        )


def _style(index: int) -> dict[str, Any]:
    kind = index // len(COLORS) % len(_STYLES)
    return {"color": COLORS[index % len(COLORS)], "linestyle": _STYLES[kind], "marker": _MARKERS[kind]}


def _broken(protocol: str) -> str:
    """The name of a protocol of crops on several lines, for the axis."""
    return protocol.replace("tta", "tta\n").replace("+", "\n+").replace("_", "\n")


def _bar(x: float, cell: Cell) -> tuple[list[float], list[float]]:
    """The interval of CELL, a point where there is none."""
    return [x, x], [100 * end for end in cell.eer_ci or (cell.eer, cell.eer)]


def _apart(places: np.ndarray) -> list[float]:
    """Ascending PLACES, moved to the right where they are nearer than _LEAST to the one before."""
    moved: list[float] = []
    for place in places.tolist():
        moved.append(max(place, moved[-1] + _LEAST) if moved else place)
    return moved
