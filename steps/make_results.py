#!/usr/bin/env python3
"""Error rates, intervals, DET curves and histograms of all score files of an experiment."""

from pathlib import Path

from steps.backend.results import Evaluation, write_json
from steps.utils.cli import run_step
from steps.utils.errors import DataError
from steps.utils.jobs import run_jobs


def make_results(
    exp_dir: Path,
    data_dir: Path | list[Path],
    llr: list[str] = ["plda"],  # noqa: B006 (shown as the default)
    baseline: str = "statistics",
    protocol: str = "whole utterance",
    settings: str = "",
    draws: int = 1000,
    seed: int = 0,
    nj: int = 4,
) -> None:
    """Measure every EXP_DIR/scores/<trials>.<backend>; write results.json, RESULTS.md and plots/ into EXP_DIR.

    Args:
        exp_dir: experiment with a folder scores/
        data_dir: a data directory with trials, or a folder of such; DIR/<set>/trials is named <set>, trials_x <set>_x
        llr: back-ends whose scores are log-likelihood ratios, [plda,...]: they get actDCF and Cllr
        baseline: the back-end that is marked as such
        protocol: how the embeddings were made, for the records
        settings: a line for the top of the page
        draws: number of draws of speakers for the intervals
        seed: of the draws
        nj: number of jobs
    """
    from steps.backend.report import PageJob, find_scores, find_trials, write_page  # imports matplotlib: not for --help

    folders = data_dir if isinstance(data_dir, list) else [data_dir]
    lists = {name: path for folder in folders for name, path in find_trials(folder).items()}
    jobs = []
    for path in find_scores(exp_dir / "scores"):
        if path.stem not in lists:
            where = ", ".join(map(str, folders))
            raise DataError(f"{where} has no trial list '{path.stem}', only {', '.join(lists)}", path)
        evaluation = Evaluation(lists[path.stem], path, path.suffix[1:] in llr, protocol, num_draws=draws, seed=seed)
        jobs.append(PageJob(evaluation, exp_dir / "plots"))
    results = run_jobs(PageJob.run, jobs, nj, "results", "score file")
    write_json(exp_dir / "results.json", [result.record.as_json() for result in results])
    write_page(exp_dir / "RESULTS.md", f"Results of {exp_dir.resolve().name}", settings, baseline, results)
    for result in results:
        print(result.record, end="\n\n")


if __name__ == "__main__":
    run_step(make_results)
