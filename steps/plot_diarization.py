#!/usr/bin/env python3
"""Timelines of recordings: who really speaks when, and who was found to."""

from pathlib import Path

from timbre.datadir.rttm import read_rttm
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def plot_diarization(reference: Path, hypothesis: Path, out_dir: Path, recordings: list[str] = []) -> None:  # noqa: B006
    """Write OUT_DIR/<recording>.png and .svg: the speakers of REFERENCE above those of HYPOTHESIS.

    Colours match in the mapping of speakers that has most time in common; who was found and matches nobody is grey.

    Args:
        reference: RTTM of who really speaks when
        hypothesis: RTTM of what was found
        out_dir: where the plots go
        recordings: those to plot, [a,b] (default: all of REFERENCE)
    """
    from timbre.diarization.timeline import plot_timeline  # imports matplotlib: not for --help

    truth, found = read_rttm(reference), read_rttm(hypothesis)
    for recording in recordings or truth:
        if recording not in truth:
            raise DataError(f"no recording '{recording}' in it", reference)
        name = recording.replace("/", "%2F")
        paths = [out_dir / f"{name}{suffix}" for suffix in (".png", ".svg")]
        plot_timeline(truth[recording], found.get(recording, []), paths, recording)


if __name__ == "__main__":
    run_step(plot_diarization)
