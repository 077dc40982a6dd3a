"""Trial lists and score files, of any length, in and out of arrays: text, or the binary forms of trial_arrays.py.

Read by scoring and metrics; written by make_trials and the corpus fronts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from timbre.datadir import trial_arrays
from timbre.datadir.line_text import id_bytes, join_fields, number_bytes
from timbre.datadir.trial_arrays import Arrays
from timbre.datadir.trial_text import Names, read_lines
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

_LINES = 1 << 13  # lines formatted at a time: what is made of them stays in a core's cache
_BLOCK = 1 << 20  # scores looked at at a time


class Layout(NamedTuple):
    """A form of trial list: what labels mean, and the columns."""

    labels: dict[bytes, bool]
    enroll: int
    test: int
    label: int


KALDI = Layout({b"target": True, b"nontarget": False}, 0, 1, 2)
NO_LAYOUT = "neither 'enroll test target|nontarget' nor '1|0 enroll test'"
VOXCELEB = Layout({b"1": True, b"0": False}, 1, 2, 0)


@dataclass(frozen=True)
class Trials:
    """Pairs to compare: enrolment utterance (or model) and test utterance, and whether they are the same speaker.

    Args:
        enroll_ids: distinct enrolment ids
        test_ids: distinct test ids
        enroll: (num_trials,) int32, index in enroll_ids
        test: (num_trials,) int32, index in test_ids
        target: (num_trials,) bool
    """

    enroll_ids: list[str]
    test_ids: list[str]
    enroll: np.ndarray
    test: np.ndarray
    target: np.ndarray

    @classmethod
    def of(cls, enroll: Sequence[str], test: Sequence[str], target: Sequence[bool] | np.ndarray) -> "Trials":
        """Trials from a pair of ids and a label each."""
        enroll_index, test_index = _index(enroll), _index(test)
        return cls(
            list(enroll_index),
            list(test_index),
            np.array([enroll_index[name] for name in enroll], np.int32),
            np.array([test_index[name] for name in test], np.int32),
            np.array(target, bool),
        )

    def __len__(self) -> int:
        return len(self.target)

    def renamed(self, enroll_names: Sequence[str], test_names: Sequence[str]) -> "Trials":
        """The same trials with new names for enroll_ids and test_ids; equal ones become one id."""
        enroll_index, test_index = _index(enroll_names), _index(test_names)
        return replace(
            self,
            enroll_ids=list(enroll_index),
            test_ids=list(test_index),
            enroll=_translate(enroll_names, enroll_index)[self.enroll],
            test=_translate(test_names, test_index)[self.test],
        )

    def digest(self) -> bytes:
        """32 bytes that tell the ordered pairs of ids from any others, however the ids are numbered."""
        return self._digest

    def unordered_digest(self) -> bytes:
        """24 bytes that tell the pairs of ids and their labels from any others, in whatever order they stand."""
        return trial_arrays.unordered_digest(self._arrays)

    def write_as_numbered(self, path: Path) -> None:
        """Writes PATH in binary form; who reads it has the ids in the same order."""
        trial_arrays.write_numbered_list(path, self._arrays)

    @cached_property
    def _digest(self) -> bytes:
        return trial_arrays.digest(self._arrays)

    @property
    def _arrays(self) -> Arrays:
        return Arrays(self.enroll_ids, self.test_ids, self.enroll, self.test, self.target)

    @property
    def pairs(self) -> np.ndarray:
        """(num_trials,) int64: one number a pair of ids."""
        pairs: np.ndarray = self.enroll.astype(np.int64) * len(self.test_ids) + self.test
        return pairs

    def name(self, row: int) -> str:
        """The pair of ids of a trial, "enroll test"."""
        return f"{self.enroll_ids[self.enroll[row]]} {self.test_ids[self.test[row]]}"

    def summary(self) -> str:
        """For a person: "1,000 target and 10,000 nontarget trials"."""
        return f"{self.target.sum():,} target and {(~self.target).sum():,} nontarget trials"

    def count_duplicates(self) -> int:
        """How many trials repeat a pair that is already in the list."""
        pairs = np.sort(self.pairs)
        return int((pairs[1:] == pairs[:-1]).sum())


def read_trials(path: Path | str, layout: Layout | None = None) -> Trials:
    """A list in Kaldi's form, "enroll test target|nontarget", or VoxCeleb's, "1|0 enroll test": its first line tells.

    Args:
        path: the file; a .npz is in binary form
        layout: another form, that of a corpus

    Raises:
        DataError: no such file, no trial in it, or the first malformed line
    """
    if trial_arrays.is_list(path):
        return Trials(*trial_arrays.read_list(path))
    enroll_names, test_names = Names(), Names()
    enroll, test, target = [], [], []
    for lines in read_lines(path):
        layout = layout or layout_of([lines.field(0, column) for column in range(3)])
        if layout is None:
            raise DataError(NO_LAYOUT, path, lines.number)
        labels = Names(layout.labels).find(lines.words(layout.label))
        if labels.min() < 0:
            line = int(labels.argmin())
            label, wanted = lines.field(line, layout.label), b" or ".join(layout.labels).decode()
            raise DataError(f"label '{label.decode(errors='replace')}' is not {wanted}", path, lines.number + line)
        target.append(np.array(list(layout.labels.values()))[labels])
        enroll.append(enroll_names.add(lines.words(layout.enroll)))
        test.append(test_names.add(lines.words(layout.test)))
    if layout is None:
        raise DataError("no trials in it", path)
    ids = enroll_names.decoded(path, enroll), test_names.decoded(path, test)
    return Trials(*ids, _joined(enroll), _joined(test), _joined(target))


def _joined(blocks: list[np.ndarray]) -> np.ndarray:
    """BLOCKS as one, which are let go: long lists are not held twice."""
    joined = np.concatenate(blocks)
    blocks.clear()
    return joined


def layout_of(tokens: list[bytes]) -> Layout | None:
    """The form of a line of three tokens; None for neither."""
    if tokens[KALDI.label] in KALDI.labels:
        return KALDI
    return VOXCELEB if tokens[VOXCELEB.label] in VOXCELEB.labels else None


def join_trials(lists: Sequence[Trials]) -> Trials:
    """LISTS, one after another, as one."""
    enroll_index = _index(name for trials in lists for name in trials.enroll_ids)
    test_index = _index(name for trials in lists for name in trials.test_ids)
    return Trials(
        list(enroll_index),
        list(test_index),
        np.concatenate([_translate(trials.enroll_ids, enroll_index)[trials.enroll] for trials in lists]),
        np.concatenate([_translate(trials.test_ids, test_index)[trials.test] for trials in lists]),
        np.concatenate([trials.target for trials in lists]),
    )


def _index(names: Iterable[str]) -> dict[str, int]:
    return {name: index for index, name in enumerate(dict.fromkeys(names))}


def _translate(names: Sequence[str], index: dict[str, int]) -> np.ndarray:
    return np.array([index[name] for name in names], np.int32)


def write_trials(path: Path | str, trials: Trials | Iterable[Trials]) -> None:
    """Writes Kaldi's form, or the binary one if PATH is a .npz, in the order of TRIALS (or of its blocks)."""
    if trial_arrays.is_list(path):
        trial_arrays.write_list(path, (trials if isinstance(trials, Trials) else join_trials(list(trials)))._arrays)
        return
    with atomic_write(path, "wb") as file:
        for block in [trials] if isinstance(trials, Trials) else trials:
            enroll, test, labels = map(id_bytes, (block.enroll_ids, block.test_ids, ["nontarget", "target"]))
            for start in range(0, len(block), _LINES):
                rows = slice(start, start + _LINES)
                label = labels[block.target[rows].astype(np.int8)]
                file.write(join_fields(enroll[block.enroll[rows]], test[block.test[rows]], label))


