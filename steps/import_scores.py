#!/usr/bin/env python3
"""Scores of another toolkit as a score file of ours, to be measured and compared like any other."""

import logging
from pathlib import Path

from timbre.datadir.foreign_scores import ForeignScores
from timbre.datadir.trials import read_trials, write_scores, write_trials
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def import_scores(
    foreign: Path,
    scores: Path,
    trials: Path | None = None,
    write_list: Path | None = None,
    columns: list[str] = [],  # noqa: B006 (shown as the default)
    negate: bool = False,
) -> None:
    """Write SCORES, "enroll test score" lines, from FOREIGN, a file of Kaldi, WeSpeaker, SpeechBrain, ESPnet, NIST, ...

    Columns may be separated by blanks, tabs, commas or semicolons, and be named in a first line; otherwise they are
    told by what stands in them (a label is target, nontarget, 1, 0, ...). A file that could be read in two ways is
    refused.

    Args:
        foreign: the file to read
        scores: the file to write; call it <name of the trials>.<back-end>
        trials: trial list; scores are written in its order, labels must agree with it, and names of files such as
            a/b/1.wav are found as a-b-1, too. Needed if FOREIGN has no ids: its lines are then those of the list
        write_list: write the labels of FOREIGN to this trial list
        columns: what the columns are, in order, such as [enroll,test,-,score]: enroll, test, pair (enroll*test), score,
            label, or - for what is of no interest
        negate: they are distances: a smaller one is a better match
    """
    found = ForeignScores.read(foreign, columns)
    values = -found.scores if negate else found.scores
    trial_list = read_trials(trials) if trials else found.trials()
    if write_list:
        if found.target is None:
            raise DataError("there are no labels for a trial list in it", foreign)
        write_trials(write_list, found.trials())
    if trials:
        values = (-1 if negate else 1) * found.align(trial_list, trials)
    write_scores(scores, trial_list, values)
    logging.info("%s: %d scores, read as %s", scores, len(values), " ".join(found.columns))


if __name__ == "__main__":
    run_step(import_scores)
