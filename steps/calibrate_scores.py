#!/usr/bin/env python3
"""Log-likelihood ratios of a trial list by a trained calibration or fusion."""

import logging
from pathlib import Path

from timbre.datadir.pair_tables import read_pairs
from timbre.datadir.trials import write_scores
from timbre.utils.cli import run_step


def calibrate_scores(
    calibration_dir: Path,
    trials: Path,
    scores: Path | list[Path],
    out: Path,
    measures: list[Path] = [],  # noqa: B006 (shown as the default)
    labels: list[Path] = [],  # noqa: B006
    enroll_spk2utt: Path | None = None,
    utt2spk: Path | None = None,
    adapted: bool = False,
) -> None:
    """Write OUT, "enroll test log-likelihood-ratio" a line, in the order of TRIALS.

    Refused where TRIALS have a speaker or an utterance that the calibration was trained on.

    Args:
        calibration_dir: what train_calibration.py wrote
        trials: trial list, "enroll test target|nontarget" or "1|0 enroll test" or, without labels, "enroll test"
        scores: score files of TRIALS by the same back-ends, in the same order, as in training
        out: the score file to write
        measures: the tables of the same quality measures
        labels: the tables of the same labels
        enroll_spk2utt: enrolment ids named here are models; their measures are averaged
        utt2spk: speakers of the trials; by default the utt2spk beside TRIALS
        adapted: the scores may be of those back-ends adapted to another domain, eval.plda_adapted_asnorm for
            plda_asnorm
    """
    from timbre.decision.calibration import Calibration  # scipy takes half a second: not for --help
    from timbre.decision.overlap import Who
    from timbre.decision.quality import check_terms, trial_values

    path = calibration_dir / "calibration.yaml"
    calibration = Calibration.read(path)
    trial_list = read_pairs(trials)
    Who.read(calibration_dir).refuse(Who.of(trials, trial_list, utt2spk, enroll_spk2utt))
    files = scores if isinstance(scores, list) else [scores]
    terms, values = trial_values(trial_list, files, measures, labels, enroll_spk2utt)
    check_terms(terms, calibration.given, path, adapted)
    write_scores(out, trial_list, calibration.apply(values))
    logging.info("%s: %d trials, %s", out, len(trial_list), calibration)


if __name__ == "__main__":
    run_step(calibrate_scores)
