#!/usr/bin/env python3
"""Histograms of target and nontarget scores."""

from pathlib import Path

from timbre.evaluation.results import read_classes
from timbre.utils.cli import run_step


def plot_scores(trials: Path, scores: Path, out: Path, title: str = "", label: str = "score") -> None:
    """Plot the densities of target and nontarget scores into OUT, with the thresholds of the EER and each minDCF.

    Args:
        trials: trial list of the score file
        scores: "enroll test score" lines
        out: the plot, .png, .svg or .pdf; without a suffix OUT.png and OUT.svg are both written
        title: to stand above the plot
        label: what the scores are, to stand below it
    """
    from timbre.evaluation.plots import plot_paths  # matplotlib takes a second: not for --help
    from timbre.evaluation.plots import plot_scores as draw

    draw(*read_classes(trials, scores), plot_paths(out), title or scores.name, label)


if __name__ == "__main__":
    run_step(plot_scores)
