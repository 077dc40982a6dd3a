"""The page of runs beside each other, with its plots. Called by compare_runs.py."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from timbre.evaluation.compare import Measured, as_json, section
from timbre.evaluation.heat_map import Rate, plot_heat_map
from timbre.evaluation.plots import plot_det
from timbre.evaluation.results import write_json
from timbre.utils.escape import escaped
from timbre.utils.files import atomic_write


def print_comparison(measured: Sequence[Measured], order: Sequence[str], out_dir: Path | None, heat_map: bool) -> None:
    """Prints tables of MEASURED, by list and back-end, and writes them with plots into OUT_DIR.

    order: of the runs, in heat maps
    """
    sections, contents, maps = [], [], []
    for (trials, backend), group in groupby(measured, lambda entry: (entry.system.trials, entry.system.backend)):
        members = list(group)
        text = section(trials, backend, members)
        print(text, end="\n\n")
        if out_dir:
            (out_dir / "plots").mkdir(parents=True, exist_ok=True)
            name = f"det_{trials}_{backend}"
            ranked = sorted(members, key=lambda entry: entry.result.record.eer)
            curves = {entry.system.run: entry.result.curve for entry in ranked}
            plot_det(curves, [out_dir / "plots" / f"{name}{end}" for end in (".png", ".svg")], f"{trials}, {backend}")
            text += f"\n\n![DET curves](plots/{quote(name, safe='@')}.png)"
        sections.append(text)
        contents.append(as_json(trials, backend, members))
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
