#!/usr/bin/env python3
"""Calibration of one score file, or fusion of several, with or without quality measures, by logistic regression."""

import logging
from pathlib import Path

from timbre.datadir.trials import read_trials
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def train_calibration(
    trials: Path,
    scores: Path | list[Path],
    out_dir: Path,
    measures: list[Path] = [],  # noqa: B006 (shown as the default)
    labels: list[Path] = [],  # noqa: B006
    scaled: bool = False,
    prior: float = 0.05,
    ridge: float | None = None,
    enroll_spk2utt: Path | None = None,
    utt2spk: Path | None = None,
) -> None:
    """Write OUT_DIR/calibration.yaml: scores of TRIALS to natural-log likelihood ratios; and who is in TRIALS.

    calibrate_scores.py applies it to other lists, and refuses those that share speakers or utterances with TRIALS.

    Args:
        trials: trial list with labels, of speakers that neither the network nor the back-end was trained on
        scores: score file of TRIALS, or several to fuse, as [dev.cosine,dev.plda]; named after what follows the dot
        out_dir: the folder to write into
        measures: quality measures, tables of numbers of make_quality.py, as [dev/utt2logdur,dev/utt2snr]
        labels: tables of labels, such as utt2sex: whether both sides have the same is a measure too
        scaled: quality measures move the slope too, not the offset alone: worth it where TRIALS are of many conditions
        prior: of a target: where the log-likelihood ratios are to be most exact
        ridge: weight of the squared weights, of values scaled to unit variance; bounds them where no errors do; by
            default 1e-6, and 1e-4 if --scaled
        enroll_spk2utt: enrolment ids named here are models; their measures are averaged
        utt2spk: speakers of the trials; by default the utt2spk beside TRIALS
    """
    from timbre.decision.calibration import Calibration  # scipy takes half a second: not for --help
    from timbre.decision.overlap import Who
    from timbre.decision.quality import trial_values

    trial_list = read_trials(trials)
    files = scores if isinstance(scores, list) else [scores]
    if not files:
        raise DataError("no score file to calibrate")
    terms, values = trial_values(trial_list, files, measures, labels, enroll_spk2utt)
    try:
        calibration = Calibration.train(terms, values, trial_list.target, prior, ridge, scaled)
    except DataError as error:
        raise DataError(str(error), trials) from error
    calibration.trained_on.update(trials=str(trials), scores=[str(path) for path in files])
    who = Who.of(trials, trial_list, utt2spk, enroll_spk2utt)
    calibration.trained_on["speakers"] = len(who.speakers)
    who.write(out_dir)
    calibration.write(out_dir / "calibration.yaml")
    logging.info("%s: %s; Cllr %.3f bits in training", out_dir, calibration, calibration.trained_on["cllr"])


if __name__ == "__main__":
    run_step(train_calibration)
