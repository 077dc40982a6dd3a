#!/usr/bin/env python3
"""EER, minDCF and their intervals of one score file."""

from pathlib import Path

from steps.backend.results import Evaluation, write_json
from steps.utils.cli import run_step


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
    """Print EER, ROCCH-EER and minDCF at priors 0.05, 0.01 and 0.001, with 95 % intervals by bootstrap over speakers.

    Args:
        trials: trial list, "enroll test target|nontarget" or "1|0 enroll test"
        scores: "enroll test score" lines, in any order; the file is named <name of the trials>.<back-end>
        json: write the record to this file as well
        llr: the scores are log-likelihood ratios: give actDCF and Cllr too
        utt2spk: speakers of the utterances; by default the utt2spk beside TRIALS. Where there is none, utterances that
            target trials connect are one speaker
        protocol: how the embeddings were made, for the record
        draws: number of draws of speakers; 0 for no intervals
        seed: of the draws
        nj: number of threads
    """
    result = Evaluation(trials, scores, llr, protocol, utt2spk, draws, seed).run(nj)
    print(result.record)
    if json:
        write_json(json, result.record.as_json())


if __name__ == "__main__":
    run_step(compute_metrics)
