#!/usr/bin/env python3
"""A decision pack: network, back-end, calibration and thresholds in one folder, for verify.py and identify.py."""

from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.feats.vad import VadOptions
from timbre.utils.cli import run_step


def make_decision_pack(
    model_dir: Path,
    data_dir: Path,
    backend_dir: Path,
    trials: Path,
    embeddings: Path,
    out_dir: Path,
    vad: VadOptions = VadOptions(),
    audio_conf: Path | None = None,
    cohort_scp: Path | None = None,
    cohort_utt2spk: Path | None = None,
    top_n: int = 300,
    measures: list[Path] = [],  # noqa: B006 (shown as the default)
    test_trials: Path | None = None,
    test_embeddings: Path | None = None,
    test_measures: list[Path] = [],  # noqa: B006
    conditions: list[Path] = [],  # noqa: B006
    condition_embeddings: list[Path] = [],  # noqa: B006
    condition_measures: list[Path] = [],  # noqa: B006
    scaled: bool = False,
    prior: float = 0.05,
    min_speech: float | None = None,
    draws: int = 1000,
    seed: int = 0,
    nj: int = 4,
) -> None:
    """Write OUT_DIR: copies of all parts, a calibration trained on TRIALS, thresholds with expected errors, README.md.

    Args:
        model_dir: what steps/train.py wrote
        data_dir: data directory with features such as the network was trained on; conf/feats.yaml is taken from it
        backend_dir: what train_backend.py wrote; it must not have been trained on speakers of TRIALS
        trials: trial list to calibrate on, such as make_calibration_trials.py makes
        embeddings: of its utterances (scp or ark)
        out_dir: the folder to write; an existing pack is replaced, any other folder is left as it is
        vad: options of the energy VAD, or the YAML file that stage 2 was given
        audio_conf: the YAML file of conf/audio/ that stage 1 was given, if it was
        cohort_scp: embeddings to normalise scores by (AS-norm); speakers of the trials are left out
        cohort_utt2spk: average the cohort's embeddings by speaker
        top_n: how many cohort scores AS-norm keeps; at most the whole cohort
        measures: tables of make_quality.py for TRIALS that the calibration takes, utt2{logdur,snr,band,magnitude}
        test_trials: another list, of other speakers, to count errors on; by default TRIALS
        test_embeddings: of its utterances
        test_measures: tables of the same measures for it
        conditions: data directories of the same speakers under conditions, with trials: README.md has their errors
        condition_embeddings: of their utterances, one for each
        condition_measures: folders with tables of the same measures, one for each
        scaled: measures move the slope too, not the offset alone; where TRIALS are of many conditions
        prior: of a target: where the log-likelihood ratios are to be most exact
        min_speech: seconds of speech below which verify.py does not decide; by default measured: the least from which
            on test recordings of TRIALS, cut to it, have at most 1.5 times the errors of whole ones at even odds (or
            0.01 more), where DATA_DIR has their features; otherwise 2 s
        draws: number of draws of speakers for the intervals
        seed: of the draws
        nj: number of threads
    """
    from timbre.decision.packing import ScoredList, make_pack  # scipy takes half a second: not for --help

    cohort = (cohort_scp, cohort_utt2spk, top_n)
    calibration_list = ScoredList(trials, embeddings, measures)
    test_list = ScoredList(test_trials, test_embeddings or embeddings, test_measures) if test_trials else None
    under = ScoredList.of_conditions(conditions, condition_embeddings, condition_measures, measures)
    front = (DataDir.read(data_dir), vad, audio_conf)
    lists = calibration_list, test_list, under
    make_pack(out_dir, model_dir, front, backend_dir, cohort, *lists, scaled, prior, min_speech, draws, seed, nj)


if __name__ == "__main__":
    run_step(make_decision_pack)
