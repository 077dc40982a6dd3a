#!/usr/bin/env python3
"""Resampled and band-passed copies of the audio of a data directory."""

from pathlib import Path
from typing import Literal

from steps.audio.filters import BandpassOptions
from steps.audio.preprocess import preprocess_audio as preprocess
from steps.datadir.datadir import DataDir
from steps.utils.cli import run_step


def preprocess_audio(
    data_dir: Path,
    out_dir: Path,
    rate: int | None = None,
    bandpass: BandpassOptions | None = None,
    channel: int = -1,
    format: Literal["flac", "wav"] = "flac",
    nj: int = 4,
) -> None:
    """Write OUT_DIR, a copy of DATA_DIR with new 16-bit audio under OUT_DIR/audio.

    Args:
        data_dir: Kaldi data directory with wav.scp
        out_dir: the new data directory
        rate: sample rate to resample to, in Hz; without it the rate stays
        bandpass: Butterworth band-pass after the resampling (`--bandpass.low 300 --bandpass.high 3400`)
        channel: of audio with several channels, from 0; -1: only mono is accepted
        format: of the new audio files
        nj: number of jobs
    """
    preprocess(DataDir.read(data_dir), out_dir, nj, rate, bandpass, channel, format)


if __name__ == "__main__":
    run_step(preprocess_audio)
