#!/usr/bin/env python3
"""Several runs beside each other: error rates, which of them can be told apart, and DET curves in one plot."""

from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from timbre.utils.cli import run_step
from timbre.utils.errors import DataError
from timbre.utils.escape import escaped
from timbre.utils.files import atomic_write
from timbre.utils.jobs import run_jobs


def compare_runs(
    exp_dirs: list[Path],
    out_dir: Path | None = None,
    backends: list[str] = [],  # noqa: B006 (shown as the default)
    draws: int = 1000,
    seed: int = 0,
    heat_map: bool = False,
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
        nj: number of jobs
    """
    from timbre.evaluation import compare  # takes a second: not for --help
    from timbre.evaluation.heat_map import Rate, plot_heat_map
    from timbre.evaluation.plots import plot_det
    from timbre.evaluation.results import write_json

    if len(exp_dirs) < 2:
        raise DataError("two runs at least are needed to compare")
    if heat_map and out_dir is None:
        raise DataError("--heat-map needs --out-dir")
    systems = compare.find_systems(exp_dirs, backends, draws, seed)
    order = [path.resolve().name for path in exp_dirs]
    measured = run_jobs(compare.System.measure, systems, nj, "comparison", "score file")
    sections, contents, maps = [], [], []
    for (trials, backend), group in groupby(measured, lambda entry: (entry.system.trials, entry.system.backend)):
        members = list(group)
        text = compare.section(trials, backend, members)
        print(text, end="\n\n")
        if out_dir:
            (out_dir / "plots").mkdir(parents=True, exist_ok=True)
            name = f"det_{trials}_{backend}"
            ranked = sorted(members, key=lambda entry: entry.result.record.eer)
            curves = {entry.system.run: entry.result.curve for entry in ranked}
            plot_det(curves, [out_dir / "plots" / f"{name}{end}" for end in (".png", ".svg")], f"{trials}, {backend}")
            text += f"\n\n![DET curves](plots/{quote(name, safe='@')}.png)"
        sections.append(text)
        contents.append(compare.as_json(trials, backend, members))
    if out_dir:
        for backend in sorted({entry.system.backend for entry in measured if heat_map}):
            members = [entry for entry in measured if entry.system.backend == backend]
            found = [(entry.system.run, entry.system.trials, entry.result.record) for entry in members]
            rates = [Rate(run, trials, record.eer, record.eer_ci) for run, trials, record in found]
            rates.sort(key=lambda rate: order.index(rate.run))
            plot_heat_map(rates, [out_dir / f"heatmap_{backend}{end}" for end in (".png", ".svg")], backend)
            maps.append(f"![EER by run and list, {escaped(backend)}](heatmap_{quote(backend, safe='@')}.png)")
        write_json(out_dir / "comparison.json", contents)
        with atomic_write(out_dir / "COMPARISON.md") as file:
            file.write("\n\n".join(["# Comparison of runs", *maps, *sections]) + "\n")


if __name__ == "__main__":
    run_step(compare_runs, takes_list=True)
