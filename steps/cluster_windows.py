#!/usr/bin/env python3
"""Speakers of the windows of recordings, by clustering their embeddings."""

import logging
from pathlib import Path
from typing import Literal

from timbre.datadir.datadir import DataDir
from timbre.diarization.spectral import SpectralOptions
from timbre.runtime.ahc import AhcOptions
from timbre.utils.cli import run_step


def cluster_windows(
    windows_dir: Path,
    xvectors: Path,
    out_dir: Path,
    method: Literal["ahc", "spectral"] = "ahc",
    scoring: Literal["cosine", "plda"] = "plda",
    backend_dir: Path | None = None,
    target_energy: float = 1.0,
    ahc: AhcOptions = AhcOptions(),
    spectral: SpectralOptions = SpectralOptions(),
    reco2num_spk: Path | None = None,
    nj: int = 2,
) -> None:
    """Write OUT_DIR/labels ("window speaker") and OUT_DIR/rttm, which says who speaks when.

    Where two windows overlap, the first half of the overlap is the first one's. One speaker at a time is found.

    Args:
        windows_dir: what steps/make_windows.py wrote
        xvectors: embeddings of the windows (scp or ark)
        out_dir: where to write
        method: agglomerative clustering as Kaldi's agglomerative-cluster, or spectral clustering
        scoring: how windows are compared: cosine, or log-likelihood ratio of PLDA
        backend_dir: mean.vec, transform.mat and plda, as train_backend.py writes them; for cosine mean.vec alone
        target_energy: PLDA works in the space that holds this share of a recording's variance, as Kaldi's
            ivector-plda-scoring-dense
        ahc: threshold and limits of agglomerative clustering, or a YAML file of them
        spectral: connections and limits of spectral clustering, or a YAML file of them
        reco2num_spk: numbers of speakers, where they are known: "recording number" a line
        nj: number of jobs; each holds the scores of all pairs of windows of a recording
    """
    from timbre.diarization.clustering import Clusterer, cluster_all, read_recordings, read_scorer, write_diarization

    windows = DataDir.read(windows_dir)
    recordings = read_recordings(windows, xvectors, reco2num_spk)
    scorer = read_scorer(scoring, backend_dir, target_energy)
    labels = cluster_all(recordings, Clusterer(scorer, ahc if method == "ahc" else spectral), nj)
    write_diarization(out_dir, windows.segments, labels)
    count = len({(windows.segments[name].recording, speaker) for name, speaker in labels.items()})
    logging.info("%s: %d windows of %d recordings, %d speakers", out_dir, len(labels), len(recordings), count)


if __name__ == "__main__":
    run_step(cluster_windows)
