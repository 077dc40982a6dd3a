#!/usr/bin/env python3
"""Scores of a trial list: cosines, or what a trained back-end makes of the embeddings."""

from pathlib import Path

from timbre.backend.backends import PldaOverrides, backend_of
from timbre.backend.score_list import score_list
from timbre.backend.vectors import MultiEnroll
from timbre.utils.cli import run_step


def score_trials(
    trials: Path,
    enroll_scp: Path,
    test_scp: Path,
    scores: Path,
    backend_dir: Path | None = None,
    plda: PldaOverrides = PldaOverrides(),
    mean: Path | None = None,
    transform: Path | None = None,
    enroll_spk2utt: Path | None = None,
    multi_enroll: MultiEnroll = "average",
    nj: int = 4,
    num_parts: int | None = None,
) -> None:
    """Write SCORES, "enroll test score" a line, in the order of TRIALS: cosines or log-likelihood ratios.

    Of utterances with several vectors, crops named UTT#00, UTT#01, ..., it is the mean over all pairs of crops.

    Args:
        trials: trial list, "enroll test target|nontarget" or "1|0 enroll test" or, without labels,
            "enroll test"; or a .npz of copy_trials.py
        enroll_scp: embeddings of the enrolment side (scp or ark)
        test_scp: embeddings of the test side, often the same file
        scores: the file to write; a name that ends in .npy makes it binary, float32 in the order of TRIALS. Killed in
            a list of many millions, the next run goes on
        backend_dir: what train_backend.py or adapt_plda.py wrote, or a folder with Kaldi's mean.vec, transform.mat and
            plda, the first two optional; without it the cosine of the embeddings as they are
        plda: options of Kaldi's ivector-plda-scoring where they are to be others than BACKEND_DIR says
        mean: without BACKEND_DIR: vector to subtract first, such as the mean.vec of train_backend.py
        transform: without BACKEND_DIR: matrix to apply next, such as the transform.mat of train_backend.py
        enroll_spk2utt: enrolment ids named here are models of several utterances
        multi_enroll: what is made of them: average, their embeddings are averaged and PLDA is told of how many, as
            Kaldi's recipes do with ivector-mean and --num-utts; scores, the score of each is computed and these are
            averaged; plda, the likelihood ratio of all of them, each projected and length-normalised by itself
        nj: number of threads, or of jobs at a time
        num_parts: split the list into so many parts, each a job (a process, or on run.sh's cluster), and merge them in
            order: the same bytes. By default nj parts of a list of more than 8 million where there is a cluster,
            otherwise threads. Parts are made anew after a kill
    """
    backend = backend_of(backend_dir, plda, mean, transform)
    score_list(backend, trials, enroll_scp, test_scp, scores, enroll_spk2utt, multi_enroll, nj, num_parts)


if __name__ == "__main__":
    run_step(score_trials)
