"""Tables of systems by the length of test speech, as Markdown and TSV. Called by compare_runs.py --grid."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from timbre.evaluation.compare import LEVEL, Difference, System, difference, holm, system_of
from timbre.evaluation.length_grid import Cell, Grid, Line
from timbre.evaluation.plots_lengths import plot_lengths
from timbre.evaluation.results import Interval, cost_interval, percent, percent_interval
from timbre.evaluation.results_page import table
from timbre.feats.protocols import WHOLE, describe
from timbre.utils.errors import DataError
from timbre.utils.escape import escaped
from timbre.utils.files import atomic_write
from timbre.utils.jobs import run_jobs

NOTHING = "–"  # in a cell
Key = tuple[str, str, str]  # run, back-end, protocol
Texts = Mapping[Key, str]


def print_grid(path: Path, grids: Sequence[Grid], reference: str, num_draws: int, seed: int, nj: int) -> None:
    """Prints GRIDS and writes them to PATH, which ends in .md, with a .tsv and plots beside it.

    reference: the name of a run, or "": the paired differences of the others to it, over NUM_DRAWS draws by SEED, on NJ
    jobs

    Raises:
        DataError: PATH ends otherwise, or there is no run REFERENCE
    """
    if path.suffix != ".md":
        raise DataError(f"--grid {path}: a name that ends in .md is wanted, for tables and plots are put beside it")
    runs = list(dict.fromkeys(line.run for line in grids[0].lines))
    if reference and (reference not in runs or len(runs) < 2):
        raise DataError(f"--reference {reference}: not one of several runs {', '.join(runs)}")
    sections, rows = [], []
    for grid in grids:
        pairs = _pairs(grid, reference, num_draws, seed, nj) if reference else {}
        parts = [_section(grid), _differences(grid, reference, pairs) if reference else ""]
        print("\n\n".join(part for part in parts if part), end="\n\n")
        name = f"{path.stem}_{grid.trials}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if plot_lengths(grid, [path.with_name(f"{name}{end}") for end in (".png", ".svg")]):
            parts.append(f"![EER against seconds]({quote(name, safe='@')}.png)")
        sections.append("\n\n".join(part for part in parts if part))
        rows += list(_tsv(grid, reference, pairs))
    with atomic_write(path.with_suffix(".tsv")) as file:
        file.write("".join("\t".join(" ".join(cell.split()) for cell in row) + "\n" for row in rows))
    with atomic_write(path) as file:
        title = "# Error rates by the length of test speech" if grids[0].protocols != [WHOLE] else "# Error rates"
        file.write("\n\n".join([title, *sections]) + "\n")


def _section(grid: Grid) -> str:
    """The tables of one trial list."""
    protocols = [name for name in grid.protocols if name != WHOLE]
    words = "; ".join(f"{name}: {describe(name)}" for name in [*protocols, WHOLE])
    parts = [f"## {escaped(grid.trials)}"]
    parts += [grid.counts + "."] if grid.counts else []
    parts.append(f"{'Both sides of a trial are cut. ' if protocols else ''}{escaped(words)}.")
    parts.append("EER in %, with 95 % intervals by bootstrap over speakers:")
    parts.append(_table(grid, lambda cell: _entry(percent(cell.eer), percent_interval(cell.eer_ci))))
    for prior in grid.priors:
        parts.append(f"minDCF at {escaped(prior)}:")
        parts.append(
            _table(grid, lambda cell: _entry(f"{cell.min_dcf[prior]:.3f}", cost_interval(cell.min_dcf_ci[prior])))  # noqa: B023
        )
    reasons = [f"- {escaped(_reason(line, missing))}" for line, missing in grid.missing()]
    if reasons:
        parts.append("\n".join([f"Where there is {NOTHING}:", "", *reasons]))
    return "\n\n".join(parts)


def _entry(value: str, ends: str) -> str:
    return f"{value} {ends}".rstrip()


def _table(grid: Grid, show: Callable[[Cell], str]) -> str:
    """Systems by lengths; the last columns are "full (crops)", such as 1.52 (1.43)."""
    texts = {(line.run, line.backend, name): show(cell) for line in grid.lines for name, cell in line.cells.items()}
    return _texts_table(grid, grid.lines, texts)


def _texts_table(grid: Grid, lines: Sequence[Line], texts: Texts) -> str:
    columns = ["system", *(escaped(_title(name)) for name in grid.lengths)]
    columns += [f"full ({escaped(name)})" for name in grid.crops] or ["full"]
    rows = []
    for line in lines:
        key = line.run, line.backend
        cells = [texts.get((*key, name), NOTHING) for name in grid.lengths]
        whole = texts.get((*key, WHOLE), NOTHING)
        cells += [f"{whole} ({texts.get((*key, name), NOTHING)})" for name in grid.crops] or [whole]
        rows.append([escaped(f"{line.run}, {line.backend}"), *cells])
    return table(columns, rows)


def _title(protocol: str) -> str:
    """Of the column of a cut."""
    if "-" in protocol:  # one of each side
        return protocol
    return protocol.removeprefix("len").replace("s", " s", 1).replace("_", ", ", 1).replace("_", " ")


def _reason(line: Line, missing: Sequence[str]) -> str:
    """Why LINE has no cells for the protocols MISSING."""
    if not line.cells:
        return f"{line.run} has no back-end {line.backend}"
    return f"{line.run} has no scores of {line.backend} for {', '.join(missing)} (run.sh --protocols)"


def _pairs(grid: Grid, reference: str, num_draws: int, seed: int, nj: int) -> dict[Key, Difference]:
    """Differences of EER to the run REFERENCE, on the same draws, corrected for the number of them."""
    systems: dict[Key, System] = {}
    for line in grid.lines:
        for name, cell in line.cells.items():
            systems[line.run, line.backend, name] = system_of(line.exp_dir, dict(cell.record), num_draws, seed)
    wanted = [key for key in systems if key[0] != reference and (reference, *key[1:]) in systems]
    used = list(dict.fromkeys([*wanted, *((reference, *key[1:]) for key in wanted)]))
    measured = dict(
        zip(
            used, run_jobs(System.measure, [systems[key] for key in used], nj, "differences", "score file"), strict=True
        )
    )
    found = {key: difference(measured[reference, *key[1:]], measured[key]) for key in wanted}
    order = sorted(found, key=lambda key: found[key].p)
    return dict(zip(order, holm([found[key] for key in order]), strict=True))


def _differences(grid: Grid, reference: str, pairs: Mapping[Key, Difference]) -> str:
    lines = [line for line in grid.lines if line.run != reference]
    texts = {
        key: _entry(f"{100 * pair.eer:+.2f}", percent_interval(pair.eer_ci)) + "*" * (pair.corrected < LEVEL)
        for key, pair in pairs.items()
    }
    text = (
        f"EER in % less that of {escaped(reference)}, over the same draws of speakers (*: distinguishable, corrected "
    )
    return f"{text}for {len(pairs)} differences):\n\n{_texts_table(grid, lines, texts)}"


def _tsv(grid: Grid, reference: str, pairs: Mapping[Key, Difference]) -> Iterator[list[str]]:
    """The header, then a row for each system and protocol; rates are fractions."""
    names = ["eer", *(f"min_dcf_{prior}" for prior in grid.priors)]
    header = [
        "trials",
        "run",
        "backend",
        "protocol",
        *(f"{name}{end}" for name in names for end in ("", "_low", "_high")),
    ]
    if reference:
        header += [f"eer_less_{reference}{end}" for end in ("", "_low", "_high", "_p", "_p_holm")]
    yield [*header, "missing"]
    for line in grid.lines:
        for name in grid.protocols:
            cell, pair = line.cells.get(name), pairs.get((line.run, line.backend, name))
            row = [grid.trials, line.run, line.backend, name]
            if cell is None:
                row += [""] * 3 * len(names)
            else:
                row += _numbers(cell.eer, cell.eer_ci)
                for prior in grid.priors:
                    row += _numbers(cell.min_dcf[prior], cell.min_dcf_ci[prior])
            if reference:
                told = [""] * 5
                if pair:
                    told = [*_numbers(pair.eer, pair.eer_ci), f"{pair.p:.6g}", f"{pair.corrected:.6g}"]
                row += told
            yield [*row, _reason(line, [name]) if cell is None else ""]


def _numbers(value: float, ends: Interval | None) -> list[str]:
    return [f"{value:.8g}", *(f"{end:.8g}" for end in ends or ())] + [""] * (0 if ends else 2)
