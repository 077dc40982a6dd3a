"""Training curves out of log.jsonl. Called by steps/plot_training.py and the page of a run."""

from collections.abc import Iterable
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
