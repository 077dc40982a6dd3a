"""Training curves out of log.jsonl. Called by steps/plot_training.py, compare_precision.py and the page of a run."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from timbre.utils.files import atomic_path

Panel = tuple[str, int, str, tuple[tuple[str, str, str, str], ...]]

PANELS: tuple[Panel, ...] = (  # title, factor, scale, and the curves: figure in the log, label, colour, marker
    ("loss", 1, "linear", (("loss", "training", "#0072B2", ""), ("valid_loss", "held-out utterances", "#D55E00", "o"))),
    (
        "accuracy (%)",
        100,
        "linear",
        (("accuracy", "training", "#0072B2", ""), ("valid_accuracy", "held-out utterances", "#D55E00", "o")),
    ),
    ("EER (%)", 100, "linear", (("valid_eer", "held-out speakers", "#009E73", "o"),)),
    ("learning rate", 1, "log", (("lr", "", "#000000", ""),)),
    ("examples/s", 1, "linear", (("examples_per_s", "", "#CC79A7", ""),)),
    ("waiting for examples (%)", 100, "linear", (("waiting", "", "#E69F00", ""),)),
)
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
_NOTHING = {"EER (%)": "none held out", "accuracy (%)": "the objective has none"}
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "svg.hashsalt": "timbre",  # the same log is the same file
    "svg.fonttype": "none",
}


def plot_training(lines: list[dict[str, Any]], paths: Iterable[Path], title: str = "") -> None:
    """Writes loss, accuracy, EER, learning rate and speed by step into each of PATHS (PNG, SVG or PDF by suffix).

    Args:
        lines: what read_log gives, at least one
        paths: files to write
        title: over the figure
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(8.4, 7.2), layout="constrained")
        figure.suptitle(title, fontsize=10)
        for axes, panel in zip(figure.subplots(3, 2, sharex=True).flat, PANELS, strict=True):
            _draw(axes, panel, lines)
        for axes in figure.axes[4:]:
            axes.set_xlabel("step")
        _save(figure, paths)


def plot_panel(name: str, lines: list[dict[str, Any]], paths: Iterable[Path]) -> None:
    """Writes one panel of plot_training alone: NAME is the first word of one of PANELS."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.2, 2.6), layout="constrained")
        axes = figure.add_subplot()
        _draw(axes, next(panel for panel in PANELS if panel[0] == name), lines)
        axes.set_xlabel("step")
        _save(figure, paths)


def plot_modes(curves: Mapping[str, Mapping[int, float]], paths: Iterable[Path], title: str = "") -> None:
    """Writes the loss by step of several trainings, and how far each is from the first, into each of PATHS.

    Args:
        curves: loss by step, by the name of the training; those after the first are compared with it
        paths: files to write (PNG, SVG or PDF by suffix)
        title: over the figure
    """
    first = next(iter(curves))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 5.6), layout="constrained")
        figure.suptitle(title, fontsize=10)
        losses, differences = figure.subplots(2, 1, sharex=True)
        for number, (name, curve) in enumerate(curves.items()):
            dashes = (0, (4, 1 + number)) if number else "-"  # one lies on the other
            style: dict[str, Any] = {"color": _COLOURS[number % len(_COLOURS)], "label": name, "linewidth": 1.3}
            losses.plot(list(curve), list(curve.values()), linestyle=dashes, **style)
            apart = [(step, abs(loss - curves[first].get(step, math.nan)) or math.nan) for step, loss in curve.items()]
            if name != first and not all(math.isnan(distance) for _, distance in apart):
                differences.plot(*zip(*apart, strict=True), marker=".", ms=4, **style)
        losses.set_title("loss of training", fontsize=9, loc="left")
        losses.legend(framealpha=0.9, edgecolor="none", fontsize=8)
        differences.set_title(f"its distance from that of {first} (gaps: none)", fontsize=9, loc="left")
        if differences.lines:
            differences.set_yscale("log")
        else:
            differences.text(0.5, 0.5, "none", ha="center", va="center", transform=differences.transAxes)
        differences.set_xlabel("step")
        _save(figure, paths)


def _draw(axes: Axes, panel: Panel, lines: list[dict[str, Any]]) -> None:
    name, factor, scale, curves = panel
    for key, label, color, marker in curves:
        points = [(line["step"], factor * line[key]) for line in lines if line.get(key) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=color, linewidth=1.2, marker=marker, ms=3.5, label=label)
    axes.set_yscale(scale)
    if scale == "linear" and name not in ("loss", "accuracy (%)") and axes.lines:
        axes.set_ylim(bottom=0)
    axes.set_title(name, fontsize=9, loc="left")
    if any(label for _, label, _, _ in curves) and axes.get_legend_handles_labels()[0]:
        axes.legend(loc="best", framealpha=0.9, edgecolor="none", fontsize=8)
    elif not axes.lines:
        text = _NOTHING.get(name, "not logged")
        axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes, color="#707070")


def _save(figure: Figure, paths: Iterable[Path]) -> None:
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else None
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=150, metadata=metadata)
