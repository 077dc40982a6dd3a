"""Tippett and ECE plots: what log-likelihood ratios are worth. For plot_scores.py and make_results.py."""

from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from timbre.evaluation.metrics import Floats, cllr, roc
from timbre.evaluation.pav import weighted_ece
from timbre.evaluation.plots import COLORS, GREY, STYLE, save

_TEN = np.log(10.0)
_POINTS = 2000  # of a curve: more cannot be seen
_ODDS = 3.0  # of an ECE plot, to both sides, log10


def plot_tippett(targets: Floats, nontargets: Floats, paths: Iterable[Path], title: str = "") -> None:
    """Writes the share of TARGETS and of NONTARGETS, natural-log likelihood ratios, above each value, into PATHS.

    Where the lines are at 0 are the rates of misleading evidence: targets below, non-targets above.
    """
    low, high = _range(targets, nontargets)
    with mpl.rc_context(STYLE | {"text.parse_math": False}):
        figure = Figure(figsize=(6.2, 3.8), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        misleading = {
            f"target, {100 * (targets < 0).mean():.2f} % below 0": (targets, COLORS[0]),
            f"nontarget, {100 * (nontargets > 0).mean():.2f} % above 0": (nontargets, COLORS[1]),
        }
        for label, (part, color) in misleading.items():
            ranked = np.sort(part) / _TEN
            rows = np.unique(np.linspace(0, len(ranked) - 1, _POINTS).astype(int))
            share = 100 * (1 - np.append(rows, len(ranked)) / len(ranked))  # at or above the value
            values = np.append(ranked[rows], ranked[-1])
            axes.step(np.r_[low, values, high], np.r_[100.0, share, 0.0], where="pre", color=color, label=label)
        axes.set(xlabel="log10 likelihood ratio", ylabel="share above it (%)", xlim=(low, high), ylim=(0, 101))
        axes.grid(color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_title(title, fontsize=10)
        axes.legend(loc="best", framealpha=0.9, edgecolor="none", fontsize=8)
        save(figure, paths)


def plot_ece(targets: Floats, nontargets: Floats, paths: Iterable[Path], title: str = "") -> None:
    """Writes the empirical cross-entropy of natural-log likelihood ratios over the prior into each of PATHS.

    Beside it, that of the same scores calibrated as well as can be (PAV), and that of saying nothing; at even odds they
    are at Cllr, minCllr and 1 (Ramos and Gonzalez-Rodriguez 2008).
    """
    odds = np.linspace(-_ODDS, _ODDS, 241)
    pav = roc(targets, nontargets).pav()
    # millions of values are many at 241 priors: those within a thousandth count together
    parts = (np.unique(np.round(part, 3), return_counts=True) for part in (targets, nontargets))
    (target_llrs, target_counts), (nontarget_llrs, nontarget_counts) = parts
    actual = weighted_ece(target_llrs, target_counts, nontarget_llrs, nontarget_counts, odds * _TEN)
    nothing = weighted_ece(np.zeros(1), np.ones(1), np.zeros(1), np.ones(1), odds * _TEN)
    best = pav.ece(odds * _TEN)
    with mpl.rc_context(STYLE | {"text.parse_math": False}):
        figure = Figure(figsize=(6.2, 3.8), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.plot(odds, nothing, ":", color=COLORS[6], label="without scores")
        axes.plot(odds, actual, color=COLORS[1], label=f"as they are, Cllr {cllr(targets, nontargets):.3f}")
        axes.plot(odds, best, "--", color=COLORS[0], label=f"calibrated (PAV), minCllr {pav.cllr():.3f}")
        top = max(1.1, min(1.05 * float(actual.max()), 3.0))  # beyond, it only is very bad
        axes.set(xlabel="log10 prior odds of a target", ylabel="empirical cross-entropy (bits)")
        axes.set(xlim=(-_ODDS, _ODDS), ylim=(0, top))
        axes.grid(color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_title(title, fontsize=10)
        axes.legend(loc="best", framealpha=0.9, edgecolor="none", fontsize=8)
        save(figure, paths)


def _range(targets: Floats, nontargets: Floats) -> tuple[float, float]:
    """From where all but one in a thousand of each class lie, 0 included, in log10."""
    ends = np.concatenate([np.quantile(part, [1e-3, 1 - 1e-3]) for part in (targets, nontargets)]) / _TEN
    low, high = min(0.0, float(ends.min())), max(0.0, float(ends.max()))
    margin = 0.03 * (high - low) or 0.5
    return low - margin, high + margin
