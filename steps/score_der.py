#!/usr/bin/env python3
"""Diarization and Jaccard error rates of an RTTM file, and timelines of who speaks when."""

import json
from pathlib import Path

from timbre.datadir.rttm import read_rttm, read_uem
from timbre.diarization.der import DerOptions, as_json, check_apart, measure, pool, table
from timbre.utils.cli import run_step
from timbre.utils.files import atomic_write


def score_der(
    reference: Path,
    hypothesis: Path,
    out: Path | None = None,
    uem: Path | None = None,
    der: DerOptions = DerOptions(),
    tuned_on: Path | None = None,
    draws: int = 1000,
    seed: int = 0,
    plot_dir: Path | None = None,
    plot_recordings: list[str] = [],  # noqa: B006 (shown as the default)
) -> None:
    """Print the error rates of HYPOTHESIS against REFERENCE: miss, false alarm, confusion, for each recording and all.

    By pyannote.metrics, with the mapping of speakers that has the fewest errors. Intervals are over recordings.

    Args:
        reference: RTTM of who really speaks when
        hypothesis: RTTM to measure
        out: JSON file to write all figures to
        uem: what is to be scored of each recording; by default from the first turn to the last
        der: collar and overlap
        tuned_on: RTTM that thresholds were tuned on; a recording or speaker of it in REFERENCE is an error
        draws: number of draws of recordings for the intervals
        seed: of the draws
        plot_dir: write PLOT_DIR/<recording>.png and .svg: the speakers of REFERENCE above those of HYPOTHESIS. Colours
            match in the mapping of speakers that has most time in common; who was found and matches nobody is grey
        plot_recordings: those to plot, [a,b] (default: all of REFERENCE)
    """
    truth = read_rttm(reference)
    if tuned_on is not None:
        check_apart(read_rttm(tuned_on), truth)
    found = read_rttm(hypothesis)
    errors = measure(truth, found, None if uem is None else read_uem(uem), der)
    pooled = pool(errors, draws, seed)
    if out is not None:
        with atomic_write(out) as file:
            json.dump(as_json(errors, pooled, der), file, indent=1)
            file.write("\n")
    if plot_dir is not None:
        from timbre.diarization.timeline import plot_timelines  # imports matplotlib: not for --help

        plot_timelines(truth, found, plot_dir, plot_recordings, reference)
    print(f"{hypothesis}: {der}")
    print(table(errors, pooled))


if __name__ == "__main__":
    run_step(score_der)
