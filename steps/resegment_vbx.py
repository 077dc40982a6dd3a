#!/usr/bin/env python3
"""Better speakers of windows, by VBx: a hidden Markov model of speakers in the space of PLDA."""

import logging
from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.diarization.vbx import VbxOptions
from timbre.utils.cli import run_step


def resegment_vbx(
    windows_dir: Path,
    xvectors: Path,
    labels: Path,
    backend_dir: Path,
    out_dir: Path,
    vbx: VbxOptions = VbxOptions(),
    nj: int = 2,
) -> None:
    """Write OUT_DIR/labels and OUT_DIR/rttm, from LABELS on, of which there should be too many rather than too few.

    Speakers are dropped and windows change speaker until the bound on the likelihood rises no more; none is added
    (Landini et al. 2022).

    Args:
        windows_dir: what steps/make_windows.py wrote
        xvectors: embeddings of the windows (scp or ark)
        labels: what steps/cluster_windows.py wrote
        backend_dir: what train_backend.py wrote
        out_dir: where to write
        vbx: scales and probabilities, or a YAML file of them
        nj: number of jobs
    """
    from timbre.backend.backends import PldaBackend
    from timbre.diarization.clustering import (
        Resegmenter,
        read_labels,
        read_recordings,
        resegment_all,
        write_diarization,
    )

    windows = DataDir.read(windows_dir)
    first = read_labels(labels, windows.segments)
    recordings = read_recordings(windows, xvectors)
    found = resegment_all(recordings, first, Resegmenter(PldaBackend.read(backend_dir), vbx), nj)
    write_diarization(out_dir, windows.segments, found)
    before, after = (
        len({(windows.segments[name].recording, speaker) for name, speaker in listed.items() if name in found})
        for listed in (first, found)
    )
    logging.info("%s: %d speakers of %d recordings, %d before", out_dir, after, len(recordings), before)


if __name__ == "__main__":
    run_step(resegment_vbx)
