"""A long list in parts, each a job: a process, or a task of the cluster; what they write is merged in order.

Called by score_list.py and normalize_scores.py. The bytes are those that one process writes: a score follows from its
pair alone, and statistics are computed by the same blocks.
"""

import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from timbre.backend.backends import Backend
from timbre.backend.score_norm import CohortStats, Method, cohort_stats, normalize_trials, normalized_blocks, side_stats
from timbre.backend.scoring import BLOCK, block_height, score_blocks
from timbre.backend.vectors import Floats, Side
from timbre.datadir import trial_arrays
from timbre.datadir.trials import ScoreBytes, Trials, read_trials, write_scores
from timbre.runtime.factors import Factors
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write, temporary_folder
from timbre.utils.jobs import on_cluster, run_jobs

Arrays = Mapping[str, np.ndarray]


def num_parts_of(num_trials: int, nj: int, wanted: int | None) -> int:
    """Parts of a list: what is WANTED, otherwise NJ where jobs go to a cluster and the list is longer than a block."""
    if wanted is None:
        wanted = nj if on_cluster() and num_trials > BLOCK else 1
    if wanted < 1:
        raise DataError(f"num_parts is {wanted}; it must be at least 1")
    return min(wanted, num_trials)


@dataclass(frozen=True)
class ListPart:
    """Trials START to STOP of the list TRIALS, whose scores will be in PATH; FOLDER holds what the jobs need."""

    path: Path
    folder: Path
    trials: Path
    start: int
    stop: int

    @property
    def file(self) -> Path:
        """What the job writes: its bytes of PATH."""
        return self.folder / f"{self.start}.part"

    def write(self, trials: Trials, blocks: Iterable[Floats]) -> None:
        """Writes BLOCKS, the scores of these trials."""
        lines = ScoreBytes(self.path, trials)
        begin = self.start
        with atomic_write(self.file, "wb") as file:
            for scores in blocks:
                file.writelines(lines.of(begin, scores))
                begin += len(scores)


def parts_folder(path: Path) -> AbstractContextManager[Path]:
    """A folder beside PATH for the parts; gone after the block or, after a kill, with the next one for PATH."""
    return temporary_folder(path.with_name(f"{path.name}.parts"))


def score_in_parts(path: Path, list_path: Path, trials: Trials, factors: Factors, nj: int, num_parts: int) -> None:
    """Writes PATH as `write_list_scores` does, NJ of NUM_PARTS jobs at a time.

    Args:
        path: the scores
        list_path: the file of TRIALS; jobs map it into memory if it is in binary form
        trials: the list
        factors: of the ids of TRIALS, in their order
        nj: number of jobs at a time
        num_parts: number of parts

    Raises:
        DataError: a score is NaN, or the disk is full
    """
    with parts_folder(path) as folder:
        _save(folder, _arrays(factors))
        _merge(path, list_path, trials, folder, _score, nj, num_parts)


def normalize_list(
    path: Path,
    list_path: Path,
    trials: Trials,
    scores: Floats,
    backend: Backend,
    sides: tuple[Side, Side],
    cohort: Side,
    method: Method,
    top_n: int,
    nj: int,
    wanted: int | None = None,
) -> None:
    """Writes what `normalize_trials` makes of SCORES to PATH; in parts, statistics by jobs of utterances come first.

    Raises:
        DataError: parts are WANTED of as-norm2, whose statistics are of trials, not of utterances
    """
    num_parts = num_parts_of(len(scores), nj, 1 if method == "as-norm2" and wanted is None else wanted)
    if method == "as-norm2" and num_parts > 1:
        raise DataError("as-norm2 is not made in parts: give num_parts 1")
    if num_parts <= 1:
        work = backend, sides, cohort, method, top_n, nj
        write_scores(path, trials, normalize_trials(scores, trials.enroll, trials.test, *work))
        return
    with parts_folder(path) as folder:
        measure = partial(stats_in_parts, folder=folder, num_parts=num_parts)
        of_sides = side_stats(backend, *sides, cohort, top_n if method == "as-norm" else None, nj, measure)
        arrays = {f"{side}.{name}": value for side, stats in enumerate(of_sides) for name, value in vars(stats).items()}
        _save(folder, {"scores": scores, **arrays})
        _merge(path, list_path, trials, folder, partial(_normalize, method=method), nj, num_parts)


