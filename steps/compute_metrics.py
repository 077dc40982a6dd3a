#!/usr/bin/env python3
"""EER, minDCF, Cllr and their intervals of one score file."""

from pathlib import Path

from timbre.evaluation.results import Evaluation, write_json
from timbre.utils.cli import run_step


def compute_metrics(
    trials: Path,
    scores: Path,
    json: Path | None = None,
    llr: bool = False,
    utt2spk: Path | None = None,
    protocol: str = "whole utterance",
    draws: int = 1000,
    seed: int = 0,
    priors: list[float | str] = [0.05, 0.01, 0.001],  # noqa: B006 (shown as the default)
    two_way: bool = False,
    nj: int = 4,
) -> None:
    """Print EER, ROCCH-EER, minDCF and minCllr of SCORES, with 95 % intervals by bootstrap over speakers.

    Args:
        trials: trial list, "enroll test target|nontarget" or "1|0 enroll test"
        scores: "enroll test score" lines, in any order; the file is named <name of the trials>.<back-end>, or
            <name of the trials>.<back-end>@<protocol>
        json: write the record to this file as well
        llr: the scores are log-likelihood ratios: give actDCF and Cllr too
        utt2spk: speakers of the utterances; by default the utt2spk beside TRIALS. Where there is none, utterances that
            target trials connect are one speaker
        protocol: how the embeddings were made, for the record, where the name of the file does not tell
        draws: number of draws of speakers; 0 for no intervals
        seed: of the draws
        priors: operating points of minDCF and actDCF, [0.05,0.01:10:1,...]: the prior of a target or, with the costs of
            a miss and of a false alarm, PRIOR:MISS_COST:FALSE_ALARM_COST
        two_way: draw enrolment and test speakers apart: for lists whose two sides are of different making; wider
        nj: number of threads
    """
    result = Evaluation(trials, scores, llr, protocol, utt2spk, draws, seed, tuple(map(str, priors)), two_way).run(nj)
    print(result.record)
    if json:
        write_json(json, result.record.as_json())


if __name__ == "__main__":
    run_step(compute_metrics)
