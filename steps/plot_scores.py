#!/usr/bin/env python3
"""Plots of one score file: histogram, Tippett plot or ECE plot."""

from pathlib import Path
from typing import Literal

from timbre.evaluation.results import read_classes
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def plot_scores(
    trials: Path,
    scores: Path,
    out: Path,
    kind: Literal["histogram", "tippett", "ece"] = "histogram",
    title: str = "",
    label: str | None = None,
) -> None:
    """Plot the target and nontarget scores of a trial list into OUT.

    Args:
        trials: trial list of the score file
        scores: "enroll test score" lines; for tippett and ece the scores are natural logarithms of likelihood ratios,
            as of PLDA
        out: the plot, .png, .svg or .pdf; without a suffix OUT.png and OUT.svg are both written
        kind: histogram, the densities, with the thresholds of the EER and each minDCF; tippett, the shares of target
            and of nontarget trials whose log-likelihood ratio is above each value; ece, the empirical cross-entropy
            over the prior of a target, beside it that of the same scores, calibrated as well as can be, and that of
            saying nothing
        title: to stand above the plot
        label: what the scores are, to stand below a histogram (default: score)
    """
    from timbre.evaluation import plots, plots_llr  # matplotlib takes a second: not for --help

    if label is not None and kind != "histogram":
        raise DataError(f"--label is of a histogram; what stands below {kind} is fixed")
    classes, paths, above = read_classes(trials, scores), plots.plot_paths(out), title or scores.name
    if kind == "histogram":
        plots.plot_scores(*classes, paths, above, label or "score")
    elif kind == "tippett":
        plots_llr.plot_tippett(*classes, paths, above)
    else:
        plots_llr.plot_ece(*classes, paths, above)


if __name__ == "__main__":
    run_step(plot_scores)
