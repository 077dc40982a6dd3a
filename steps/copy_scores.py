#!/usr/bin/env python3
"""A score file in another form: text, binary, or what another toolkit writes, to be measured like any other."""

import logging
from pathlib import Path

from timbre.datadir.foreign_scores import ForeignScores, is_own_form
from timbre.datadir.trials import read_scores, read_trials, write_scores, write_trials
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def copy_scores(
    scores: Path,
    out: Path,
    trials: Path | None = None,
    write_list: Path | None = None,
    columns: list[str] = [],  # noqa: B006 (shown as the default)
    negate: bool = False,
) -> None:
    """Write OUT from SCORES: "enroll test score" lines, a .npy, or a file of WeSpeaker, SpeechBrain, ESPnet, NIST, ...

    The columns of another toolkit may be separated by blanks, tabs, commas or semicolons, and be named in a first line;
    otherwise they are told by what stands in them (a label is target, nontarget, 1, 0, ...). A file that could be read
    in two ways is refused.

    Args:
        scores: the file to read; its lines may have any order, but a .npy, and a file without ids, has that of TRIALS
        out: the file to write, best called <name of the trials>.<back-end>: a name that ends in .npy makes it binary,
            one float32 a trial, any other text
        trials: trial list, text or .npz: OUT is written in its order, labels must agree with it, and names of files
            such as a/b/1.wav are found as a-b-1, too. Needed if SCORES has no ids
        write_list: write the labels of SCORES to this trial list
        columns: what the columns are, in order, such as [enroll,test,-,score]: enroll, test, pair (enroll*test), score,
            label, or - for what is of no interest
        negate: they are distances: a smaller one is a better match
    """
    trial_list = read_trials(trials) if trials else None
    if trial_list is not None and not columns and write_list is None and is_own_form(scores, trial_list):
        values, form = read_scores(scores, trial_list), "our own form"
    else:
        found = ForeignScores.read(scores, columns)
        form = " ".join(found.columns)
        if write_list:
            if found.target is None:
                raise DataError("there are no labels for a trial list in it", scores)
            write_trials(write_list, found.trials())
        values = found.scores if trials is None or trial_list is None else found.align(trial_list, trials)
        trial_list = found.trials() if trial_list is None else trial_list
    write_scores(out, trial_list, -values if negate else values)
    logging.info("%s: %d scores, read as %s", out, len(trial_list), form)


if __name__ == "__main__":
    run_step(copy_scores)
