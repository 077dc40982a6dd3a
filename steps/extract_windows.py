#!/usr/bin/env python3
"""Embeddings of the windows of recordings by a trained network, for diarization."""

from pathlib import Path
from typing import Literal

from timbre.datadir.datadir import DataDir
from timbre.utils.cli import run_step
from timbre.utils.missing import Allowed


def extract_windows(
    model_dir: Path,
    data_dir: Path,
    windows_dir: Path,
    out_stem: Path,
    cmn: Literal["recording", "window"] = "recording",
    voiced_only: bool = False,
    device: str = "cpu",
    batch_frames: int | None = None,
    bf16: bool = False,
    allow_missing: Allowed = 0,
) -> None:
    """Write OUT_STEM.ark and OUT_STEM.scp, one vector for every window of WINDOWS_DIR.

    Features are read once for a recording, and windows are cut out of them. An interrupted run is gone on with.

    Args:
        model_dir: what steps/train.py wrote
        data_dir: recordings with feats.scp, and vad.scp for --voiced-only
        windows_dir: what steps/make_windows.py made of them
        out_stem: where to write, without .ark
        cmn: normalise features by means around each frame of the recording, or of the window alone
        voiced_only: leave out the frames of a window that vad.scp calls unvoiced
        device: cpu, cuda or cuda:N
        batch_frames: frames in a batch; by default 3000 on a CPU and 60000 on a GPU
        bf16: bfloat16 autocast: about twice as fast, less exact
        allow_missing: go on, without them, when at most this many windows, or this share (2%), have no embedding
    """
    from timbre.diarization.window_feats import dump_windows  # torch takes seconds: not for --help
    from timbre.embedding.extract import ExtractOptions

    segments = DataDir.read(windows_dir).segments
    data = DataDir.read(data_dir, need_speakers=False)
    options = ExtractOptions(batch_frames, bf16=bf16)
    dump_windows(model_dir, data, segments, out_stem, options, device, cmn, voiced_only, allow_missing)


if __name__ == "__main__":
    run_step(extract_windows)
