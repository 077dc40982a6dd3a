"""Trial lists and score files: text of millions of lines in and out of arrays, in blocks of bounded memory.

Read by scoring and metrics; written by make_trials and the corpus fronts.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, repeat
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from steps.datadir.tables import BLANKS, CRLF, split_lines
from steps.utils.errors import DataError
from steps.utils.files import atomic_write

_BLOCK = 1 << 22  # bytes of text at a time; tokens take about ten times as much
_LINES = 1 << 13  # lines formatted at a time


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
        path: the file
        layout: another form, that of a corpus

    Raises:
        DataError: no such file, no trial in it, or the first malformed line
    """
    enroll, test, target = _Ids(), _Ids(), []
    for number, tokens in _token_blocks(path):
        layout = layout or layout_of(tokens[:3])
        if layout is None:
            raise DataError(NO_LAYOUT, path, number)
        labels = list(map(layout.labels.get, tokens[layout.label :: 3]))
        if None in labels:
            line = labels.index(None)
            label, wanted = tokens[3 * line + layout.label], b" or ".join(layout.labels).decode()
            raise DataError(f"label '{label.decode(errors='replace')}' is not {wanted}", path, number + line)
        target.append(np.array(labels, bool))
        enroll.add(tokens[layout.enroll :: 3])
        test.add(tokens[layout.test :: 3])
    if layout is None:
        raise DataError("no trials in it", path)
    enroll_ids, enroll_indices = enroll.finish(path)
    test_ids, test_indices = test.finish(path)
    return Trials(enroll_ids, test_ids, enroll_indices, test_indices, np.concatenate(target))


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
    """Writes Kaldi's form, in the order of TRIALS (or of its blocks, one after another)."""
    with atomic_write(path) as file:
        for block in [trials] if isinstance(trials, Trials) else trials:
            labels = np.where(block.target, "target", "nontarget")
            _write_lines(file, block, "%s %s %s\n", labels)


def read_scores(path: Path | str, trials: Trials) -> np.ndarray:
    """Scores of TRIALS out of a file of "enroll test score" lines, in any order.

    Returns:
        (num_trials,) float64, aligned to TRIALS. Lines of other pairs are passed over.

    Raises:
        DataError: malformed line, not a number, NaN, a pair scored twice, a trial without a score
    """
    enroll_index = {name.encode(): index for index, name in enumerate(trials.enroll_ids)}
    test_index = {name.encode(): index for index, name in enumerate(trials.test_ids)}
    enroll, test, scores = [], [], []
    for number, tokens in _token_blocks(path):
        enroll.append(_lookup(enroll_index, tokens[0::3]))
        test.append(_lookup(test_index, tokens[1::3]))
        scores.append(_floats(tokens[2::3], path, number))
    if not scores:
        raise DataError("no scores in it", path)
    values = np.concatenate(scores)
    found = Trials(
        trials.enroll_ids, trials.test_ids, np.concatenate(enroll), np.concatenate(test), np.zeros(len(values), bool)
    )
    if np.array_equal(found.enroll, trials.enroll) and np.array_equal(found.test, trials.test):
        return values
    return _match(path, trials, found, values)


def write_scores(path: Path | str, trials: Trials, scores: np.ndarray) -> None:
    """Writes "enroll test score" lines in the order of TRIALS, with nine significant digits (float32 survives)."""
    if len(scores) != len(trials):
        raise DataError(f"{len(scores)} scores for {len(trials)} trials", path)
    if np.isnan(scores).any():
        row = int(np.isnan(scores).argmax())
        raise DataError(f"the score of '{trials.name(row)}' is NaN", path)
    with atomic_write(path) as file:
        _write_lines(file, trials, "%s %s %.9g\n", scores)


