"""utt2audit.tsv, what is known of each utterance, a line each: the pass over the audio writes it, findings read it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.runtime.facts import AudioFacts
from timbre.utils.errors import DataError

_BLOCK = 10_000  # lines parsed at a time, so that a million lines never lie about as strings
_DTYPES: dict[str, Any] = {
    "rate": np.int32,
    "seconds": np.float64,
    "peak": np.float32,
    "level": np.float32,
    "clipped": np.float32,
    "zeros": np.float32,
    "dc": np.float32,
    "content": np.uint64,
    "speech": np.int32,
    "nonspeech": np.int32,
}
COLUMNS = ("utt", *_DTYPES, "path", "problem")
_BLANKS = str.maketrans("\t\n\r", "   ")
HEADER = "\t".join(COLUMNS) + "\n"


def audit_line(
    utt: str, path: str, facts: AudioFacts | None = None, frames: tuple[int, int] = (0, 0), problem: str = ""
) -> str:
    """A line of the table.

    Args:
        utt: the utterance
        path: its recording, as wav.scp has it
        facts: None where it could not be read
        frames: how many are speech, and how many are not
        problem: why it could not be read
    """
    facts = facts or AudioFacts(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)
    numbers = [f"{getattr(facts, field.name):.9g}" for field in fields(facts) if field.name != "content"]
    words = [utt, *numbers, f"{facts.content:016x}", *map(str, frames), path, problem]
    return "\t".join(word.translate(_BLANKS) for word in words) + "\n"


@dataclass(frozen=True)
class AuditTable:
    """The table by columns, N utterances: those of `AudioFacts`; speech and nonspeech, numbers of frames; path, where
    the recording lies; problem, why it could not be read, or "" (then all numbers are 0)."""

    utts: list[str]
    rate: NDArray[np.int32]
    seconds: NDArray[np.float64]
    peak: NDArray[np.float32]
    level: NDArray[np.float32]
    clipped: NDArray[np.float32]
    zeros: NDArray[np.float32]
    dc: NDArray[np.float32]
    content: NDArray[np.uint64]
    speech: NDArray[np.int32]
    nonspeech: NDArray[np.int32]
    path: list[str]
    problem: list[str]

    @classmethod
    def read(cls, path: Path) -> "AuditTable":
        """Reads the file PATH.

        Raises:
            DataError: a line that `audit_line` did not write
        """
        utts: list[str] = []
        paths: list[str] = []
        problems: list[str] = []
        blocks: list[list[NDArray[Any]]] = []
        with path.open(encoding="utf-8") as file:
            if file.readline() != HEADER:
                raise DataError("not a table of an audit; remove it", path, 1)
            for rows in _rows(file, path):
                columns = list(zip(*rows, strict=True))
                utts += columns[0]
                paths += columns[-2]
                problems += columns[-1]
                blocks.append(_numbers(columns[1:-2], path))
        empty = [np.empty(0, dtype) for dtype in _DTYPES.values()]
        joined = [np.concatenate(column) for column in zip(empty, *blocks, strict=True)]
        numbers: dict[str, Any] = dict(zip(_DTYPES, joined, strict=True))
        return cls(utts=utts, **numbers, path=paths, problem=problems)

    def __len__(self) -> int:
        return len(self.utts)

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(N,) whether the audio could be read."""
        return np.array([not problem for problem in self.problem], bool)


def _rows(lines: Iterable[str], path: Path) -> Iterator[list[list[str]]]:
    number, lines = 2, iter(lines)
    while block := list(islice(lines, _BLOCK)):
        rows = [line.rstrip("\n").split("\t") for line in block]
        for index, row in enumerate(rows):
            if len(row) != len(COLUMNS):
                raise DataError(
                    f"{len(COLUMNS)} columns are wanted, not {len(row)}; remove the file", path, number + index
                )
        yield rows
        number += len(block)


def _numbers(columns: Iterable[tuple[str, ...]], path: Path) -> list[NDArray[Any]]:
    try:
        return [
            np.array([int(word, 16) for word in words], dtype) if name == "content" else np.array(words).astype(dtype)
            for (name, dtype), words in zip(_DTYPES.items(), columns, strict=True)
        ]
    except ValueError as error:
        raise DataError(f"not a number in it ({error}); remove the file", path) from error
