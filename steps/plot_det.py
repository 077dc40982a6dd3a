#!/usr/bin/env python3
"""DET curves of one trial list, several systems in one plot."""

from pathlib import Path

from timbre.datadir.trials import read_scores, read_trials
from timbre.evaluation.metrics import roc, split
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def plot_det(trials: Path, scores: Path | list[Path], out: Path, title: str = "") -> None:
    """Plot miss against false-alarm rate into OUT, on normal-deviate axes, with the points of the EER and each minDCF.

    Args:
        trials: trial list of all the score files
        scores: a score file, or several as [a.cosine,a.plda]; a curve is named after its file
        out: the plot, .png, .svg or .pdf; without a suffix OUT.png and OUT.svg are both written
        title: to stand above the plot
    """
    from timbre.evaluation.plots import plot_det as draw  # matplotlib takes a second: not for --help
    from timbre.evaluation.plots import plot_paths

    files = scores if isinstance(scores, list) else [scores]
    if not files:
        raise DataError("no score file to plot")
    trial_list = read_trials(trials)
    curves = {path.name: roc(*split(read_scores(path, trial_list), trial_list.target, trials)) for path in files}
    draw(curves, plot_paths(out), title)


if __name__ == "__main__":
    run_step(plot_det)
