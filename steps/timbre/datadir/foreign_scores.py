"""Score files of other toolkits: which column is what, by a header or by what stands in it. For copy_scores.py.

Kaldi "enroll test score"; WeSpeaker and 3D-Speaker "enroll test score label"; SpeechBrain "enroll test label score";
ESPnet "enroll*test score label"; NIST "modelid segmentid side LLR" with a header; scores and labels alone; CSV, TSV.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np

from timbre.datadir import trial_arrays
from timbre.datadir.tables import BOM, split_blanks
from timbre.datadir.trials import Trials
from timbre.utils.errors import DataError
from timbre.utils.number_text import to_float

LABELS = {"target": True, "1": True, "tgt": True, "same": True, "true": True}
LABELS |= {
    "nontarget": False,
    "0": False,
    "non": False,
    "imp": False,
    "impostor": False,
    "different": False,
    "false": False,
}
_NAMES = {
    "enroll": {"enroll", "enrol", "enrollment", "enrolment", "modelid", "model", "utt1", "id1", "file1", "utterance1"},
    "test": {"test", "segmentid", "segment", "utt2", "id2", "file2", "utterance2"},
    "pair": {"pair", "trial", "trialid"},
    "score": {"score", "scores", "llr", "similarity", "cosine"},
    "label": {"label", "labels", "target", "targettype", "key", "istarget"},
}
_LAYOUTS = (  # of files without a header
    ("enroll", "test", "score"),
    ("enroll", "test", "score", "label"),
    ("enroll", "test", "label", "score"),
    ("label", "enroll", "test", "score"),
    ("pair", "score", "label"),
    ("pair", "label", "score"),
    ("score", "label"),
    ("label", "score"),
    ("score",),
)
_LOOK = 10_000  # lines that tell what a column is
_SKIP = "-"


@dataclass(frozen=True)
class ForeignScores:
    """What a file says: pairs of ids or None, scores (N,) float64, labels (N,) bool or None; first_line: of row 0."""

    path: Path
    columns: tuple[str, ...]
    pairs: list[tuple[str, str]] | None
    scores: np.ndarray
    target: np.ndarray | None
    first_line: int

    @classmethod
    def read(cls, path: Path, columns: Sequence[str] = ()) -> "ForeignScores":
        """The file PATH; COLUMNS says what they are (enroll, test, pair, score, label, or - for others).

        Raises:
            DataError: malformed line, unknown or ambiguous form, a score that is no finite number, an unknown label
        """
        lines = _lines(path)
        if lines == [""]:
            raise DataError("no scores in it", path)
        split = _splitter(lines[0])
        head = split(lines[0])
        named = _named(head)
        rows = lines[1:] if named else lines
        if columns or named:
            _check_columns(columns or named, path)
        found = tuple(columns) or named or _guess([split(line) for line in islice(rows, _LOOK)], path)
        first = 1 + bool(named)
        if not rows:
            raise DataError("a header, but no scores", path)
        fields = _columns(rows, split, len(found), path, first)
        scores = np.fromiter(
            (_number(text, path, first + row) for row, text in enumerate(fields[found.index("score")])), float
        )
        target = None
        if "label" in found:
            texts = fields[found.index("label")]
            target = np.fromiter((_label(text, path, first + row) for row, text in enumerate(texts)), bool)
        pairs = None
        if "pair" in found:
            pairs = [_pair(text, path, first + row) for row, text in enumerate(fields[found.index("pair")])]
        elif "enroll" in found:
            pairs = list(zip(fields[found.index("enroll")], fields[found.index("test")], strict=True))
        return cls(path, found, pairs, scores, target, first)

    def trials(self) -> Trials:
        """The trials as the file lists them; without labels, all are non-targets.

        Raises:
            DataError: it has no ids
        """
        if self.pairs is None:
            raise DataError("no ids in it: give the trial list whose order it is in (--trials)", self.path)
        target = np.zeros(len(self.scores), bool) if self.target is None else self.target
        return Trials.of([pair[0] for pair in self.pairs], [pair[1] for pair in self.pairs], target)

    def align(self, trials: Trials, trials_path: Path) -> np.ndarray:
        """(num_trials,) scores of TRIALS, by ids, or by order where the file has none.

        Ids that are file names, a/b/1.wav, are found as a/b/1 and a-b-1 too, if TRIALS has such.

        Raises:
            DataError: a trial without a score, a pair scored twice, another number of lines, labels that contradict
        """
        if self.pairs is None:
            if len(self.scores) != len(trials):
                text = f"{len(self.scores)} scores without ids, but {len(trials)} trials in {trials_path}"
                raise DataError(text, self.path)
            rows = np.arange(len(trials))
        else:
            rows = self._rows_of(trials)
        if self.target is not None:
            wrong = np.flatnonzero(self.target[rows] != trials.target)
            if len(wrong):
                word = "target" if self.target[rows[wrong[0]]] else "nontarget"
                text = (
                    f"'{trials.name(wrong[0])}' is a {word} here, but not in {trials_path} ({len(wrong)} such trials)"
                )
                raise DataError(text, self.path, int(rows[wrong[0]]) + self.first_line)
        scores: np.ndarray = self.scores[rows]
        return scores

    def _rows_of(self, trials: Trials) -> np.ndarray:
        known = {*trials.enroll_ids, *trials.test_ids}
        place: dict[tuple[str, str], int] = {}
        for row, pair in enumerate(self.pairs or ()):
            key = (_known(pair[0], known), _known(pair[1], known))
            if key in place:
                raise DataError(f"'{key[0]} {key[1]}' is scored twice", self.path, row + self.first_line)
            place[key] = row
        enroll, test = trials.enroll_ids, trials.test_ids
        keys = zip(trials.enroll.tolist(), trials.test.tolist(), strict=True)
        rows = np.fromiter((place.get((enroll[one], test[other]), -1) for one, other in keys), np.int64, len(trials))
        missing = np.flatnonzero(rows < 0)
        if len(missing):
            first = trials.name(missing[0])
            text = f"no score for {len(missing)} of {len(trials)} trials, the first being '{first}'"
            raise DataError(text, self.path)
        return rows


def is_own_form(path: Path, trials: Trials) -> bool:
    """Whether PATH is what `read_scores` reads, at millions of lines a second: a .npy, or "enroll test score" lines.

    The first line tells, whose ids must be of TRIALS.
    """
    if trial_arrays.is_scores(path):
        return True
    try:
        with path.open(encoding="utf-8") as file:
            fields = split_blanks(file.readline().removesuffix("\n"))
    except UnicodeDecodeError:
        return False
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror or error}", path) from error
    return (
        len(fields) == 3
        and _is_number(fields[2])
        and fields[0] in set(trials.enroll_ids)
        and fields[1] in set(trials.test_ids)
    )


def _lines(path: Path) -> list[str]:
    if trial_arrays.is_scores(path):
        raise DataError("no ids and no columns in it: give just the trial list whose order it is in (--trials)", path)
    try:
        return path.read_text(encoding="utf-8").removeprefix(BOM).replace("\r\n", "\n").removesuffix("\n").split("\n")
    except UnicodeDecodeError:
        raise DataError("not UTF-8", path) from None
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror or error}", path) from error


def _splitter(line: str) -> Callable[[str], list[str]]:
    """How lines like LINE are split: at tabs, commas or semicolons, or at blanks where there are none of them."""
    for mark in ("\t", ",", ";"):
        if mark in line:
            return lambda text: [field.strip().strip('"') for field in text.split(mark)]
    return split_blanks


def _named(head: Sequence[str]) -> tuple[str, ...]:
    """What the columns are, if HEAD is a header: one of its fields is the name of a score, and none is a number."""
    plain = ["".join(filter(str.isalnum, name.lower())) for name in head]
    found = tuple(next((kind for kind, names in _NAMES.items() if name in names), _SKIP) for name in plain)
    return found if "score" in found and not any(map(_is_number, head)) else ()


def _check_columns(columns: Sequence[str], path: Path) -> None:
    named = [name for name in columns if name != _SKIP]
    ids = {"enroll", "test"} & set(named)
    if not set(named) <= set(_NAMES) or len(named) > len(set(named)) or "score" not in named or len(ids) == 1:
        text = "columns are enroll and test, or pair; score; label; or -, each once, and score among them"
        raise DataError(f"{text}; not {', '.join(columns)}", path)


def _guess(rows: Sequence[Sequence[str]], path: Path) -> tuple[str, ...]:
    """The layout of _LAYOUTS that fits all ROWS."""
    count = len(rows[0]) if rows else 0
    texts = list(zip(*(row for row in rows if len(row) == count), strict=True))
    tests: dict[str, Callable[[str], bool]] = {
        "score": _is_number,
        "label": lambda text: text.lower() in LABELS,
        "pair": lambda text: text.count("*") == 1,
    }
    fits = [
        layout
        for layout in _LAYOUTS
        if len(layout) == count
        and all(all(map(tests[name], texts[place])) for place, name in enumerate(layout) if name in tests)
    ]
    if len(fits) > 1:  # words are labels beyond doubt; 0 and 1 in two columns are not
        fits = [layout for layout in fits if "pair" in layout] or fits
    if len(fits) != 1:
        what = "could be " + " or ".join(f"'{' '.join(layout)}'" for layout in fits) if fits else "is of no form known"
        raise DataError(f"'{' '.join(rows[0]) if rows else ''}' {what}: say what the columns are (--columns)", path, 1)
    return fits[0]


def _columns(
    rows: Sequence[str], split: Callable[[str], list[str]], count: int, path: Path, first: int
) -> list[list[str]]:
    fields: Iterator[list[str]] = map(split, rows)
    columns: list[list[str]] = [[] for _ in range(count)]
    for number, row in enumerate(fields, start=first):
        if len(row) != count or "" in row:
            raise DataError(f"{count} fields are wanted, not '{rows[number - first]}'", path, number)
        for column, text in zip(columns, row, strict=True):
            column.append(text)
    return columns


def _number(text: str, path: Path, line: int) -> float:
    if not _is_number(text):
        raise DataError(f"not a number: '{text}'", path, line)
    value = to_float(text)
    if not math.isfinite(value):
        raise DataError(f"the score is {'NaN' if math.isnan(value) else 'infinite'}", path, line)
    return value


def _label(text: str, path: Path, line: int) -> bool:
    label = LABELS.get(text.lower())
    if label is None:
        raise DataError(f"label '{text}' is not target, nontarget, 1, 0 or one of their like", path, line)
    return label


def _pair(text: str, path: Path, line: int) -> tuple[str, str]:
    enroll, mark, test = text.partition("*")
    if not (mark and enroll and test):
        raise DataError(f"'enroll*test' is wanted, not '{text}'", path, line)
    return enroll, test


def _is_number(text: str) -> bool:
    try:
        to_float(text)
    except ValueError:
        return False
    return True


def _known(key: str, known: set[str]) -> str:
    """KEY, or what the trials call the file of that name."""
    if key in known:
        return key
    bare = str(PurePosixPath(key).with_suffix("")) if "." in PurePosixPath(key).name else key
    return next((name for name in (bare, bare.replace("/", "-"), key.replace("/", "-")) if name in known), key)