def read_scores(path: Path | str, trials: Trials) -> np.ndarray:
    """Scores of TRIALS out of a file of "enroll test score" lines, in any order, or out of a .npy in theirs.

    Returns:
        (num_trials,) float64 (what a .npy has: float32), aligned to TRIALS. Lines of other pairs are passed over.

    Raises:
        DataError: malformed line, not a number, NaN, a pair scored twice, a trial without a score; a .npy that was made
            for other trials
    """
    if trial_arrays.is_scores(path):
        return _read_array(path, trials)
    sides = [Names(name.encode() for name in ids) for ids in (trials.enroll_ids, trials.test_ids)]
    values = np.empty(len(trials))  # of the first lines, as long as they are in the order of the trials
    count = 0
    rest: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for lines in read_lines(path):
        names = lines.words(0), lines.words(1)
        scores = lines.floats(2, path)
        rows = slice(count, count + len(scores))
        expected = trials.enroll[rows], trials.test[rows]
        if not rest and len(expected[0]) == len(scores) and all(map(Names.are, sides, names, expected)):
            values[rows] = scores
            count = rows.stop
        else:
            enroll, test = map(Names.find, sides, names)
            rest.append((enroll, test, scores))
    if not count and not rest:
        raise DataError("no scores in it", path)
    if count == len(trials) and not rest:
        return values
    rest.insert(0, (trials.enroll[:count], trials.test[:count], values[:count]))
    enroll, test, scores = map(np.concatenate, zip(*rest, strict=True))
    found = Trials(trials.enroll_ids, trials.test_ids, enroll, test, np.zeros(len(scores), bool))
    return _match(path, trials, found, scores)


