#!/usr/bin/env python3
"""Cosine scores of a trial list."""

from pathlib import Path
from typing import Literal

from timbre.backend.backends import CosineBackend
from timbre.backend.score_list import score_list
from timbre.utils.cli import run_step


def score_cosine(
    trials: Path,
    enroll_scp: Path,
    test_scp: Path,
    scores: Path,
    mean: Path | None = None,
    transform: Path | None = None,
    enroll_spk2utt: Path | None = None,
    multi_enroll: Literal["average", "scores"] = "average",
    nj: int = 4,
) -> None:
    """Write SCORES, "enroll test cosine" a line, in the order of TRIALS.

    Args:
        trials: trial list, "enroll test target|nontarget" or "1|0 enroll test", or a .npz of copy_trials.py
        enroll_scp: embeddings of the enrolment side (scp or ark)
        test_scp: embeddings of the test side, often the same file
        scores: the file to write; a name that ends in .npy makes it binary, float32 in the order of TRIALS. Killed in
            a list of many millions, the next run goes on
        mean: vector to subtract first, such as the mean.vec of train_lda.py or train_plda.py
        transform: matrix to apply next, such as the transform.mat of train_lda.py
        enroll_spk2utt: enrolment ids named here are models of several utterances
        multi_enroll: what is made of them: average, their embeddings are averaged, as Kaldi's ivector-mean; scores,
            the cosine of each is computed and these are averaged
        nj: number of threads
    """
    backend = CosineBackend.read(mean, transform)
    score_list(backend, trials, enroll_scp, test_scp, scores, enroll_spk2utt, multi_enroll, nj)


if __name__ == "__main__":
    run_step(score_cosine)
