"""DET curves and score histograms. Called by plot_det.py, plot_scores.py and make_results.py."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from steps.backend.metrics import PRIORS, Bools, Floats, Roc, roc, split
from steps.utils.files import atomic_path

_TICKS = np.array([0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 80, 90, 95, 99]) / 100
_MARKERS = ("^", "s", "D")  # of the minDCF points, by prior
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe-Ito: for all eyes
_GREY = "#707070"
_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "svg.hashsalt": "timbre",  # the same curve is the same file
    "svg.fonttype": "none",
}


def plot_det(curves: Mapping[str, Roc], paths: Iterable[Path], title: str = "") -> None:
    """Writes the DET curves of several systems, name -> curve, into each of PATHS (PNG, SVG or PDF by suffix).

    Both axes are on the normal deviate scale (Martin et al. 1997), on which Gaussian scores give straight lines. A dot
    marks the EER, other markers the minDCF of each prior; what lies beyond the frame is marked on it.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(5.2, 5.2), layout="constrained")
        axes = figure.add_subplot()
        low, high = _limits(curves.values())
        ends = norm.ppf([low, high])
        axes.plot(ends, ends, color=_GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        for index, (name, curve) in enumerate(curves.items()):
            style = "-" if index < len(_COLORS) else "--"
            _draw_curve(axes, name, curve, _COLORS[index % len(_COLORS)], style, (low, high))
        for marker, prior in zip(_MARKERS, PRIORS, strict=True):
            axes.plot([], [], marker, color=_GREY, markersize=5, fillstyle="none", label=f"minDCF, p = {prior:g}")
        ticks = _TICKS[np.searchsorted(_TICKS, low) : np.searchsorted(_TICKS, high, side="right")]
        for axis, name in ((axes.xaxis, "False alarm rate (%)"), (axes.yaxis, "Miss rate (%)")):
            axis.set_ticks(norm.ppf(ticks), [f"{100 * tick:g}" for tick in ticks])
            axis.set_label_text(name)
        axes.set(xlim=ends, ylim=ends, aspect="equal")
        axes.grid(color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_title(title, fontsize=10)
        axes.legend(loc="best", framealpha=0.9, edgecolor="none", fontsize=8)
        _save(figure, paths)


def plot_scores(scores: Floats, target: Bools, paths: Iterable[Path], title: str = "", label: str = "score") -> None:
    """Writes the densities of target and non-target scores, with the thresholds of the EER and of each minDCF.

    scores, target: (N,); label: what the scores are, for the axis.
    """
    targets, nontargets = split(scores, target)
    curve = roc(scores, target)
    edges = np.linspace(*_quantile_range(scores), 121)
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(6.0, 3.4), layout="constrained")
        axes = figure.add_subplot()
        for name, part, color in (("nontarget", nontargets, _COLORS[1]), ("target", targets, _COLORS[0])):
            density = np.histogram(part, edges)[0] / (len(part) * (edges[1] - edges[0]))
            axes.stairs(density, edges, fill=True, color=color, alpha=0.3)
            axes.stairs(density, edges, color=color, linewidth=1.2, label=f"{name} ({len(part):,})")
        lines: list[tuple[float, str, Any]] = [(curve.eer_threshold(), f"EER {100 * curve.eer():.2f} %", "-")]
        for prior, style in zip(PRIORS, ("--", "-.", ":"), strict=True):
            text = f"minDCF {curve.min_dcf(prior):.3f}, p = {prior:g}"
            lines.append((float(curve.thresholds[curve.min_dcf_corner(prior)]), text, style))
        for threshold, text, style in lines:
            if np.isfinite(threshold):  # not reject-all
                axes.axvline(threshold, color="#303030", linewidth=0.9, linestyle=style, label=text)
        axes.set(xlabel=label, ylabel="density", xlim=edges[[0, -1]])
        axes.set_ylim(bottom=0)
        axes.set_title(title, fontsize=10)
        axes.legend(framealpha=0.9, edgecolor="none", fontsize=8)
        _save(figure, paths)


def plot_paths(out: Path) -> list[Path]:
    """The files that a plot named OUT is written to: OUT itself, or OUT.png and OUT.svg where it has no such suffix.

    A score file's name has a dot too (eval.cosine), so only the known suffixes count.
    """
    if out.suffix in (".png", ".svg", ".pdf"):
        return [out]
    return [out.with_name(out.name + suffix) for suffix in (".png", ".svg")]


def _limits(curves: Iterable[Roc]) -> tuple[float, float]:
    """Ends of both axes: from half of what one error of the larger class is, at most 0.1 %, to beyond the worst EER."""
    lows, highs = zip(*((0.5 / max(c.num_target, c.num_nontarget), 1.6 * c.eer()) for c in curves), strict=True)
    return float(np.clip(min(lows), 1e-5, 1e-3)), float(np.clip(max(highs), 0.5, 0.99))


def _draw_curve(axes: Axes, name: str, curve: Roc, color: str, style: str, limits: tuple[float, float]) -> None:
    steps = np.empty((2, 2 * len(curve.misses) - 1))  # every corner, and what the curve goes through before the next
    steps[:, ::2] = curve.false_alarms, curve.misses
    steps[:, 1::2] = curve.false_alarms_above, curve.misses[1:]
    rates = steps / [[curve.num_nontarget], [curve.num_target]]
    # a rate of 0 lies at minus infinity: the line is drawn to just outside the frame
    points = norm.ppf(np.clip(rates, limits[0] / 2, (1 + limits[1]) / 2))
    axes.plot(*points, style, color=color, linewidth=1.5, label=f"{name}, EER {100 * curve.eer():.2f} %", zorder=3)
    eer = norm.ppf(np.clip(curve.eer(), *limits))
    axes.plot(eer, eer, "o", color=color, markersize=6, clip_on=False, zorder=4)
    for marker, prior in zip(_MARKERS, PRIORS, strict=True):
        corner = curve.min_dcf_corner(prior)
        point = norm.ppf(np.clip(rates[:, 2 * corner], *limits))
        axes.plot(*point, marker, color=color, markersize=5, markerfacecolor="white", clip_on=False, zorder=4)


def _quantile_range(scores: Floats) -> tuple[float, float]:
    """Where all but one in ten thousand of the finite scores lie, and a little more."""
    low, high = np.quantile(scores[np.isfinite(scores)], [5e-5, 1 - 5e-5])
    margin = 0.03 * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def _save(figure: Figure, paths: Iterable[Path]) -> None:
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else None
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=200, metadata=metadata)
