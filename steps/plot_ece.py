#!/usr/bin/env python3
"""ECE plots: what log-likelihood ratios are worth at every prior, and what calibration would gain."""

from pathlib import Path

from timbre.evaluation.results import read_classes
from timbre.utils.cli import run_step


def plot_ece(trials: Path, scores: Path, out: Path, title: str = "") -> None:
    """Plot the empirical cross-entropy of log-likelihood ratios over the prior of a target into OUT.

    Beside it stand that of the same scores, calibrated as well as can be, and that of saying nothing.

    Args:
        trials: trial list of the score file
        scores: "enroll test score" lines; the scores are natural logarithms of likelihood ratios, as of PLDA
        out: the plot, .png, .svg or .pdf; without a suffix OUT.png and OUT.svg are both written
        title: to stand above the plot
    """
    from timbre.evaluation.plots import plot_paths  # matplotlib takes a second: not for --help
    from timbre.evaluation.plots_llr import plot_ece as draw

    draw(*read_classes(trials, scores), plot_paths(out), title or scores.name)


if __name__ == "__main__":
    run_step(plot_ece)
