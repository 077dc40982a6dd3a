#!/usr/bin/env python3
"""Error rates, intervals, DET curves and histograms of all score files of an experiment."""

from pathlib import Path

from timbre.evaluation.results import Evaluation, split_name, write_json
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError
from timbre.utils.jobs import run_jobs


def make_results(
    exp_dir: Path,
    data_dir: Path | list[Path],
    llr: list[str] = ["plda"],  # noqa: B006 (shown as the default)
    baseline: str = "statistics",
    protocol: str = "whole utterance",
    settings: str = "",
    draws: int = 1000,
    seed: int = 0,
    priors: list[float | str] = [0.05, 0.01, 0.001],  # noqa: B006 (shown as the default)
    two_way: bool = False,
    held_out: Path | None = None,
    nj: int = 4,
) -> None:
    """Measure every EXP_DIR/scores/<trials>.<backend>; write results.json, RESULTS.md, TEST_SETS.md, plots/.

    Args:
        exp_dir: experiment with a folder scores/
        data_dir: a data directory with trials, or a folder of such; DIR/<set>/trials is named <set>, trials_x <set>_x
        llr: back-ends whose scores are log-likelihood ratios, [plda,...]: they get actDCF and Cllr
        baseline: the back-end that is marked as such
        protocol: how the embeddings were made, for the records of files that do not tell: <trials>.<backend>@len2s does
        settings: a line for the top of the page
        draws: number of draws of speakers for the intervals
        seed: of the draws
        priors: operating points of minDCF and actDCF, [0.05,0.01:10:1,...]: the prior of a target or, with the costs of
            a miss and of a false alarm, PRIOR:MISS_COST:FALSE_ALARM_COST
        two_way: draw enrolment and test speakers apart: for lists whose two sides are of different making; wider
        held_out: folder with `trials` of other speakers and scores/dev.<back-end>, such as EXP_DIR/calibration: also
            accuracy and F1, at the threshold where misses and false alarms are equal there
        nj: number of jobs
    """
    from timbre.evaluation.results_page import (  # imports matplotlib: not for --help
        PageJob,
        find_scores,
        find_trials,
        write_page,
    )
    from timbre.evaluation.sets_page import write_sets

    folders = data_dir if isinstance(data_dir, list) else [data_dir]
    lists = {name: path for folder in folders for name, path in find_trials(folder).items()}
    points = tuple(map(str, priors))
    jobs = []
    for path in find_scores(exp_dir / "scores"):
        name, backend = split_name(path)
        if name not in lists:
            where = ", ".join(map(str, folders))
            raise DataError(f"{where} has no trial list '{name}', only {', '.join(lists)}", path)
        is_llr = backend.partition("@")[0] in llr
        dev = held_out / "scores" / f"dev.{backend}" if held_out else None
        other = (held_out / "trials", dev) if held_out and dev and dev.is_file() else None
        evaluation = Evaluation(lists[name], path, is_llr, protocol, None, draws, seed, points, two_way, other)
        jobs.append(PageJob(evaluation, exp_dir / "plots"))
    results = run_jobs(PageJob.run, jobs, nj, "results", "score file")
    write_json(exp_dir / "results.json", [result.record.as_json() for result in results])
    write_page(exp_dir / "RESULTS.md", f"Results of {exp_dir.resolve().name}", settings, baseline, results)
    write_sets(exp_dir / "TEST_SETS.md", [result.record for result in results], [job.evaluation.scores for job in jobs])
    for result in results:
        print(result.record, end="\n\n")


if __name__ == "__main__":
    run_step(make_results)