def _read_array(path: Path | str, trials: Trials) -> np.ndarray:
    values, list_digest = trial_arrays.read_score_array(path, len(trials))
    if list_digest and list_digest != trials.digest():
        raise DataError("these are scores of another trial list, or of the same trials in another order", path)
    _check_numbers(path, trials, 0, values)
    return values


def write_scores(path: Path | str, trials: Trials, scores: np.ndarray) -> None:
    """Writes "enroll test score" lines in the order of TRIALS, with nine significant digits (float32 survives).

    A PATH that ends in .npy is written in binary form, as float32.
    """
    if len(scores) != len(trials):
        raise DataError(f"{len(scores)} scores for {len(trials)} trials", path)
    _check_numbers(path, trials, 0, scores)
    with atomic_write(path, "wb") as file:
        for data in ScoreBytes(path, trials).of(0, scores):
            file.write(data)


class ScoreBytes:
    """Scores of TRIALS as the bytes of the file PATH, which its suffix gives the form of."""

    def __init__(self, path: Path | str, trials: Trials) -> None:
        self._path, self._trials = path, trials
        sides = () if trial_arrays.is_scores(path) else (trials.enroll_ids, trials.test_ids)
        self._ids = [id_bytes(ids) for ids in sides]

    def of(self, start: int, scores: np.ndarray) -> Iterator[bytes]:
        """Those of SCORES (N,), of the trials from START on, with what stands before the first and after the last.

        Raises:
            DataError: a score is NaN
        """
        _check_numbers(self._path, self._trials, start, scores)
        if not trial_arrays.is_scores(self._path):
            for begin in range(0, len(scores), _LINES):
                yield self._lines(start + begin, scores[begin : begin + _LINES])
            return
        if start == 0:
            yield trial_arrays.array_header((len(self._trials),))
        for begin in range(0, len(scores), _BLOCK):
            yield scores[begin : begin + _BLOCK].astype("<f4").tobytes()
        if start + len(scores) == len(self._trials):
            yield self._trials.digest()

    def _lines(self, start: int, scores: np.ndarray) -> bytes:
        enroll, test = self._ids
        rows = slice(start, start + len(scores))
        return join_fields(enroll[self._trials.enroll[rows]], test[self._trials.test[rows]], number_bytes(scores))


def _check_numbers(path: Path | str, trials: Trials, start: int, scores: np.ndarray) -> None:
    """DataError where one of SCORES, of the trials from START on, is NaN."""
    for begin in range(0, len(scores), _BLOCK):
        bad = np.isnan(scores[begin : begin + _BLOCK])
        if bad.any():
            row = start + begin + int(bad.argmax())
            raise DataError(f"the score of '{trials.name(row)}' is NaN (trial {row + 1})", path)


def _match(path: Path | str, trials: Trials, found: Trials, values: np.ndarray) -> np.ndarray:
    """Scores by pair, when the file has another order or other pairs than the trials."""
    known = (found.enroll >= 0) & (found.test >= 0)
    pairs = np.where(known, found.pairs, -1)
    order = np.argsort(pairs, kind="stable")
    ranked = pairs[order]
    repeated = np.flatnonzero((ranked[1:] == ranked[:-1]) & (ranked[1:] >= 0)) + 1
    if len(repeated):
        row = int(order[repeated].min())
        raise DataError(f"'{found.name(row)}' is scored twice", path, row + 1)
    wanted = trials.pairs
    place = np.minimum(np.searchsorted(ranked, wanted), len(ranked) - 1)
    missing = np.flatnonzero(ranked[place] != wanted)
    if len(missing):
        first = trials.name(missing[0])
        raise DataError(f"no score for {len(missing)} of {len(trials)} trials, the first being '{first}'", path)
    return values[order[place]]
