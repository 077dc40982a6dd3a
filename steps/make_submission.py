#!/usr/bin/env python3
"""Answers to a list of pairs without labels: one speaker or two, row by row, in the form that the list was given in."""

import logging
from pathlib import Path
from typing import Literal

from timbre.decision.submission import Rows
from timbre.evaluation.decided import held_out_threshold
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def make_submission(
    rows: Path,
    scores: Path,
    out: Path,
    held_out_trials: Path | None = None,
    held_out_scores: Path | None = None,
    threshold: float | None = None,
    fill: Literal["label", "score"] = "label",
) -> None:
    """Write OUT, "file_name,file_name_,label" a row, in the order of ROWS; a cell is empty where audio is missing.

    Args:
        rows: pair_rows.csv of a data directory (local/prepare_dacon.py): the list, and what stands for one speaker and
            for two
        scores: a score file of its pairs
        out: the CSV file to write
        held_out_trials: a trial list of other speakers: the threshold is where misses and false alarms are equal there
        held_out_scores: its scores by the same system
        threshold: instead, a threshold: one speaker from there on
        fill: what the last column has: the label, or the score itself
    """
    if (threshold is None) == (held_out_trials is None) or (held_out_trials is None) != (held_out_scores is None):
        raise DataError("a threshold is wanted: --threshold, or --held-out-trials with --held-out-scores")
    listed = Rows.read(rows)
    found = listed.scores(scores)
    if held_out_trials is not None and held_out_scores is not None:
        threshold = held_out_threshold(held_out_trials, held_out_scores)
    assert threshold is not None
    listed.write(out, found, threshold, fill)
    same, absent = int((found >= threshold).sum()), int((found != found).sum())  # NaN: no score
    logging.info("%s: %d of %d pairs of one speaker, at threshold %.4g", out, same, len(found), threshold)
    if absent:
        logging.warning("%s: %d rows are empty, since their audio is not there", out, absent)


if __name__ == "__main__":
    run_step(make_submission)
