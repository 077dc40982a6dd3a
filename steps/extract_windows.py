#!/usr/bin/env python3
"""Embeddings of the windows of recordings by a trained network, for diarization."""

from pathlib import Path
from typing import Literal

from timbre.datadir.datadir import DataDir
from timbre.diarization.recordings import frame_shift
from timbre.utils.cli import run_step
from timbre.utils.missing import Allowed, check_missing


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

    Features are read once for a recording, and windows are cut out of them.

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
    from timbre.diarization.window_feats import read_windows  # torch takes seconds: not for --help
    from timbre.embedding.extract import ExtractOptions, device_named, extract_embeddings
    from timbre.nnet.model import load_model

    network, normalization = load_model(model_dir, device_named(device))
    segments = DataDir.read(windows_dir).segments
    data = DataDir.read(data_dir, need_speakers=False)
    windows = read_windows(data, segments, normalization, frame_shift(data), cmn, voiced_only)
    result = extract_embeddings(network, windows, ExtractOptions(batch_frames, bf16=bf16), total=len(segments))
    table = out_stem.with_name(f"{out_stem.name}.missing")
    check_missing(result.failures, len(segments), allow_missing, table, "embedding", "windows")
    result.write(out_stem)


if __name__ == "__main__":
    run_step(extract_windows)
