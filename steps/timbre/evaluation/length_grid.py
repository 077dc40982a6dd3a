"""Systems by the length of test speech: what runs reached under each protocol. Called by compare_runs.py --grid."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timbre.datadir.trials import read_trials
from timbre.evaluation.compare import read_runs
from timbre.evaluation.results import Interval
from timbre.feats.protocols import WHOLE, Protocol
from timbre.utils.errors import DataError

_NUM_PRIORS = 2  # of the minDCF that have a table


@dataclass(frozen=True)
class Cell:
    """What a system reached under a protocol; rates are fractions, the keys of costs operating points."""

    eer: float
    eer_ci: Interval | None
    min_dcf: Mapping[str, float]
    min_dcf_ci: Mapping[str, Interval | None]
    record: Mapping[str, Any]

    @classmethod
    def of(cls, record: Mapping[str, Any], path: Path) -> "Cell":
        """Of a RECORD in the results.json PATH.

        Raises:
            DataError: it is not one of this version
        """
        try:
            costs, cost_ends = record["min_dcf"], record["min_dcf_ci"]
            dcf = {str(point): _rate(cost) for point, cost in costs.items()}
            ends = {point: _interval(cost_ends[point]) for point in dcf}
            return cls(_rate(record["eer"]), _interval(record["eer_ci"]), dcf, ends, record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            text = f"what it says of {record['trials']}.{record['backend']} is not a result of this version"
            raise DataError(text, path) from error


@dataclass(frozen=True)
class Line:
    """A back-end of a run, and its cells by the name of the protocol."""

    run: str
    exp_dir: Path
    backend: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True)
class Grid:
    """One trial list: its systems, and the protocols that any of them was tested under.

    lengths: cuts, the shortest first, then those that have seen the whole; crops: protocols of crops; priors: operating
    points that all cells have; counts: numbers of target and nontarget trials, and of speakers, in words
    """

    trials: str
    lines: Sequence[Line]
    lengths: Sequence[str]
    crops: Sequence[str]
    priors: Sequence[str]
    counts: str

    @property
    def protocols(self) -> list[str]:
        """All of them."""
        return [*self.lengths, WHOLE, *self.crops]

    def missing(self) -> Iterator[tuple[Line, list[str]]]:
        """Lines without a cell for some of the protocols, and these."""
        for line in self.lines:
            if names := [name for name in self.protocols if name not in line.cells]:
                yield line, names


def read_grid(exp_dirs: Sequence[Path], backends: Sequence[str] = ()) -> list[Grid]:
    """What the runs EXP_DIRS reached by length, for each trial list that all of them have.

    Of BACKENDS, by default all that some run has tested whole and under another protocol, or, where there is no other,
    all.

    Raises:
        DataError: no list in common, lists of one name that differ, a back-end that no run has
    """
    runs = read_runs(exp_dirs)
    paths = dict(zip(runs, exp_dirs, strict=True))
    found: dict[tuple[str, str], dict[str, dict[str, Cell]]] = {}  # list, run -> back-end -> protocol
    for run, records in runs.items():
        for record in records:
            if "/" in str(record["trials"]):
                raise DataError(f"'{record['trials']}' is no name of a trial list", paths[run] / "results.json")
            backend, _, protocol = str(record["backend"]).partition("@")
            cells = found.setdefault((str(record["trials"]), run), {}).setdefault(backend, {})
            cells[protocol or WHOLE] = Cell.of(record, paths[run] / "results.json")
    have = [{trials for trials, other in found if other == run} for run in runs]
    if not (shared := set.intersection(*have)):
        raise DataError(f"{', '.join(runs)} share no trial list")
    chosen = list(backends) or _with_protocols(found)
    known = sorted({backend for systems in found.values() for backend in systems})
    if unknown := [backend for backend in chosen if backend not in known]:
        raise DataError(f"no run has a back-end {unknown[0]!r}, only {', '.join(known)}")
    grids = []
    for trials in sorted(shared):
        _check_lists(trials, {run: found[trials, run] for run in runs})
        lines = [
            Line(run, paths[run], backend, found[trials, run].get(backend, {})) for run in runs for backend in chosen
        ]
        grids.append(_grid(trials, lines))
    return grids


def _with_protocols(found: Mapping[tuple[str, str], Mapping[str, Mapping[str, Cell]]]) -> list[str]:
    chosen: dict[str, None] = {}
    for systems in found.values():
        chosen |= {backend: None for backend, cells in systems.items() if WHOLE in cells and len(cells) > 1}
    return sorted(chosen or {backend for systems in found.values() for backend in systems})


def _grid(trials: str, lines: Sequence[Line]) -> Grid:
    names = {name for line in lines for name in line.cells} - {WHOLE}
    protocols = {name: Protocol.named(name) for name in names if "-" not in name}  # full-len2s: has two sides
    cuts = [name for name, protocol in protocols.items() if protocol.is_cut]
    cuts.sort(key=lambda name: (not protocols[name].recorded, protocols[name].length))
    crops = sorted(names - set(cuts) - {name for name in names if "-" in name})
    cells = [cell for line in lines for cell in line.cells.values()]
    priors = [point for point in cells[0].min_dcf if all(point in cell.min_dcf for cell in cells)] if cells else []
    counts = ""
    if cells:
        numbers = [cells[0].record.get(name) for name in ("num_target", "num_nontarget", "num_speakers")]
        if all(isinstance(number, int) for number in numbers):
            counts = "{:,} target and {:,} nontarget trials of {:,} speakers".format(*numbers)
    sides = sorted(name for name in names if "-" in name)
    return Grid(trials, lines, [*cuts, *sides], crops, priors[:_NUM_PRIORS], counts)


def _check_lists(trials: str, runs: Mapping[str, Mapping[str, Mapping[str, Cell]]]) -> None:
    """DataError where the lists TRIALS of RUNS, back-end -> protocol -> cell, do not hold the same."""
    digests: dict[str, bytes] = {}  # by file, which runs have in common
    owners: dict[bytes, str] = {}
    for run, systems in runs.items():
        for path in {str(cell.record["trials_file"]) for cells in systems.values() for cell in cells.values()}:
            if path not in digests:
                digests[path] = read_trials(Path(path)).unordered_digest()
            owners.setdefault(digests[path], run)
    if len(owners) > 1:
        one, other = list(owners.values())[:2]
        raise DataError(f"{one} and {other} have different lists {trials}")


def _rate(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(number := float(value)) or number < 0:
        raise ValueError(value)
    return number


def _interval(value: Any) -> Interval | None:
    if value is None:
        return None
    low, high = value
    return _rate(low), _rate(high)
