#!/usr/bin/env python3
"""Embeddings of the utterances of a data directory by a trained network."""

from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.feats.protocols import Protocol
from timbre.utils.cli import run_step
from timbre.utils.missing import Allowed


def extract_embeddings(
    model_dir: Path,
    data_dir: Path,
    out_stem: Path,
    device: str = "cpu",
    batch_frames: int | None = None,
    max_frames: int = 12000,
    overlap: float = 0.0,
    bf16: bool = False,
    protocol: str = "full",
    allow_missing: Allowed = 0,
    nj: int = 2,
    num_devices: int = 1,
) -> None:
    """Write OUT_STEM.ark and OUT_STEM.scp, one vector for every utterance of DATA_DIR, or for each of its crops.

    Features are normalised as they were in training. Utterances shorter than the network's context are repeated up to
    it. Utterances without features or with an embedding that is not finite are listed in OUT_STEM.missing, and make the
    step fail at its end. An interrupted run is gone on with.

    Args:
        model_dir: what steps/train.py wrote
        data_dir: Kaldi data directory with feats.scp, and vad.scp if the network was trained on voiced frames
        out_stem: where to write, without .ark
        device: cpu, cuda or cuda:N
        batch_frames: frames in a batch, padding included; less needs less memory. By default 3000 on a CPU, whose
            caches hold no more, and 60000 on a GPU
        max_frames: longer utterances are cut into equal windows of at most this many frames, and their embedding is
            the average of the windows'
        overlap: share of a window, below 1, that it has in common with the next. Above 0 all windows are max_frames
            long and the last one ends where the utterance ends: --max-frames 160 --overlap 0.5 for the LSTM of GE2E
        bf16: bfloat16 autocast: about twice as fast, less exact
        protocol: full, the whole utterance; len2s, 2 s of voiced frames from its middle; tta10x400, 10 crops of 400
            voiced frames from its start to its end, whose vectors are named UTT#00, UTT#01, ...; tta5x3s+full, 5 crops
            of 3 s, and the whole as UTT#full. Other numbers will do; an utterance that is shorter is repeated. With
            _recorded (len2s_recorded) crops are of the recording, pauses and all, each normalised by itself
        allow_missing: go on, without them, when at most this many utterances, or this share (2%), have no embedding
        nj: threads that read and normalise features ahead of the network
        num_devices: GPUs, cuda:0 and so on, that share the work, or with --device cpu processes of one thread
    """
    from timbre.embedding.extract import ExtractOptions  # torch takes seconds: not for --help
    from timbre.embedding.vector_parts import dump_embeddings

    options = ExtractOptions(batch_frames, max_frames, bf16, overlap)
    data = DataDir.read(data_dir, need_speakers=False)
    dump_embeddings(
        model_dir, data, out_stem, options, device, Protocol.named(protocol), nj, allow_missing, num_devices
    )


if __name__ == "__main__":
    run_step(extract_embeddings)
