#!/usr/bin/env python3
"""Closed-set accuracy of several runs beside each other, and beside what others have published."""

from pathlib import Path

from timbre.utils.cli import run_step


def compare_classifiers(runs: list[Path], out: Path | None = None) -> None:
    """Print a Markdown table of the accuracy of RUNS on what their training held out.

    Args:
        runs: folders exp/NAME that ./run.sh --classify has finished
        out: a file to write it to as well
    """
    from timbre.evaluation.closed_set_rates import rates_table, read_rates  # numpy: not for --help
    from timbre.utils.files import atomic_write

    rates = {run.resolve().name: read_rates(run / "classification" / "train" / "closed_set.json") for run in runs}
    table = rates_table(rates)
    if out is not None:
        with atomic_write(out) as file:
            file.write(table)
    print(table)


if __name__ == "__main__":
    run_step(compare_classifiers, takes_list=True)
