#!/usr/bin/env python3
"""Where a back-end errs: error rates by sex, duration, language, channel, session, ..., worst speakers and trials."""

from pathlib import Path

from timbre.utils.cli import run_step


def analyze_trials(
    trials: Path,
    scores: Path,
    exp_dir: Path,
    data_dir: Path | None = None,
    tables: list[Path] = [],  # noqa: B006 (shown as the default)
    utt2spk: Path | None = None,
    prior: float = 0.01,
    num_speakers: int = 10,
    num_trials: int = 50,
    draws: int = 300,
    seed: int = 0,
    nj: int = 4,
) -> None:
    """Write EXP_DIR/analysis/<trials>.<backend>.{json,md} and EXP_DIR/plots/conditions_<trials>_<backend>.{png,svg}.

    Conditions are the tables utt2X and spk2X beside the trials: of words, whether both sides have the same; of numbers,
    bins of the lower side. Every group has its counts, EER and minDCF at thresholds of its own, and error rates at
    those of all trials, with 95 % intervals by bootstrap over speakers where it has five or more.

    Args:
        trials: trial list, "enroll test target|nontarget" or "1|0 enroll test"
        scores: "enroll test score" lines, named <name of the trials>.<back-end>
        exp_dir: where analysis/ and plots/ go
        data_dir: data directory with the tables, wav.scp and enroll.spk2utt; by default the folder of TRIALS
        tables: more tables, such as [quality/utt2snr]
        utt2spk: speakers of the utterances; by default the utt2spk beside TRIALS
        prior: of a target, for the costs
        num_speakers: how many of the worst speakers of each kind: goats, lambs, wolves
        num_trials: how many of the worst trials of each class
        draws: number of draws of speakers for the intervals
        seed: of the draws
        nj: number of threads
    """
    import numpy as np

    from timbre.datadir.trials import read_scores, read_trials
    from timbre.evaluation import breakdown, worst  # takes a second: not for --help
    from timbre.evaluation.conditions import find_conditions
    from timbre.evaluation.metrics import operating_points, roc, split
    from timbre.evaluation.plots_conditions import plot_conditions
    from timbre.evaluation.results import split_name, write_json
    from timbre.evaluation.speakers import trial_speakers
    from timbre.utils.files import atomic_write

    operating_points([str(prior)])  # checks it
    folder = data_dir or trials.parent
    trial_list = read_trials(trials)
    values = read_scores(scores, trial_list).astype(np.float64)
    threshold = roc(*split(values, trial_list.target, trials)).eer_threshold()
    speakers = trial_speakers(trials, trial_list, utt2spk)
    sides = speakers.enroll[trial_list.enroll], speakers.test[trial_list.test]
    scored = breakdown.Scored(values, trial_list.target, *sides, prior)
    conditions = find_conditions(folder, trial_list, speakers, tables)
    groups = breakdown.break_down(scored, conditions, draws, seed, nj)
    found = worst.find_worst(
        trial_list, scored, speakers.names, threshold, worst.Audio(folder), num_speakers, num_trials
    )
    name, backend = split_name(scores)
    content: dict[str, object] = {"trials": name, "backend": backend, "trials_file": str(trials)}
    content |= {"speakers": speakers.source, "prior": prior, "draws": draws, "seed": seed}
    content |= {"groups": [group.as_json() for group in groups], "worst": found.as_json()}
    plots = [exp_dir / "plots" / f"conditions_{name}_{backend}{suffix}" for suffix in (".png", ".svg")]
    plot_conditions(groups, plots, f"{name}, {backend}")
    page = breakdown.page(f"{name}, {backend}", groups, prior, f"../plots/{plots[0].name}")
    write_json(exp_dir / "analysis" / f"{name}.{backend}.json", content)
    with atomic_write(exp_dir / "analysis" / f"{name}.{backend}.md") as file:
        file.write(f"{page}\n\n{found.as_markdown()}\n")


if __name__ == "__main__":
    run_step(analyze_trials)
