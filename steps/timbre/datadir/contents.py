"""All that a data directory holds, in memory: what fix, subset, split, combine and copy read, change and write.

A table's name tells what its keys are (utt2dur, spk2gender, feats.scp): a new table is carried without a change here.
"""

from collections.abc import Callable, Collection, Set
from dataclasses import dataclass, field, replace
from pathlib import Path, PureWindowsPath
from typing import Literal, TypeVar

import numpy as np

from timbre.datadir import trial_arrays
from timbre.datadir.datadir import DataDir, invert, is_data, parse_segment
from timbre.datadir.phones import PHONES, Phones, read_phones, write_phones
from timbre.datadir.tables import check_id, read_bytes, read_table, split_blanks, write_lists, write_table
from timbre.datadir.trials import Trials, read_trials, write_trials
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

Kind = Literal["utt", "spk", "recording"]
Table = dict[str, str]
File = TypeVar("File")

MODELS = "enroll.spk2utt"  # model -> enrolment utterances; the enrolment ids of trials then name models
ORIGINALS = "utt2uniq"  # utterance -> the one that it is a copy of, perhaps itself: copies have the same value
_VERBATIM = ("frame_shift", "conf/*.yaml")  # true of every utterance


def kind_of(name: str) -> Kind | None:
    """What the keys of the table NAME are; None: not a table, or one that is made from others (spk2utt)."""
    if name == "wav.scp" or name.startswith("reco2"):
        return "recording"
    if name.startswith("spk2") and name != "spk2utt":
        return "spk"
    if name.startswith("utt2") or name == "segments" or name.endswith(".scp"):
        return "utt"
    return None


def table_kind(name: str, table: Collection[str], utt2spk: Table) -> Kind:
    """What the keys of TABLE are, looking at them too: an .scp, such as cmvn.scp, can be of speakers."""
    kind = kind_of(name)
    assert kind, name
    if kind == "utt" and name.endswith(".scp") and utt2spk.keys().isdisjoint(table):
        return kind if set(utt2spk.values()).isdisjoint(table) else "spk"
    return kind


def is_complete(name: str) -> bool:
    """Whether the table NAME knows every utterance (or speaker) where it is there; spk2gender, say, may know some."""
    return name.endswith(".scp") or name in ("utt2spk", "segments", "utt2dur", "utt2num_frames")


def is_trials(name: str) -> bool:
    """Whether NAME is that of a trial list in text: trials, or trials_<something>."""
    return name == "trials" or (name.startswith("trials_") and not trial_arrays.is_list(name))


def place_from(root: Path, place: str) -> str:
    """What an .scp says, "path", "path:offset" or "cmd |", with a relative path taken from ROOT."""
    if place.endswith("|") or Path(place).is_absolute() or PureWindowsPath(place).is_absolute():
        return place
    return str(root / place)


def is_carried(name: str) -> bool:
    """Whether NAME is that of a table or trial list that contents hold."""
    return kind_of(name) is not None or name in (MODELS, PHONES) or is_trials(name)


