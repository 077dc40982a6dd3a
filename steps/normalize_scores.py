#!/usr/bin/env python3
"""Z-, T-, S- or AS-norm of a score file."""

import logging
from pathlib import Path

from timbre.backend.backends import PldaOverrides, backend_of
from timbre.backend.crop_scores import CropBackend
from timbre.backend.list_parts import normalize_list
from timbre.backend.score_norm import Method, read_cohort
from timbre.backend.vectors import MultiEnroll, read_sides
from timbre.datadir.pair_tables import read_pairs
from timbre.datadir.tables import read_ids
from timbre.datadir.trials import read_scores
from timbre.evaluation.speakers import trial_speakers
from timbre.utils.cli import run_step


def normalize_scores(
    trials: Path,
    scores: Path,
    enroll_scp: Path,
    test_scp: Path,
    cohort_scp: Path,
    out: Path,
    method: Method = "as-norm",
    top_n: int = 300,
    cohort_utt2spk: Path | None = None,
    cohort_like: Path | None = None,
    backend_dir: Path | None = None,
    plda: PldaOverrides = PldaOverrides(),
    mean: Path | None = None,
    transform: Path | None = None,
    enroll_spk2utt: Path | None = None,
    multi_enroll: MultiEnroll = "average",
    utt2spk: Path | None = None,
    nj: int = 4,
    num_parts: int | None = None,
) -> None:
    """Write OUT: each score measured in the mean and deviation of cohort scores.

    Args:
        trials: trial list, "enroll test target|nontarget" or "1|0 enroll test" or, without labels, "enroll test"
        scores: what score_trials.py wrote
        enroll_scp: embeddings of the enrolment side (scp or ark)
        test_scp: embeddings of the test side, often the same file
        cohort_scp: embeddings of the cohort, never of the test set; speakers of the trials are left out
        out: the score file to write
        method: z-norm takes the cohort scores of the enrolment side, t-norm those of the test side, s-norm the mean of
            both; as-norm s-norm with the top_n highest of each side, as-norm2 with those against the other's top_n
        top_n: how many; at most the whole cohort
        cohort_utt2spk: average the cohort's embeddings by speaker; without it each utterance is a member
        cohort_like: instead as many of its utterances as this file lists, of drawn speakers, like a cohort without them
        backend_dir: as given to score_trials.py, so that the cohort is scored alike; without it SCORES are cosines
        plda: as given to it
        mean: as given to it
        transform: as given to it
        enroll_spk2utt: as given to it
        multi_enroll: as given to it
        utt2spk: speakers of the trials; by default the utt2spk beside TRIALS
        nj: number of threads, or of jobs at a time
        num_parts: as in score_trials.py; as-norm2 is not made in parts
    """
    backend = backend_of(backend_dir, plda, mean, transform)
    trial_list = read_pairs(trials)
    paths = enroll_scp, test_scp, enroll_spk2utt
    sides = read_sides(trial_list.enroll_ids, trial_list.test_ids, *paths, multi_enroll, crops=True)
    speakers = trial_speakers(trials, trial_list, utt2spk)
    tried, single = {*sides[0].ids, *sides[1].ids}, len(read_ids(cohort_like)) if cohort_like else None
    cohort = read_cohort(cohort_scp, cohort_utt2spk, speakers.names, tried, single)
    backend = CropBackend.around(backend, sides)
    normalize_list(
        out, trials, trial_list, read_scores(scores, trial_list), backend, sides, cohort, method, top_n, nj, num_parts
    )
    size = min(top_n, len(cohort.ids)) if method.startswith("as-norm") else len(cohort.ids)
    logging.info("%s: %s, %d of a cohort of %d", out, method, size, len(cohort.ids))


if __name__ == "__main__":
    run_step(normalize_scores)
