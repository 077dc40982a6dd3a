"""Runs compared on the trial lists they share, over the same draws of speakers. Called by compare_runs.py."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import ndtr

from timbre.evaluation.results import Evaluation, Interval, Result, cost_interval, percent, percent_interval
from timbre.evaluation.results_page import table
from timbre.runtime.thresholds import interval
from timbre.utils.documents import read_json
from timbre.utils.errors import DataError
from timbre.utils.escape import escaped

PRIOR = 0.01  # of the minDCF in the table
LEVEL = 0.05  # corrected p below which two runs can be told apart


@dataclass(frozen=True)
class System:
    """One back-end of one run on one trial list."""

    run: str
    evaluation: Evaluation

    @property
    def backend(self) -> str:
        """Name of the back-end."""
        return self.evaluation.backend

    @property
    def trials(self) -> str:
        """Name of the trial list."""
        return self.evaluation.name

    def measure(self) -> "Measured":
        """Measures it."""
        return Measured(self, self.evaluation.run())


@dataclass(frozen=True)
class Measured:
    """A system and what it reached."""

    system: System
    result: Result


@dataclass(frozen=True)
class Difference:
    """EER of one run less that of another, in fractions, on the same draws of speakers.

    p: two-sided, of the difference over its standard error in the draws; corrected: by Holm's method (1979), for all
    pairs of runs that are compared on the list.
    """

    first: str
    second: str
    eer: float
    eer_ci: Interval | None
    p: float
    corrected: float = 1.0


def find_systems(exp_dirs: Sequence[Path], backends: Sequence[str], num_draws: int, seed: int) -> list[System]:
    """What the runs EXP_DIRS have scored, by their results.json; of all back-ends if BACKENDS is empty.

    Raises:
        DataError: a run without results, two of the same name, a back-end that some run lacks, nothing in common
    """
    systems = []
    runs = read_runs(exp_dirs)
    for path, records in zip(exp_dirs, runs.values(), strict=True):
        found = {record["backend"] for record in records}
        for backend in backends:
            if backend not in found:
                raise DataError(f"no back-end {backend!r}, only {', '.join(sorted(found))}", path / "results.json")
        for record in records:
            if not backends or record["backend"] in backends:
                systems.append(system_of(path, record, num_draws, seed))
    have = {name: {(system.trials, system.backend) for system in systems if system.run == name} for name in runs}
    shared = set.intersection(*have.values())
    if not shared:
        raise DataError(f"{', '.join(runs)} share no trial list and back-end")
    return sorted(
        (system for system in systems if (system.trials, system.backend) in shared),
        key=lambda system: (system.trials, system.backend),
    )


def read_runs(exp_dirs: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """The results.json of each of EXP_DIRS, by the name of the run.

    Raises:
        DataError: a run without results, or two of the same name
    """
    names = [path.resolve().name for path in exp_dirs]
    if len(set(names)) < len(names):
        raise DataError(f"runs of the same name cannot be told apart: {', '.join(sorted(names))}")
    return {name: _read_records(path / "results.json") for name, path in zip(names, exp_dirs, strict=True)}


def system_of(exp_dir: Path, record: dict[str, Any], num_draws: int, seed: int) -> System:
    """What RECORD in the results.json of EXP_DIR is of."""
    scores = exp_dir / "scores" / f"{record['trials']}.{record['backend']}"
    trials, llr = Path(record["trials_file"]), "cllr" in record
    evaluation = Evaluation(trials, scores, llr, record["protocol"], None, num_draws, seed)
    return System(exp_dir.resolve().name, evaluation)


def differences(measured: Sequence[Measured]) -> list[Difference]:
    """Of all pairs of MEASURED, which have the trial list in common: the better one first; by ascending p.

    Raises:
        DataError: the runs were scored on lists of the same name that differ
    """
    ranked = sorted(measured, key=lambda entry: entry.result.record.eer)
    return holm([difference(one, other) for one, other in combinations(ranked, 2)])


def difference(one: Measured, other: Measured) -> Difference:
    """EER of OTHER less that of ONE, on the same draws of speakers.

    Raises:
        DataError: they were scored on lists that differ
    """
    if one.result.trials != other.result.trials:
        raise DataError(f"{one.system.run} and {other.system.run} have different lists {one.system.trials}")
    gap = other.result.record.eer - one.result.record.eer
    draws = other.result.draws.eer - one.result.draws.eer
    error = float(np.nanstd(draws)) if np.isfinite(draws).any() else 0.0
    p = float(2 * ndtr(-abs(gap) / error)) if error else 1.0
    return Difference(one.system.run, other.system.run, gap, interval(draws), p)


def holm(found: Sequence[Difference]) -> list[Difference]:
    """FOUND by ascending p, corrected for their number (Holm 1979)."""
    corrected, floor = [], 0.0
    for rank, pair in enumerate(sorted(found, key=lambda pair: pair.p)):
        floor = max(floor, min(1.0, (len(found) - rank) * pair.p))
        corrected.append(replace(pair, corrected=floor))
    return corrected


def difference_table(pairs: Sequence[Difference], heading: str) -> str:
    """PAIRS in Markdown, their differences under HEADING."""
    lines = [
        [
            escaped(f"{pair.second} - {pair.first}"),
            f"{100 * pair.eer:+.2f} {percent_interval(pair.eer_ci)}",
            f"{pair.p:.2g}",
            f"{pair.corrected:.2g}",
            "yes" if pair.corrected < LEVEL else "no",
        ]
        for pair in pairs
    ]
    return table(["pair", heading, "p", "p, Holm", "distinguishable"], lines)


def section(trials: str, backend: str, measured: Sequence[Measured]) -> str:
    """What the page says of one back-end on one list: the runs, best first, and which can be told apart."""
    ranked = sorted(measured, key=lambda entry: entry.result.record.eer)
    first = ranked[0].result.record
    key = f"{PRIOR:g}"
    rows = [
        [
            escaped(entry.system.run),
            f"{percent(entry.result.record.eer)} {percent_interval(entry.result.record.eer_ci)}",
            f"{entry.result.record.min_dcf[key]:.3f} {cost_interval(entry.result.record.min_dcf_ci[key])}",
        ]
        for entry in ranked
    ]
    pairs = differences(measured)
    apart = sum(pair.corrected < LEVEL for pair in pairs)
    return "\n\n".join(
        [
            f"## {escaped(trials)}, {escaped(backend)}",
            f"{first.num_target:,} target and {first.num_nontarget:,} nontarget trials of {first.num_speakers:,} "
            f"speakers; {escaped(first.protocol)}.",
            table(["run", "EER %", f"minDCF {key}"], rows),
            f"{apart} of {len(pairs)} pairs can be told apart.",
            difference_table(pairs, "EER %, difference"),
        ]
    )


def as_json(trials: str, backend: str, measured: Sequence[Measured]) -> dict[str, Any]:
    """What `section` says, for programs; rates are fractions."""
    return {
        "trials": trials,
        "backend": backend,
        "runs": [{"run": entry.system.run, **entry.result.record.as_json()} for entry in measured],
        "differences": [asdict(difference) for difference in differences(measured)],
    }


def _read_records(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        raise DataError("no such file: is it a run that has been through stage 9?", path)
    records = read_json(path)
    wanted = {"trials", "backend", "trials_file", "protocol"}
    if not isinstance(records, list) or not all(
        isinstance(entry, dict) and wanted <= entry.keys() for entry in records
    ):
        raise DataError("not results of this version: make them anew with ./run.sh --stage 9 --force", path)
    return records