class _Ids:
    """Numbers for names, in order of appearance: one look-up a token, whether it is new or not."""

    def __init__(self) -> None:
        self._index: defaultdict[bytes, int] = defaultdict(count().__next__)
        self._blocks: list[np.ndarray] = []

    def add(self, tokens: list[bytes]) -> None:
        self._blocks.append(np.fromiter(map(self._index.__getitem__, tokens), np.int32, len(tokens)))

    def finish(self, path: Path | str) -> tuple[list[str], np.ndarray]:
        """(names, index of each token's name); DataError where a name is not UTF-8."""
        indices = np.concatenate(self._blocks)
        names: list[str] = []
        try:
            names.extend(map(bytes.decode, self._index))
        except UnicodeDecodeError:
            raise DataError("not UTF-8", path, int(np.argmax(indices == len(names))) + 1) from None
        return names, indices


def _lookup(index: dict[bytes, int], tokens: list[bytes]) -> np.ndarray:
    """(num_tokens,) int32; -1 for a token that is not in INDEX."""
    values = map(index.get, tokens, repeat(-1))
    return np.fromiter(values, np.int32, len(tokens))


def _token_blocks(path: Path | str) -> Iterator[tuple[int, list[bytes]]]:
    """(number of the first line, tokens) of blocks of lines; DataError at the first line without three tokens."""
    number = 1
    for text in _line_blocks(path):
        codes = np.frombuffer(text, np.uint8)
        separators = codes[codes <= 32]
        plain = len(separators) % 3 == 0 and (separators.reshape(-1, 3) == (32, 32, 10)).all()
        tokens = text.split()
        if not plain or len(tokens) != len(separators):
            _check_lines(path, text, number)
        yield number, tokens
        number += len(tokens) // 3


def _check_lines(path: Path | str, text: bytes, number: int) -> None:
    """Finds the first bad line; other blanks than one space between the fields are no problem."""
    for line_number, line in enumerate(split_lines(text), start=number):
        if problem := line_problem(line):
            raise DataError(problem, path, line_number)


def line_problem(line: bytes) -> str | None:
    """What keeps LINE from being three fields of text."""
    if line.endswith(b"\r"):
        return CRLF
    try:
        shown = line.decode().strip(BLANKS)
    except UnicodeDecodeError:
        return "not UTF-8"
    fields = len(line.split())
    return None if fields == 3 else f"three fields are wanted, not {fields}: '{shown}'"


def _line_blocks(path: Path | str) -> Iterator[bytes]:
    """The file in blocks of whole lines, each ending in LF."""
    try:
        with Path(path).open("rb") as file:
            rest = b""
            while block := file.read(_BLOCK):
                head, newline, tail = block.rpartition(b"\n")
                if newline:
                    yield rest + head + newline
                    rest = tail
                else:
                    rest += block
            if rest:
                yield rest + b"\n"
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror or error}", path) from error


def _floats(tokens: list[bytes], path: Path | str, number: int) -> np.ndarray:
    try:
        values = np.fromiter(map(float, tokens), np.float64, len(tokens))
    except ValueError:
        for line, token in enumerate(tokens, start=number):
            if not _is_float(token):
                raise DataError(f"not a number: '{token.decode(errors='replace')}'", path, line) from None
        raise
    if np.isnan(values).any():
        raise DataError("the score is NaN", path, number + int(np.isnan(values).argmax()))
    return values


def _is_float(token: bytes) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True


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


def _write_lines(file: IO[str], trials: Trials, form: str, third: np.ndarray) -> None:
    enroll_names = np.array(trials.enroll_ids, object)
    test_names = np.array(trials.test_ids, object)
    for start in range(0, len(trials), _LINES):
        block = slice(start, start + _LINES)
        fields: list[object] = [None] * (3 * len(third[block]))
        fields[0::3] = enroll_names[trials.enroll[block]].tolist()
        fields[1::3] = test_names[trials.test[block]].tolist()
        fields[2::3] = third[block].tolist()
        file.write(form * (len(fields) // 3) % tuple(fields))
