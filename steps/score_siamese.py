#!/usr/bin/env python3
"""Scores of a trial list by the pair classifier of a siamese model."""

import logging
import os
from pathlib import Path
from typing import Literal

from timbre.backend.vectors import read_sides
from timbre.datadir.pair_tables import read_pairs
from timbre.datadir.trials import write_scores
from timbre.utils.cli import run_step


def score_siamese(
    trials: Path,
    enroll_scp: Path,
    test_scp: Path,
    model_dir: Path,
    scores: Path,
    enroll_spk2utt: Path | None = None,
    multi_enroll: Literal["average", "scores"] = "average",
    device: str = "cpu",
    nj: int = 4,
) -> None:
    """Write SCORES, "enroll test logit" a line, in the order of TRIALS; a logit above 0 says: the same speaker.

    Args:
        trials: trial list, "enroll test target|nontarget" or "1|0 enroll test" or, without labels, "enroll test"
        enroll_scp: embeddings of the enrolment side (scp or ark), as steps/extract_embeddings.py wrote them
        test_scp: embeddings of the test side, often the same file
        model_dir: what steps/train.py wrote, with the objective Siamese; the head is the mean over the
            checkpoints that final.pt is the mean of
        scores: the file to write
        enroll_spk2utt: enrolment ids named here are models of several utterances
        multi_enroll: what is made of them: average, their embeddings are averaged; scores, the logit of each is
            computed and these are averaged
        device: cpu, cuda or cuda:N
        nj: number of threads
    """
    import torch  # takes seconds: not for --help

    from timbre.backend.pair_scores import load_pair_head, score_models, score_pairs
    from timbre.embedding.extract import device_named

    torch.set_num_threads(max(1, min(nj, os.cpu_count() or 1)))
    trial_list = read_pairs(trials)
    head = load_pair_head(model_dir).to(device_named(device))
    sides = read_sides(trial_list.enroll_ids, trial_list.test_ids, enroll_scp, test_scp, enroll_spk2utt, multi_enroll)
    enroll, vectors = sides[0], sides[1].vectors
    pairs = vectors, trial_list.enroll, trial_list.test
    if enroll.sessions is None:
        logits = score_pairs(head, enroll.vectors, *pairs)
    else:
        logits = score_models(head, enroll.sessions.vectors, enroll.num_utts, *pairs)
    write_scores(scores, trial_list, logits)
    logging.info("%s: siamese scores of %d trials", scores, len(trial_list))


if __name__ == "__main__":
    run_step(score_siamese)
