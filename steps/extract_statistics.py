#!/usr/bin/env python3
"""Mean and standard deviation of the features of each utterance: the embedding that a network has to beat."""

from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.embedding.vector_parts import dump_statistics
from timbre.runtime.normalize import NormalizeOptions
from timbre.utils.cli import run_step
from timbre.utils.missing import Allowed


def extract_statistics(
    data_dir: Path,
    out_stem: Path,
    normalize: NormalizeOptions = NormalizeOptions(),
    allow_missing: Allowed = 0,
    nj: int = 2,
) -> None:
    """Write OUT_STEM.ark and OUT_STEM.scp: for every utterance of DATA_DIR the means, then the standard deviations.

    Args:
        data_dir: Kaldi data directory with feats.scp, and vad.scp if voiced frames are to be selected
        out_stem: where to write, without .ark
        normalize: mean normalisation and selection of frames, by default those of the networks; with cmn none the
            means keep the channel of the recording, which helps where a speaker has but one
        allow_missing: go on, without them, when at most this many utterances, or this share (2%), have no features
        nj: number of jobs
    """
    dump_statistics(DataDir.read(data_dir, need_speakers=False), out_stem, normalize, nj, allow_missing)


if __name__ == "__main__":
    run_step(extract_statistics)
