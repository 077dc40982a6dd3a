"""What the corpus fronts local/prepare_*.py share: a corpus on disk, what its copy lacks, and the sets made of it.

A front walks the published tree with `Corpus.take` or `audio`, reads official lists with `rows` and `read_trials`, and
ends with `write`, which refuses a copy that is not whole. Nothing here opens an audio file or asks for its status: a
million utterances are listed from the folders alone.
"""

import csv
import logging
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from timbre.corpora.utt_set import UttSet
from timbre.datadir.contents import MODELS, Contents
from timbre.datadir.tables import read_bytes, split_lines, write_table
from timbre.datadir.trials import Layout, read_trials
from timbre.utils.errors import DataError

LABEL_LAST = Layout({b"1": True, b"0": False}, 0, 1, 2)  # "enroll test 1|0", as CN-Celeb's
GENDERS = {
    "m": "m",
    "male": "m",
    "male_masculine": "m",
    "f": "f",
    "female": "f",
    "female_feminine": "f",
    "男": "m",
    "女": "f",
}

_TOLD = 20  # things missing that a message names

logger = logging.getLogger(__name__)


class Named(NamedTuple):
    """What a front makes of a file's path: an utterance, its speaker, and columns as of `UttSet.add`."""

    utt: str
    spk: str
    columns: Mapping[str, str | None] = MappingProxyType({})


