#!/usr/bin/env python3
"""A score file in another form: text into binary, or back."""

import logging
from pathlib import Path

from timbre.datadir.trials import read_scores, read_trials, write_scores
from timbre.utils.cli import run_step


def copy_scores(trials: Path, scores: Path, out: Path) -> None:
    """Write OUT, the scores of TRIALS in the order of the list. Every step that reads scores reads both forms.

    Args:
        trials: the trial list, text or .npz
        scores: "enroll test score" lines in any order, or a .npy in the order of TRIALS
        out: the file to write: a name that ends in .npy makes it binary, one float32 a trial, any other text
    """
    trial_list = read_trials(trials)
    write_scores(out, trial_list, read_scores(scores, trial_list))
    logging.info("%s: %d scores", out, len(trial_list))


if __name__ == "__main__":
    run_step(copy_scores)
