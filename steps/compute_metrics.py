#!/usr/bin/env python3
"""EER, minDCF and their intervals of one score file."""

import json as json_format
from pathlib import Path

from steps.backend.results import measure
from steps.datadir.trials import read_scores, read_trials
from steps.utils.cli import run_step
from steps.utils.files import atomic_write


def compute_metrics(
    trials: Path,
    scores: Path,
    json: Path | None = None,
    llr: bool = False,
    utt2spk: Path | None = None,
    protocol: str = "whole utterance",
    draws: int = 1000,
    seed: int = 0,
    nj: int = 4,
) -> None:
    """Prints EER, ROCCH-EER and minDCF at priors 0.05, 0.01 and 0.001, with 95 % intervals by bootstrap over speakers.

    Args:
        trials: trial list, "enroll test target|nontarget" or "1|0 enroll test"
        scores: "enroll test score" lines, in any order; named <trials>.<backend>
        json: write the record to this file as well
        llr: the scores are log-likelihood ratios: give actDCF and Cllr too
        utt2spk: whose the utterances are; by default the utt2spk beside TRIALS, otherwise what the target trials tie
        protocol: how the embeddings were made, for the record
        draws: number of draws of speakers; 0 for no intervals
        seed: of the draws
        nj: number of threads
    """
    trial_list = read_trials(trials)
    name, _, backend = scores.name.rpartition(".")
    record, _ = measure(
        trials,
        trial_list,
        read_scores(scores, trial_list),
        name=name or trials.name,
        backend=backend,
        llr=llr,
        protocol=protocol,
        utt2spk=utt2spk,
        num_draws=draws,
        seed=seed,
        nj=nj,
    )
    print(record)
    if json:
        with atomic_write(json) as file:
            json_format.dump(record.as_json(), file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    run_step(compute_metrics)