class Corpus:
    """A corpus on disk, which is only read.

    Args:
        path: where it lies
        partial: whether a copy that lacks something will do

    Raises:
        DataError: PATH is no directory
    """

    def __init__(self, path: Path, partial: bool) -> None:
        if not path.is_dir():
            raise DataError("no such directory", path)
        self.path = path.resolve()
        self.partial = partial
        self.missing: list[str] = []

    def lacks(self, what: str) -> None:
        """Notes that something is missing; `write` tells."""
        self.missing.append(what)

    def find(self, *names: str) -> Path | None:
        """The first of NAMES, paths in the corpus, that is there; that none is, is noted."""
        for name in names:
            if (self.path / name).exists():
                return self.path / name
        self.lacks(" or ".join(names))
        return None

    def need(self, *names: str, hint: str = "") -> Path:
        """As `find`; raises DataError where there is none, whole copy or not. HINT tells where to get it."""
        for name in names:
            if (self.path / name).exists():
                return self.path / name
        what = f"neither {' nor '.join(names)} is" if len(names) > 1 else f"no {names[0]}"
        raise DataError(f"{what} in it{hint and '; '}{hint}", self.path)

    def audio(self, folder: Path | str, *suffixes: str) -> Iterator[str]:
        """Paths, relative to FOLDER of the corpus, of the files under it that end in SUFFIXES (any case), in no order.

        Names that begin with a dot are left out; those that can be no id (a blank, not UTF-8) are listed.
        """
        root = str(self.path / folder)
        folders, followed = [""], set[str]()
        while folders:
            inside = folders.pop()
            try:
                with os.scandir(f"{root}/{inside}") as entries:
                    for entry in entries:
                        name = entry.name
                        if name[0] == ".":
                            continue
                        if entry.is_dir():
                            if not (entry.is_symlink() and _leads_back(entry.path, followed)):
                                folders.append(f"{inside}{name}/")
                        elif name.lower().endswith(suffixes):
                            if name.isprintable() and inside.isprintable() and " " not in name and " " not in inside:
                                yield inside + name
                            else:
                                shown = ascii(entry.path)[1:-1]
                                logger.warning("%s: passed over: a blank in its name, or not UTF-8", shown)
            except OSError as error:
                self.lacks(f"{error.filename}: {error.strerror}")

    def take(
        self, utts: UttSet, folder: Path | str, suffix: str | tuple[str, ...], name: Callable[[str], Named | None]
    ) -> None:
        """Adds the audio under FOLDER to UTTS. NAME makes its path an utterance; None: passed over, which is noted.

        A FOLDER that is missing is noted too.
        """
        root = self.path / folder
        if not root.is_dir():
            self.lacks(str(folder))
            return
        strange = []
        for path in self.audio(root, *([suffix] if isinstance(suffix, str) else suffix)):
            named = name(path)
            if named:
                utts.add(named.utt, named.spk, f"{root}/{path}", named.columns)
            else:
                strange.append(path)
        if strange:
            text = "%s: %d files passed over, whose places are not the published ones, such as %s"
            logger.warning(text, root, len(strange), min(strange))

    def numbered(
        self, path: Path | str, columns: int | None = None, separator: str | None = None
    ) -> Iterator[tuple[int, list[str]]]:
        """(number, fields) of the lines of a list; empty lines are left out.

        Args:
            path: the list, in the corpus or anywhere
            columns: number of fields that a line must have
            separator: of fields; None: blanks; a comma: fields can be quoted

        Raises:
            DataError: cannot be read; the first line that is not UTF-8 or has another number of fields
        """
        path = self.path / path
        for number, line in enumerate(split_lines(read_bytes(path)), start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip("\r")
            except UnicodeDecodeError:
                raise DataError("not UTF-8", path, number) from None
            if not text.strip():
                continue
            try:
                parts = next(csv.reader([text])) if separator == "," else text.split(separator)
            except csv.Error as error:
                raise DataError(f"not fields with commas between: {error}", path, number) from None
            fields = [part.strip() for part in parts]
            if columns is not None and len(fields) != columns:
                raise DataError(f"{columns} fields are wanted, not {len(fields)}: '{text}'", path, number)
            yield number, fields

    def rows(self, path: Path | str, columns: int | None = None, separator: str | None = None) -> Iterator[list[str]]:
        """As `numbered`, without the numbers."""
        return (fields for _, fields in self.numbered(path, columns, separator))

    def records(
        self, path: Path | str, separator: str, columns: Collection[str]
    ) -> Iterator[tuple[int, dict[str, str]]]:
        """(number, {name of the column: field}) of the lines below the header of a list.

        Args:
            path: the list, in the corpus or anywhere
            separator: of fields
            columns: names that the header must have, among others

        Raises:
            DataError: cannot be read, no such columns, the first line with fewer fields than the header
        """
        path = self.path / path
        rows = self.numbered(path, separator=separator)
        _, header = next(rows, (1, []))
        if lacking := [name for name in columns if name not in header]:
            raise DataError(f"no column {' nor '.join(lacking)} in its header", path, 1)
        for number, fields in rows:
            if len(fields) < len(header):
                text = f"{len(header)} fields are wanted, not {len(fields)}: '{separator.join(fields)}'"
                raise DataError(text, path, number)
            yield number, dict(zip(header, fields, strict=False))

    def read_trials(
        self,
        utts: UttSet,
        name: str,
        path: Path | str,
        rename: Callable[[str], str],
        rename_enroll: Callable[[str], str] | None = None,
        layout: Layout | None = None,
        published: int | None = None,
    ) -> None:
        """Takes an official list as the trials NAME of UTTS; trials of files that are not there are noted and left out.

        Args:
            utts: the set that it is for
            name: trials or trials_<kind>
            path: the list
            rename: from the list's names to ids of utterances
            rename_enroll: the same for enrolment; models (enroll.spk2utt) must be in the tables already
            layout: of the list, if it is neither Kaldi's nor VoxCeleb's
            published: how many trials it should have

        Raises:
            DataError: a malformed line
        """
        if not (self.path / path).exists():
            self.lacks(str(path))
            return
        trials = read_trials(self.path / path, layout)
        self.check(f"trials in {Path(path).name}", len(trials), published)
        enroll_ids = list(map(rename_enroll or rename, trials.enroll_ids))
        trials = trials.renamed(enroll_ids, list(map(rename, trials.test_ids)))
        enroll = utts.tables.get(MODELS, utts.utt2spk)
        known = np.array([utt in enroll for utt in trials.enroll_ids], bool)[trials.enroll]
        known &= np.array([utt in utts.utt2spk for utt in trials.test_ids], bool)[trials.test]
        if not known.all():
            first = int(np.argmin(known))
            text = f"files of {np.sum(~known):,} trials of {Path(path).name}"
            self.lacks(f"{text}, first of line {first + 1}: '{trials.name(first)}'")
        if known.any():
            left = {side: getattr(trials, side)[known] for side in ("enroll", "test", "target")}
            utts.trials[name] = replace(trials, **left)

    def check(self, what: str, found: int, published: int | None) -> None:
        """Notes that FOUND things are not as many as PUBLISHED."""
        if published is not None and found != published:
            self.lacks(f"{what}: {found:,} are there, {published:,} are published")

    def check_set(self, what: str, utts: UttSet, speakers: int | None, number: int | None) -> None:
        """Notes where the speakers and utterances of a set are not as many as published."""
        self.check(f"{what}: speakers", utts.num_speakers, speakers)
        self.check(f"{what}: utterances", len(utts.utt2spk), number)

    def check_whole(self) -> None:
        """Tells what was noted to be missing. Raises DataError unless the copy was said to be partial."""
        more = f"; {len(self.missing) - _TOLD:,} things more" if len(self.missing) > _TOLD else ""
        if self.missing and not self.partial:
            text = "; ".join(self.missing[:_TOLD]) + more
            raise DataError(f"not whole, it lacks: {text}. --partial true takes what is there", self.path)
        for what in self.missing[:_TOLD]:
            logger.warning("%s: lacks %s", self.path, what)
        if more:
            logger.warning("%s: lacks%s", self.path, more[1:])
        self.missing.clear()

    def write(self, out_dir: Path, sets: Mapping[str, UttSet]) -> None:
        """Writes OUT_DIR/<name> for all SETS that have utterances; last of all, so that all that lacks is told at once.

        Raises:
            DataError: something is missing and the copy was not said to be partial; no set has an utterance
        """
        self.check_whole()
        filled = {name: utts for name, utts in sets.items() if utts.utt2spk}
        if not filled:
            raise DataError("none of its utterances is there", self.path)
        for name, utts in filled.items():
            tables = {file: table for file, table in utts.tables.items() if table}
            Contents(tables, utts.trials, utts.verbatim, utts.phones).write(out_dir / name)
            logger.info("%s: %d utterances of %d speakers", out_dir / name, len(utts.utt2spk), utts.num_speakers)
            for list_name, trials in utts.trials.items():
                logger.info("%s: %s", out_dir / name / list_name, trials.summary())


def write_noises(out_dir: Path, wavs: Mapping[str, str], utt2class: Mapping[str, str]) -> None:
    """A data directory of noises or impulse responses, without speakers: wav.scp, and utt2class that sorts them."""
    write_table(out_dir / "wav.scp", wavs)
    write_table(out_dir / "utt2class", utt2class)
    logger.info("%s: %d files of %d classes", out_dir, len(wavs), len(set(utt2class.values())))


def in_speaker_folder(path: str) -> Named | None:
    """S0002-BAC009S0002W0122 of S0002 for .../S0002/BAC009S0002W0122.wav; None where there is no folder."""
    *_, spk, name = path.rsplit("/", 2) if "/" in path else ("", "", "")
    return Named(f"{spk}-{name.rpartition('.')[0]}", spk) if spk else None


def stem_of(path: str) -> str:
    """name of folder/name.wav"""
    return path.rpartition("/")[2].rpartition(".")[0]


def gender_of(text: str) -> str | None:
    """m or f of a corpus's word for it; None for others."""
    return GENDERS.get(text.strip().lower())


def _leads_back(link: str, followed: set[str]) -> bool:
    """Whether a link leads to a folder that it lies in, or that another link led to: following it might never end."""
    target = os.path.realpath(link)
    if f"{os.path.realpath(os.path.dirname(link))}/".startswith(f"{target}/") or target in followed:
        return True
    followed.add(target)
    return False