@dataclass(frozen=True)
class Contents:
    """A data directory's files.

    Args:
        tables: file name -> table, but for spk2utt, which follows from utt2spk
        trials: file name -> trial list
        verbatim: file name -> bytes of what no selection changes
        phones: utterance -> its phones (phones.ctm)
    """

    tables: dict[str, Table]
    trials: dict[str, Trials]
    verbatim: dict[str, bytes]
    phones: Phones = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Contents":
        """Everything in PATH that is a table, a trial list, or true of every utterance.

        Raises:
            DataError: what `DataDir.read` refuses, and any malformed table or list
        """
        DataDir.read(path)
        return cls.read_with(path, read_table, read_trials)

    @classmethod
    def read_with(cls, path: Path, table: Callable[[Path], Table], trials: Callable[[Path], Trials]) -> "Contents":
        """As `read`, with other readers of a table and of a trial list, and no more checks than theirs."""
        if not (path / "utt2spk").exists():
            raise DataError("no utt2spk in it" if path.is_dir() else "no such data directory", path)
        names = sorted(entry.name for entry in path.iterdir() if entry.is_file())
        verbatim = sorted(file for pattern in _VERBATIM for file in path.glob(pattern))
        return cls(
            tables={name: table(path / name) for name in names if kind_of(name) or name == MODELS},
            trials={name: trials(path / name) for name in names if is_trials(name)},
            verbatim={str(file.relative_to(path)): read_bytes(file) for file in verbatim},
            phones=read_phones(path / PHONES) if PHONES in names else {},
        )

    @property
    def utt2spk(self) -> Table:
        return self.tables["utt2spk"]

    def select(self, utts: Set[str]) -> "Contents":
        """What concerns the utterances UTTS: their lines, speakers and recordings, and the trials among them.

        A table or list of which nothing is left is left out.
        """
        kept: dict[Kind, Collection[str]] = {
            "utt": frozenset(utts),
            "spk": {spk for utt, spk in self.utt2spk.items() if utt in utts},
            "recording": self._recordings_of(utts),
        }
        tables = {}
        for name, table in self.tables.items():
            if name == MODELS:
                lists = {model: [utt for utt in split_blanks(line) if utt in utts] for model, line in table.items()}
                tables[name] = {model: " ".join(left) for model, left in lists.items() if left}
            else:
                wanted = kept[table_kind(name, table, self.utt2spk)]
                tables[name] = {key: value for key, value in table.items() if key in wanted}
        enroll = tables.get(MODELS, utts)
        trials = {name: _select_trials(list_, enroll, utts) for name, list_ in self.trials.items()}
        return Contents(
            {name: table for name, table in tables.items() if table or name == "utt2spk"},
            {name: list_ for name, list_ in trials.items() if len(list_)},
            self.verbatim,
            {utt: phones for utt, phones in self.phones.items() if utt in utts},
        )

    def _recordings_of(self, utts: Set[str]) -> Set[str]:
        segments = self.tables.get("segments")
        if segments is None:
            return utts
        return {parse_segment(value).recording for utt, value in segments.items() if utt in utts}

    def rename(self, utt: Callable[[str], str], spk: Callable[[str], str]) -> "Contents":
        """New ids everywhere. Recordings keep theirs where segments tell them from utterances.

        Raises:
            DataError: two ids become one, or none that `check_id` takes
        """
        new: dict[Kind, Callable[[str], str]] = {
            "utt": utt,
            "spk": spk,
            "recording": (lambda name: name) if "segments" in self.tables else utt,
        }
        tables = {}
        for name, table in self.tables.items():
            if name == MODELS:
                tables[name] = {spk(model): " ".join(map(utt, split_blanks(line))) for model, line in table.items()}
            else:
                key = new[table_kind(name, table, self.utt2spk)]
                tables[name] = {key(old): spk(value) if name == "utt2spk" else value for old, value in table.items()}
            if len(tables[name]) < len(table):
                raise DataError(f"the new ids are not distinct in {name}")
        for name in sorted({*tables["utt2spk"], *tables["utt2spk"].values()}):
            check_id(name)
        enroll = spk if MODELS in self.tables else utt
        trials = {
            name: list_.renamed(list(map(enroll, list_.enroll_ids)), list(map(utt, list_.test_ids)))
            for name, list_ in self.trials.items()
        }
        phones = {utt(name): listed for name, listed in self.phones.items()}
        return replace(self, tables=tables, trials=trials, phones=phones)

    def relocate(self, root: Path) -> "Contents":
        """Relative paths of the .scp tables taken from ROOT."""
        tables = {
            name: {key: place_from(root, place) for key, place in table.items()} if name.endswith(".scp") else table
            for name, table in self.tables.items()
        }
        return replace(self, tables=tables)

    def counts(self) -> tuple[int, int]:
        """(number of utterances, number of speakers)"""
        return len(self.utt2spk), len(set(self.utt2spk.values()))

    def drop(self, names: Collection[str]) -> "Contents":
        """These contents without the files NAMES. utt2spk stays."""
        if "utt2spk" in names:
            raise DataError("utt2spk cannot be left out of a data directory")
        tables, trials = _without(self.tables, names), _without(self.trials, names)
        return Contents(tables, trials, _without(self.verbatim, names), {} if PHONES in names else self.phones)

    def write(self, path: Path) -> None:
        """Writes every file into PATH; of a data directory that is there takes away tables and lists not in these."""
        if not self.utt2spk:
            raise DataError("no utterance is left to write", path)
        was_data = is_data(path, "segments" in self.tables)
        for name, data in self.verbatim.items():
            with atomic_write(path / name, "wb") as file:
                file.write(data)
        for name, table in self.tables.items():
            write_table(path / name, table)
        write_lists(path / "spk2utt", invert(self.utt2spk))
        for name, trials in self.trials.items():
            write_trials(path / name, trials)
        if self.phones:
            write_phones(path / PHONES, self.phones)
        written = {*self.tables, *self.trials, *([PHONES] if self.phones else [])}
        for stale in path.iterdir() if was_data else ():
            if is_carried(stale.name) and stale.name not in written:
                stale.unlink()


def _select_trials(trials: Trials, enroll: Collection[str], test: Collection[str]) -> Trials:
    enroll_kept = np.array([name in enroll for name in trials.enroll_ids], bool)
    test_kept = np.array([name in test for name in trials.test_ids], bool)
    rows = enroll_kept[trials.enroll] & test_kept[trials.test]
    return replace(trials, enroll=trials.enroll[rows], test=trials.test[rows], target=trials.target[rows])


def _without(files: dict[str, File], names: Collection[str]) -> dict[str, File]:
    return {name: file for name, file in files.items() if name not in names}
