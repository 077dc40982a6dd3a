"""Mending a data directory: what its files tell is set right, what cannot be used is dropped and named."""

from pathlib import Path

from timbre.datadir.contents import Contents, Table, is_carried, is_complete, kind_of, table_kind
from timbre.datadir.datadir import invert, parse_segment
from timbre.datadir.tables import BOM, first_unsorted, parse_lines, read_bytes, read_lists, split_blanks, split_lines
from timbre.datadir.trial_text import line_problem
from timbre.datadir.trials import Trials, layout_of
from timbre.datadir.validate import place_problem
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write


def fix(path: Path, *, drop_missing_audio: bool = False) -> list[str]:
    """Sorts the tables of PATH, drops bad and double lines, keeps the utterances that every file knows, makes spk2utt.

    The files as they were are kept in PATH/.backup.

    Args:
        path: the data directory
        drop_missing_audio: drop recordings, and their utterances, whose file is not there or empty

    Returns:
        what was changed, a line each

    Raises:
        DataError: two values for one key, or no utterance is left
    """
    mender = _Mender(drop_missing_audio)
    contents = Contents.read_with(path, mender.table, mender.trials)
    mended = contents.select(mender.usable(path, contents))
    for name, trials in contents.trials.items():
        if dropped := len(trials) - len(mended.trials.get(name, ())):
            mender.changes.append(f"{path / name}: {dropped} trials of unknown utterances dropped")
    if not mended.utt2spk:
        raise DataError("no utterance is known to all of its files", path)
    if not _is_up_to_date(path / "spk2utt", mended):
        mender.note("made from utt2spk", path / "spk2utt")
    if mender.changes:
        _back_up(path)
        mended.write(path)
    return mender.changes


class _Mender:
    """Reads tables and lists, keeping the good lines, and notes what it changes."""

    def __init__(self, drop_missing_audio: bool) -> None:
        self.drop_missing_audio = drop_missing_audio
        self.changes: list[str] = []

    def note(self, change: str, path: Path, line: int | None = None) -> None:
        self.changes.append(str(DataError(change, path, line)))

    def table(self, path: Path) -> Table:
        table: Table = {}
        for line in parse_lines(self._unix(path)):
            if line.key in table and line.value != table[line.key]:
                raise DataError(f"'{line.key}' has another value before; which one is right?", path, line.number)
            if problem := line.problem or self._value_problem(path.name, line.key, line.value):
                self.note(f"dropped: {problem}", path, line.number)
            else:
                table[line.key] = line.value
        if first_unsorted(list(table)):
            self.note("sorted", path)
        return table

    def trials(self, path: Path) -> Trials:
        triples = []
        for number, line in enumerate(split_lines(self._unix(path)), start=1):
            tokens = line.split()
            problem = line_problem(line)
            layout = None if problem else layout_of(tokens)
            if layout:
                ids = tokens[layout.enroll].decode(), tokens[layout.test].decode()
                triples.append((*ids, layout.labels[tokens[layout.label]]))
            else:
                self.note(f"dropped: {problem or 'not a trial'}", path, number)
        return Trials.of(*zip(*triples, strict=True)) if triples else Trials.of([], [], [])

    def usable(self, path: Path, contents: Contents) -> set[str]:
        """Utterances that every table knows which should."""
        utts = set(contents.utt2spk)
        for name, table in contents.tables.items():
            if kind_of(name) is None:
                continue
            kind = table_kind(name, table, contents.utt2spk)
            if name == "wav.scp" and "segments" not in contents.tables:
                kind = "utt"
            known = set(table)
            if name == "segments" and "wav.scp" in contents.tables:
                recordings = contents.tables["wav.scp"]
                known = {utt for utt, value in table.items() if parse_segment(value).recording in recordings}
            if kind != "utt":
                continue
            for utt in sorted(known - contents.utt2spk.keys()):
                self.note(f"'{utt}' dropped, because it is not in utt2spk", path / name)
            if is_complete(name):
                for utt in sorted(utts - known):
                    self.note(f"'{utt}' dropped, because {name} has nothing for it", path / "utt2spk")
                utts &= known
        return utts

    def _unix(self, path: Path) -> bytes:
        data = read_bytes(path)
        if data.startswith(BOM.encode()):
            self.note("byte order mark taken away", path)
        if b"\r\n" in data:
            self.note("Windows line ends changed", path)
        return data.removeprefix(BOM.encode()).replace(b"\r\n", b"\n")

    def _value_problem(self, name: str, key: str, value: str) -> str | None:
        if name == "utt2spk" and len(split_blanks(value)) > 1:
            return f"'utterance speaker' is wanted, not '{key} {value}'"
        if name == "wav.scp" and self.drop_missing_audio:
            return place_problem(value)
        if name == "segments":
            try:
                parse_segment(value)
            except ValueError as error:
                return f"segment '{key}': {error}"
        return None


def _is_up_to_date(path: Path, contents: Contents) -> bool:
    try:
        return read_lists(path) == invert(contents.utt2spk)
    except DataError:
        return False


def _back_up(path: Path) -> None:
    for file in path.iterdir():
        if is_carried(file.name) or file.name == "spk2utt":
            with atomic_write(path / ".backup" / file.name, "wb") as copy:
                copy.write(file.read_bytes())
