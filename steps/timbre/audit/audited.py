"""A data directory with what the audit has heard in it: who speaks, of which sex, language and session; the counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.audit.audit_table import AuditTable
from timbre.datadir.datadir import DataDir
from timbre.utils.errors import DataError

UNKNOWN = "unknown"


@dataclass(frozen=True)
class Group:
    """How much there is of one kind of speech: seconds in all; shortest, median and longest utterance, in seconds."""

    name: str
    num_speakers: int
    num_utts: int
    seconds: float
    shortest: float
    median: float
    longest: float


@dataclass(frozen=True)
class AuditedSet:
    """A set, N utterances in the order of TABLE, of S speakers.

    speakers: their sorted names; speaker: (N,) number of each utterance's; sex, language, session: (N,) number of
    each utterance's in the list of names, None where no table of the data directory tells any.
    """

    name: str
    data: DataDir
    table: AuditTable
    speakers: list[str]
    speaker: NDArray[np.int64]
    sex: "Labels | None"
    language: "Labels | None"
    session: "Labels | None"

    @classmethod
    def read(cls, data: DataDir, name: str, table: Path) -> "AuditedSet":
        """The set NAME, whose utt2audit.tsv is TABLE, with spk2gender, {utt,spk}2lang and {utt,spk}2session.

        Raises:
            DataError: a table that is malformed
        """
        heard = AuditTable.read(table)
        names = [data.utt2spk[utt] for utt in heard.utts]
        speakers, speaker = np.unique(np.asarray(names, object), return_inverse=True)
        sex, language, session = (_labels(data, heard.utts, names, what) for what in ("gender", "lang", "session"))
        return cls(name, data, heard, speakers.tolist(), speaker, sex, language, session)

    def whole(self) -> Group:
        """All of it."""
        return self._group(self.name, np.ones(len(self.table), bool))

    def by(self, labels: "Labels") -> list[Group]:
        """A group for each name of LABELS."""
        return [self._group(name, labels.number == number) for number, name in enumerate(labels.names)]

    def utts_of(self) -> NDArray[np.int64]:
        """(S,) utterances of each speaker."""
        return np.bincount(self.speaker, minlength=len(self.speakers))

    def sessions_of(self) -> NDArray[np.int64] | None:
        """(S,) sessions of each speaker, None where they are not known; an utterance of an unknown one counts none."""
        if self.session is None:
            return None
        known = np.array([name != UNKNOWN for name in self.session.names])[self.session.number]
        pairs = np.unique(np.column_stack([self.speaker, self.session.number])[known], axis=0)
        return np.bincount(pairs[:, 0], minlength=len(self.speakers))

    def _group(self, name: str, chosen: NDArray[np.bool_]) -> Group:
        seconds = self.table.seconds[chosen]
        shortest, median, longest = np.quantile(seconds, [0, 0.5, 1]).tolist() if len(seconds) else (0.0, 0.0, 0.0)
        num_speakers = len(np.unique(self.speaker[chosen]))
        return Group(name, num_speakers, len(seconds), float(seconds.sum()), shortest, median, longest)


@dataclass(frozen=True)
class Labels:
    """A word for each of N utterances: (N,) number of it in NAMES."""

    names: list[str]
    number: NDArray[np.int64]


def _labels(data: DataDir, utts: Sequence[str], speakers: Sequence[str], what: str) -> Labels | None:
    """By utt2WHAT, or else by spk2WHAT; what these do not tell is UNKNOWN."""
    for table, keys in ((f"utt2{what}", utts), (f"spk2{what}", speakers)):
        if data.has(table):
            words: Any = data.table(table)
            names, number = np.unique(np.array([words.get(key, UNKNOWN) for key in keys], object), return_inverse=True)
            return Labels(names.tolist(), number)
    return None


def find_sets(data_dir: Path, train_set: str) -> list[DataDir]:
    """The training set, then the others of DATA_DIR by name; folders without utt2spk, such as noises, are none.

    Raises:
        DataError: there is no training set, or a data directory is malformed
    """
    if not data_dir.is_dir():
        raise DataError("no such folder", data_dir)
    names = sorted(path.parent.name for path in data_dir.glob("*/utt2spk"))
    if train_set not in names:
        found = f"only {', '.join(names)}" if names else "nor any other (a folder of data directories is wanted)"
        raise DataError(f"no data directory '{train_set}' in it, {found}", data_dir)
    return [DataDir.read(data_dir / name) for name in (train_set, *(name for name in names if name != train_set))]
