#!/usr/bin/env python3
"""Thresholds of diarization, chosen on a development set."""

import logging
from pathlib import Path
from typing import Literal

from timbre.diarization.spectral import SpectralOptions
from timbre.diarization.vbx import VbxOptions
from timbre.runtime.ahc import AhcOptions
from timbre.utils.cli import run_step


def tune_diarization(
    windows_dir: Path,
    xvectors: Path,
    reference: Path,
    test_reference: Path,
    out_dir: Path,
    method: Literal["ahc", "spectral", "vbx"] = "ahc",
    values: dict[str, list[float]] = {},  # noqa: B006 (shown as the default)
    scoring: Literal["cosine", "plda"] = "plda",
    backend_dir: Path | None = None,
    target_energy: float = 1.0,
    labels: Path | None = None,
    uem: Path | None = None,
    ahc: AhcOptions = AhcOptions(),
    spectral: SpectralOptions = SpectralOptions(),
    vbx: VbxOptions = VbxOptions(),
    collar: float = 0.0,
    skip_overlap: bool = False,
    nj: int = 2,
) -> None:
    """Write OUT_DIR/METHOD.yaml, the options of lowest DER, and OUT_DIR/METHOD.tsv, all that were tried.

    Every combination of VALUES is tried. The file goes to steps/cluster_windows.py as --ahc or --spectral, to
    steps/resegment_vbx.py as --vbx. Recordings or speakers that development and test have in common are an error.

    Args:
        windows_dir: windows of the development set, as steps/make_windows.py writes them
        xvectors: their embeddings (scp or ark)
        reference: RTTM of the development set
        test_reference: RTTM of what will be tested
        out_dir: where to write
        method: what to tune
        values: options to vary with the values to try: '{threshold: [0.1, 0.2, 0.3]}'
        scoring: how windows are compared: cosine, or log-likelihood ratio of PLDA
        backend_dir: what train_backend.py wrote
        target_energy: as in steps/cluster_windows.py
        labels: for vbx: what steps/cluster_windows.py wrote for the development set
        uem: what is to be scored of each recording
        ahc: the other options of agglomerative clustering, or a YAML file of them
        spectral: the other options of spectral clustering, or a YAML file of them
        vbx: the other options of VBx, or a YAML file of them
        collar: seconds on each side of boundaries that are not scored
        skip_overlap: leave out where several speakers speak
        nj: number of jobs
    """
    from timbre.diarization import tuning
    from timbre.diarization.der import DerOptions

    options: tuning.Options = ahc if method == "ahc" else spectral if method == "spectral" else vbx
    candidates = tuning.grid(options, values)
    scored = DerOptions(collar, skip_overlap)
    development = tuning.Development.read(windows_dir, xvectors, reference, test_reference, uem, scored)
    trials = tuning.tune(development, candidates, scoring, backend_dir, target_energy, labels, nj)
    place = tuning.best(trials)
    tuning.write_tuning(out_dir, method, trials, candidates[place][1])
    logging.info("%s: %s on the development set", out_dir, trials[place])


if __name__ == "__main__":
    run_step(tune_diarization)
