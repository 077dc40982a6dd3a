"""The page of an experiment: all its score files measured, compared, plotted. Called by make_results.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from urllib.parse import quote

from timbre.evaluation.plots import plot_det, plot_paths, plot_scores
from timbre.evaluation.plots_llr import plot_ece, plot_tippett
from timbre.evaluation.results import Evaluation, Record, Result, cost_interval, percent, percent_interval
from timbre.runtime.thresholds import interval
from timbre.utils.errors import DataError
from timbre.utils.escape import escaped
from timbre.utils.files import atomic_write


def find_trials(data_dir: Path) -> dict[str, Path]:
    """Trial lists of DATA_DIR or of the data directories in it: DIR/<set>/trials is <set>, trials_x is <set>_x.

    Raises:
        DataError: there are none
    """
    sets = [data_dir] if any(data_dir.glob("trials*")) else sorted(data_dir.glob("*/"))
    lists = {
        folder.absolute().name + path.name.removeprefix("trials"): path
        for folder in sets
        for path in sorted(folder.glob("trials*"))
        if path.name == "trials" or path.name.startswith("trials_")
    }
    if not lists:
        raise DataError("no trial lists in it", data_dir)
    return lists


def find_scores(folder: Path) -> list[Path]:
    """Score files of FOLDER, <name of the trials>.<back-end>, sorted.

    Raises:
        DataError: there are none
    """
    files = sorted(path for path in folder.glob("[!.]*.*") if path.is_file())
    if not files:
        raise DataError("no score files in it", folder)
    return files


@dataclass(frozen=True)
class PageJob:
    """One score file and where its histogram goes."""

    evaluation: Evaluation
    plots: Path

    def run(self) -> Result:
        """Measures and plots."""
        result = self.evaluation.run()
        record = result.record
        label = "log-likelihood ratio" if self.evaluation.llr else "score"
        out = self.plots / f"scores_{record.trials}_{record.backend}.png"
        title = f"{record.trials}, {record.backend}"
        plot_scores(result.targets, result.nontargets, [out], title, label)
        if self.evaluation.llr:
            for kind, plot in (("tippett", plot_tippett), ("ece", plot_ece)):
                paths = plot_paths(self.plots / f"{kind}_{record.trials}_{record.backend}")
                plot(result.targets, result.nontargets, paths, title)
        return result


def write_page(path: Path, title: str, settings: str, baseline: str, results: Sequence[Result]) -> None:
    """Writes the page and the DET curve of each trial list, in plots/ beside PATH."""
    sections = []
    for name, group in groupby(sorted(results, key=lambda result: result.record.trials), lambda r: r.record.trials):
        systems = sorted(group, key=lambda result: result.record.eer)
        curves = {result.record.backend: result.curve for result in systems}
        plot_det(curves, [path.parent / "plots" / f"det_{name}{suffix}" for suffix in (".png", ".svg")], name)
        sections.append("\n\n".join([_section(name, systems, baseline), *_analyses(path.parent, systems)]))
    curves_of_training = sorted((path.parent / "plots").glob("training*.png"))
    sections += ["## Training\n\n!" + _link("Training curves", f"plots/{plot.name}") for plot in curves_of_training]
    draws = len(results[0].draws.eer)
    lines = [
        f"# {escaped(title)}",
        escaped(settings),
        f"In brackets: 95 % intervals by bootstrap over speakers ({draws} draws). EER: linear interpolation where "
        "misses and false alarms are equal; minDCF: both costs 1 unless given, normalised, at the target prior given; "
        "minCllr: bits, after the best monotonic calibration.",
        *sections,
    ]
    with atomic_write(path) as file:
        file.write("\n\n".join(line for line in lines if line) + "\n")


def _section(name: str, systems: Sequence[Result], baseline: str) -> str:
    """What the page says of one trial list, best system first."""
    first = systems[0].record
    protocols = sorted({result.record.protocol for result in systems})
    columns = ["back-end", "EER %", "ROCCH-EER %", *(f"minDCF {prior}" for prior in first.min_dcf), "minCllr"]
    rows = [_row(result.record, baseline) for result in systems]
    if any(result.record.decided for result in systems):
        columns += ["accuracy %", "F1"]
        rows = [[*row, *_decided(result.record)] for row, result in zip(rows, systems, strict=True)]
    if len(protocols) > 1:
        columns.append("protocol")
        rows = [[*row, escaped(result.record.protocol)] for row, result in zip(rows, systems, strict=True)]
    histograms = ", ".join(_link(r.record.backend, f"plots/scores_{name}_{r.record.backend}.png") for r in systems)
    parts = [
        f"## {escaped(name)}",
        f"{first.num_target:,} target and {first.num_nontarget:,} nontarget trials of {first.num_speakers:,} speakers; "
        f"{escaped(protocols[0]) if len(protocols) == 1 else 'several protocols'}."
        + (" Accuracy and F1: at the threshold of equal errors on held-out speakers." if "F1" in columns else ""),
        table(columns, rows),
        *(_calibration(result.record) for result in systems),
        _differences(systems),
        "!" + _link(f"DET curves of {name}", f"plots/det_{name}.png"),
        f"Also as {_link('SVG', f'plots/det_{name}.svg')}. Score histograms: {histograms}.",
    ]
    return "\n\n".join(part for part in parts if part)


def _analyses(exp_dir: Path, systems: Sequence[Result]) -> list[str]:
    """Links to what analyze_trials.py has written, if it has."""
    names = {result.record.backend: f"analysis/{result.record.trials}.{result.record.backend}.md" for result in systems}
    links = [_link(backend, name) for backend, name in names.items() if (exp_dir / name).exists()]
    return [f"By condition, with the worst speakers and trials: {', '.join(links)}."] if links else []


def _row(record: Record, baseline: str) -> list[str]:
    name = escaped(record.backend)
    name = f"*{name}* (baseline)" if record.backend == baseline else name
    cells = [name, f"**{percent(record.eer)}** {percent_interval(record.eer_ci)}", percent(record.rocch_eer)]
    cells += [f"{cost:.3f} {cost_interval(record.min_dcf_ci[prior])}" for prior, cost in record.min_dcf.items()]
    return [*cells, f"{record.min_cllr:.3f} {cost_interval(record.min_cllr_ci)}"]


def _decided(record: Record) -> list[str]:
    """Accuracy and F1; empty where nobody was held out for the threshold."""
    if record.decided is None:
        return ["", ""]
    accuracy, f1 = percent(record.decided.accuracy), f"{record.decided.f1:.3f}"
    ends = percent_interval(record.decided.accuracy_ci), cost_interval(record.decided.f1_ci)
    return [f"{accuracy} {ends[0]}".rstrip(), f"{f1} {ends[1]}".rstrip()]


def _calibration(record: Record) -> str:
    """What scores that are log-likelihood ratios cost when they are believed."""
    if record.act_dcf is None or record.act_dcf_ci is None or record.cllr is None:
        return ""
    costs = ", ".join(
        f"{cost:.3f} {cost_interval(record.act_dcf_ci[prior])} at {prior}" for prior, cost in record.act_dcf.items()
    )
    plots = ", ".join(
        _link(name, f"plots/{kind}_{record.trials}_{record.backend}.png")
        for name, kind in (("Tippett plot", "tippett"), ("ECE plot", "ece"))
    )
    return (
        f"{escaped(record.backend)} taken as log-likelihood ratios: actDCF {costs}; Cllr {record.cllr:.3f} "
        f"{cost_interval(record.cllr_ci)} bits. {plots}."
    )


def _differences(systems: Sequence[Result]) -> str:
    """EER of every other system less that of the best, over the same draws of speakers."""
    best = systems[0]
    rows = []
    for other in systems[1:]:
        ends = interval(other.draws.eer - best.draws.eer)
        verdict = "" if ends is None else "yes" if ends[0] > 0 else "no"
        gap = f"{100 * (other.record.eer - best.record.eer):+.2f}"
        rows.append([escaped(f"{other.record.backend} - {best.record.backend}"), gap, percent_interval(ends), verdict])
    return table(["difference", "EER %", "95 % interval", "distinguishable"], rows) if rows else ""


def _link(text: str, target: str) -> str:
    return f"[{escaped(text)}]({quote(target, safe='/@')})"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table: words in its first column, numbers in the others."""
    lines = [columns, ["---"] + ["---:"] * (len(columns) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