def stats_in_parts(factors: Factors, top_n: int | None, nj: int, folder: Path, num_parts: int) -> CohortStats:
    """As `cohort_stats`, of NUM_PARTS ranges of rows, NJ at a time; FOLDER is for what the jobs read."""
    _save(folder, _arrays(factors))
    num_rows, height = len(factors.left), block_height(factors)
    blocks = np.linspace(0, -(-num_rows // height), num_parts + 1).astype(int)
    ends = sorted({min(int(block) * height, num_rows) for block in blocks})  # whole blocks: the same products
    jobs = [(folder, start, stop, top_n) for start, stop in pairwise(ends)]
    stats = run_jobs(_measure, jobs, nj, "cohort", "part")
    return CohortStats(*(np.concatenate(values) for values in zip(*((s.mean, s.std) for s in stats), strict=True)))


def _merge(
    path: Path,
    list_path: Path,
    trials: Trials,
    folder: Path,
    work: Callable[[ListPart], None],
    nj: int,
    num_parts: int,
) -> None:
    """Runs WORK for each part, and writes what the parts hold to PATH."""
    if not trial_arrays.is_list(list_path):
        list_path = folder / "trials.npz"
        trials.write_as_numbered(list_path)
    ends = np.linspace(0, len(trials), num_parts + 1).astype(int).tolist()
    parts = [ListPart(path, folder, list_path, start, stop) for start, stop in pairwise(ends)]
    run_jobs(work, parts, nj, "scores", "part")
    with atomic_write(path, "wb") as merged:
        for part in parts:
            with part.file.open("rb") as file:
                shutil.copyfileobj(file, merged, 1 << 20)
            part.file.unlink()


def _score(part: ListPart) -> None:
    trials, factors = read_trials(part.trials), _factors(part.folder)
    rows = slice(part.start, part.stop)
    part.write(trials, score_blocks(factors, trials.enroll[rows], trials.test[rows]))


def _normalize(part: ListPart, method: Method) -> None:
    trials = read_trials(part.trials)
    rows = slice(part.start, part.stop)
    stats = [CohortStats(*(_load(part.folder, f"{side}.{name}") for name in ("mean", "std"))) for side in (0, 1)]
    scores = _load(part.folder, "scores")[rows]
    part.write(trials, normalized_blocks(scores, trials.enroll[rows], trials.test[rows], stats, method))


def _measure(job: tuple[Path, int, int, int | None]) -> CohortStats:
    folder, start, stop, top_n = job
    return cohort_stats(_factors(folder, slice(start, stop)), top_n)


def _arrays(factors: Factors) -> Arrays:
    same = factors.right is factors.left
    return {name: value for name, value in vars(factors).items() if not (same and name == "right")}


def _save(folder: Path, arrays: Arrays) -> None:
    for name, array in arrays.items():
        with atomic_write(folder / f"{name}.npy", "wb") as file:
            np.save(file, array)


def _load(folder: Path, name: str) -> np.ndarray:
    array: np.ndarray = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    return array


def _factors(folder: Path, rows: slice = slice(None)) -> Factors:
    """What `_arrays` was given, ROWS of the left side; copied: gathering from a mapped file is slower."""
    left = np.array(_load(folder, "left")[rows])
    right = np.array(_load(folder, "right")) if (folder / "right.npy").exists() else left
    bias, group = _load(folder, "left_bias")[rows], _load(folder, "group")[rows]
    return Factors(left, right, np.array(bias), np.array(_load(folder, "right_bias")), np.array(group))
