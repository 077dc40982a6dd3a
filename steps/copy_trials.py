#!/usr/bin/env python3
"""A trial list in another form: text into binary, or back."""

import logging
from pathlib import Path

from timbre.datadir.trials import read_trials, write_trials
from timbre.utils.cli import run_step


def copy_trials(trials: Path, out: Path) -> None:
    """Write OUT, the trials of TRIALS in the same order. Every step that reads trial lists reads both forms.

    Args:
        trials: "enroll test target|nontarget" or "1|0 enroll test" lines, or a .npz written by this step
        out: the file to write: a name that ends in .npz makes it binary (numpy arrays; a list of 10^8 trials is
            read in about a second), any other "enroll test target|nontarget" lines
    """
    trial_list = read_trials(trials)
    write_trials(out, trial_list)
    logging.info("%s: %s", out, trial_list.summary())


if __name__ == "__main__":
    run_step(copy_trials)
