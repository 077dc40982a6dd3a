#!/usr/bin/env python3
"""Several runs beside each other: error rates, which of them can be told apart, and DET curves in one plot."""

from pathlib import Path

from timbre.utils.cli import run_step
from timbre.utils.errors import DataError
from timbre.utils.jobs import run_jobs


def compare_runs(
    exp_dirs: list[Path],
    out_dir: Path | None = None,
    backends: list[str] = [],  # noqa: B006 (shown as the default)
    draws: int = 1000,
    seed: int = 0,
    heat_map: bool = False,
    seeds: bool = False,
    grid: Path | None = None,
    reference: str = "",
    nj: int = 4,
) -> None:
    """Print tables of what the runs EXP_DIRS reached, and write them, with plots, into OUT_DIR.

    For each trial list and back-end that all of them have: EER and minDCF with 95 % intervals by bootstrap over
    speakers; the difference of every pair of runs, over the same draws of speakers, with its interval and p-value; and
    whether it can be told from 0 once corrected for the number of pairs (Holm).

    Args:
        exp_dirs: runs that have been through stage 9, such as exp/a exp/b exp/c
        out_dir: where COMPARISON.md, comparison.json and plots/ go; by default nothing is written
        backends: those to compare, such as [cosine_asnorm,plda]; by default all
        draws: number of draws of speakers
        seed: of the draws
        heat_map: also OUT_DIR/heatmap_<backend>.png and .svg, EER of every run (row) on every trial list (column)
        seeds: runs NAME.seed1, NAME.seed2, ... (or _seed1, -seed1) are one system: instead of single runs the means
            over seeds are compared, with the range over seeds; the p-value counts what seeds differ by too. OUT_DIR
            then has SEEDS.md and seeds.json
        grid: instead, or with --out-dir as well: OUT.md, tables of runs and back-ends by the seconds of test speech
            (run.sh --protocols), EER and minDCF, the last column as "full (crops)", of one run or several; OUT.tsv; and
            OUT_<trials>.png and .svg, EER against seconds
        reference: with --grid, the name of a run: the differences of the others to it, over the same draws of speakers
        nj: number of jobs
    """
    from timbre.evaluation import compare  # takes a second: not for --help
    from timbre.evaluation.compare_page import print_comparison
    from timbre.evaluation.length_grid import read_grid
    from timbre.evaluation.length_page import print_grid
    from timbre.evaluation.seeds import print_seeds

    if len(exp_dirs) < 2 and (out_dir or not grid):
        raise DataError("two runs at least are needed to compare")
    if reference and not grid:
        raise DataError("--reference needs --grid")
    if heat_map and (out_dir is None or seeds):
        raise DataError("--heat-map needs --out-dir, and is of single runs")
    order = [path.resolve().name for path in exp_dirs]
    if out_dir or not grid:
        systems = compare.find_systems(exp_dirs, backends, draws, seed)
        measured = run_jobs(compare.System.measure, systems, nj, "comparison", "score file")
        if seeds:
            print_seeds(measured, out_dir)
        else:
            print_comparison(measured, order, out_dir, heat_map)
    if grid:
        print_grid(grid, read_grid(exp_dirs, backends), reference, draws, seed, nj)


if __name__ == "__main__":
    run_step(compare_runs, takes_list=True)
