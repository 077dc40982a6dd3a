"""DET curves and score histograms. Called by plot_det.py, plot_scores.py and make_results.py; its style by others."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtri

from timbre.evaluation.metrics import PRIORS, Floats, Roc, roc
from timbre.utils.files import atomic_path

# in per cent, those before the others that are worth a label more
_TICKS = (1, 10, 0.1, 40, 5, 20, 0.01, 2, 0.5, 80, 95, 60, 90, 0.001, 99, 0.2, 0.05, 30, 0.02)
_MARKERS = ("^", "s", "D")  # of the minDCF points, by prior
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe-Ito: for all eyes
GREY = "#707070"
STYLE: dict[Any, Any] = {
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
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 5.2), layout="constrained")
        axes = figure.add_subplot()
        limits = _limits(curves.values())
        diagonal = ndtri([limits.max(axis=0)[0], limits.min(axis=0)[1]])
        axes.plot(diagonal, diagonal, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        for index, (name, curve) in enumerate(curves.items()):
            style = "-" if index < len(COLORS) else "--"
            _draw_curve(axes, name, curve, COLORS[index % len(COLORS)], style, limits)
        for marker, prior in zip(_MARKERS, PRIORS, strict=True):
            axes.plot([], [], marker, color=GREY, markersize=5, fillstyle="none", label=f"minDCF, p = {prior:g}")
        for axis, (low, high) in ((axes.xaxis, limits[0]), (axes.yaxis, limits[1])):
            ticks = _ticks(100 * low, 100 * high)
            axis.set_ticks(ndtri(np.array(ticks) / 100), [f"{tick:g}" for tick in ticks])
        axes.set(xlabel="False alarm rate (%)", ylabel="Miss rate (%)")
        axes.set(xlim=ndtri(limits[0]), ylim=ndtri(limits[1]))
        axes.grid(color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_title(title, fontsize=10)
        axes.legend(loc="best", framealpha=0.9, edgecolor="none", fontsize=8)
        save(figure, paths)


def plot_scores(
    targets: Floats, nontargets: Floats, paths: Iterable[Path], title: str = "", label: str = "score"
) -> None:
    """Writes the densities of target and non-target scores, with the thresholds of the EER and of each minDCF.

    label: what the scores are, for the axis.
    """
    curve = roc(targets, nontargets)
    num_bins = int(np.clip(4 * min(len(targets), len(nontargets)) ** 0.5, 20, 120))
    edges = np.linspace(*_most(np.concatenate([targets, nontargets])), num_bins + 1)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        for name, part, color in (("nontarget", nontargets, COLORS[1]), ("target", targets, COLORS[0])):
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
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
        save(figure, paths)


def plot_rank_curve(curves: Mapping[str, Floats], paths: Iterable[Path], title: str = "") -> None:
    """Writes the share of probes found by rank, name -> (R,) from rank 1, into each of PATHS (PNG, SVG, PDF)."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.6), layout="constrained")
        axes = figure.add_subplot()
        for (name, curve), color in zip(curves.items(), COLORS, strict=False):
            label = f"{name}, top-1 {100 * curve[0]:.1f} %"
            axes.step(np.arange(1, len(curve) + 1), 100 * curve, where="post", color=color, linewidth=1.5, label=label)
        axes.set(xlabel="rank", ylabel="probes found (%)", xscale="log")
        longest = max(len(curve) for curve in curves.values())
        axes.set_xlim(1, max(2, longest))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("{x:g}" if longest < 20 else "")
        lowest = min(float(curve[0]) for curve in curves.values())
        axes.set_ylim(max(0.0, 100 * lowest - 10), 101)  # per cent
        axes.grid(color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_title(title, fontsize=10)
        axes.legend(loc="lower right", frameon=False, fontsize=8)
        save(figure, paths)


def plot_paths(out: Path) -> list[Path]:
    """The files that a plot named OUT is written to: OUT itself, or OUT.png and OUT.svg where it has no such suffix.

    A score file's name has a dot too (eval.cosine), so only the known suffixes count.
    """
    if out.suffix in (".png", ".svg", ".pdf"):
        return [out]
    return [out.with_name(out.name + suffix) for suffix in (".png", ".svg")]


def _limits(curves: Iterable[Roc]) -> Floats:
    """Ends of the axes, [[lowest, highest false-alarm rate], [lowest, highest miss rate]].

    From half of what one error is, to where every EER is seen and every minDCF that accepts 1 % of the targets.
    """
    low, high = np.full(2, 1e-2), np.full(2, 0.4)
    for curve in curves:
        sizes = np.array([curve.num_nontarget, curve.num_target])
        corners = [curve.min_dcf_corner(prior) for prior in PRIORS]
        marked = np.array([curve.false_alarms[corners], curve.misses[corners]]) / sizes[:, None]
        low = np.minimum(low, 0.5 / sizes)
        high = np.maximum(high, np.maximum(1.5 * curve.eer(), np.where(marked < 0.99, 1.1 * marked, 0).max(axis=1)))
    return np.column_stack([np.maximum(low, 1e-5), np.minimum(high, 0.99)])


def _ticks(low: float, high: float) -> list[float]:
    """As many of _TICKS from LOW to HIGH, in per cent, as leave room for their labels."""
    chosen: list[float] = []
    gap = 0.055 * (ndtri(high / 100) - ndtri(low / 100))
    for tick in _TICKS:
        near = any(abs(ndtri(tick / 100) - ndtri(other / 100)) < gap for other in chosen)
        if low * 0.999 <= tick <= high * 1.001 and not near:
            chosen.append(tick)
    return chosen


def _draw_curve(axes: Axes, name: str, curve: Roc, color: str, style: str, limits: Floats) -> None:
    steps = np.empty((2, 2 * len(curve.misses) - 1))  # every corner, and what the curve goes through before the next
    steps[:, ::2] = curve.false_alarms, curve.misses
    steps[:, 1::2] = curve.false_alarms_above, curve.misses[1:]
    rates = steps / [[curve.num_nontarget], [curve.num_target]]
    low, high = limits[:, :1], limits[:, 1:]
    # a rate of 0 lies at minus infinity: the line is drawn to just outside the frame
    points = ndtri(np.clip(rates, low / 2, (1 + high) / 2))
    cells = np.round(points * 500)  # some thousand of them across: drop what cannot be seen apart
    seen = np.append(True, (cells[:, 1:] != cells[:, :-1]).any(axis=0))
    axes.plot(*points[:, seen], style, color=color, linewidth=1.5, zorder=3)
    axes.plot([], [], style, marker="o", color=color, label=f"{name}, EER {100 * curve.eer():.2f} %")
    marks = [("o", color, np.full(2, curve.eer()))]
    marks += [(m, "white", rates[:, 2 * curve.min_dcf_corner(p)]) for m, p in zip(_MARKERS, PRIORS, strict=True)]
    for marker, face, point in marks:
        place = ndtri(np.clip(point, limits[:, 0], limits[:, 1]))
        axes.plot(*place, marker, color=color, markersize=5, markerfacecolor=face, clip_on=False, zorder=4)


def _most(scores: Floats) -> tuple[float, float]:
    """Where all but one in ten thousand of the finite scores lie, and a little more."""
    low, high = np.quantile(scores[np.isfinite(scores)], [5e-5, 1 - 5e-5])
    margin = 0.03 * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def save(figure: Figure, paths: Iterable[Path]) -> None:
    """Writes FIGURE into each of PATHS (PNG, SVG or PDF by suffix)."""
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else None
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=200, metadata=metadata)
