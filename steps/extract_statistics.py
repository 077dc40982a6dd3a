#!/usr/bin/env python3
"""Mean and standard deviation of the features of each utterance: the embedding that a network has to beat."""

from pathlib import Path

from timbre.datadir.ark import write_vectors
from timbre.datadir.datadir import DataDir
from timbre.feats.mean_std import statistics_of
from timbre.feats.normalize import NormalizeOptions
from timbre.feats.utterances import check_failures, list_utterances
from timbre.utils.cli import run_step
from timbre.utils.jobs import run_jobs


def extract_statistics(
    data_dir: Path,
    out_stem: Path,
    normalize: NormalizeOptions = NormalizeOptions(),
    allow_missing: int = 0,
    nj: int = 2,
) -> None:
    """Write OUT_STEM.ark and OUT_STEM.scp: for every utterance of DATA_DIR the means, then the standard deviations.

    Args:
        data_dir: Kaldi data directory with feats.scp, and vad.scp if voiced frames are to be selected
        out_stem: where to write, without .ark
        normalize: mean normalisation and selection of frames, by default those of the networks; with cmn none the
            means keep the channel of the recording, which helps where a speaker has but one
        allow_missing: go on, without them, when at most this many utterances have no features
        nj: number of jobs
    """
    import numpy as np

    utterances = list_utterances(DataDir.read(data_dir, need_speakers=False), normalize)
    parts = [utterances[start : start + 500] for start in range(0, len(utterances), 500)]
    results = [item for part in run_jobs(statistics_of, parts, nj, "statistics", "500 utts") for item in part]
    failures = {utt: found for utt, found in results if isinstance(found, str)}
    vectors = {utt: found for utt, found in results if not isinstance(found, str)}
    check_failures(failures, allow_missing, len(utterances), "statistics")
    write_vectors(out_stem, list(vectors), np.stack(list(vectors.values())))


if __name__ == "__main__":
    run_step(extract_statistics)
