#!/usr/bin/env python3
"""Embeddings of the utterances of a data directory by a trained network."""

from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.feats.protocols import Protocol
from timbre.feats.vad import VadOptions
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError
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
    protocols: list[str] = [],  # noqa: B006 (shown as the default)
    vad: VadOptions = VadOptions(),
    allow_missing: Allowed = 0,
    nj: int = 2,
) -> None:
    """Write OUT_STEM.ark and OUT_STEM.scp, one vector for every utterance of DATA_DIR, or for each of its crops.

    Features are normalised as they were in training. Utterances shorter than the network's context are repeated up to
    it. Utterances without features or with an embedding that is not finite are listed in OUT_STEM.missing, and make the
    step fail at its end. An interrupted run is gone on with. On several GPUs: torchrun --nproc-per-node N ...

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
        protocol: full, the whole utterance; len2s, 2 s from the middle of the recording, voiced and normalised by their
            own frames, as if there were no more of it, or all of a recording that is no longer; len2s_seen_whole, 2 s
            of the frames that the whole utterance says are voiced, normalised by the whole, which know more than 2 s
            can; tta10x400, 10 crops of 400 voiced frames from its start to its end, whose vectors are named UTT#00,
            UTT#01, ...; tta5x3s+full, 5 crops of 3 s, and the whole as UTT#full. Other numbers will do; crops and
            what has seen the whole are repeated where there is less of it. Crops named tta10x400_recorded are of the
            recording, pauses and all, each voiced and normalised by itself
        protocols: several in one pass, [len1s,len2s]: vectors of each go to PROTOCOL/ in the folder of OUT_STEM
        vad: options of the energy VAD of pieces that are voiced by themselves: those that compute_vad.py was given
        allow_missing: go on, without them, when at most this many utterances, or this share (2%), have no embedding
        nj: threads that read and normalise features ahead of the network
    """
    from timbre.embedding.extract import ExtractOptions  # torch takes seconds: not for --help
    from timbre.embedding.vector_parts import dump_embeddings

    if protocols and protocol != "full":
        raise DataError("--protocol or --protocols, not both")
    stems = {Protocol.named(name): out_stem.parent / name / out_stem.name for name in protocols}
    options = ExtractOptions(batch_frames, max_frames, bf16, overlap)
    data = DataDir.read(data_dir, need_speakers=False)
    stems = stems or {Protocol.named(protocol): out_stem}
    dump_embeddings(model_dir, data, stems, options, device, nj, allow_missing, vad)


if __name__ == "__main__":
    run_step(extract_embeddings)
