#!/usr/bin/env python3
"""Tippett plots: how often log-likelihood ratios mislead, and how far."""

from pathlib import Path

from timbre.evaluation.results import read_classes
from timbre.utils.cli import run_step


def plot_tippett(trials: Path, scores: Path, out: Path, title: str = "") -> None:
    """Plot the shares of target and of nontarget trials whose log-likelihood ratio is above each value, into OUT.

    Args:
        trials: trial list of the score file
        scores: "enroll test score" lines; the scores are natural logarithms of likelihood ratios, as of PLDA
        out: the plot, .png, .svg or .pdf; without a suffix OUT.png and OUT.svg are both written
        title: to stand above the plot
    """
    from timbre.evaluation.plots import plot_paths  # matplotlib takes a second: not for --help
    from timbre.evaluation.plots_llr import plot_tippett as draw

    draw(*read_classes(trials, scores), plot_paths(out), title or scores.name)


if __name__ == "__main__":
    run_step(plot_tippett)
