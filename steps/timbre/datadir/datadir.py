"""A Kaldi data directory as a value: wav.scp, segments and utt2spk, read and checked; every step starts from it."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from timbre.datadir.tables import check_order, read_table, split_blanks, write_lists, write_table
from timbre.utils.errors import DataError
from timbre.utils.number_text import to_float


@dataclass(frozen=True)
class Segment:
    """A part of a recording, in seconds; end -1 means to the end, as in Kaldi."""

    recording: str
    start: float
    end: float

    def __str__(self) -> str:
        return f"{self.recording} {self.start!r} {'-1' if self.end == -1 else repr(self.end)}"


@dataclass(frozen=True)
class DataDir:
    """What the files of a data directory say; read with `DataDir.read`, made new with `write`.

    Args:
        path: the directory
        wavs: recording -> path or "cmd |" (wav.scp); empty where only feats.scp exists
        utt2spk: utterance -> speaker
        segments: utterance -> part of a recording; empty: every recording is an utterance
    """

    path: Path
    wavs: dict[str, str]
    utt2spk: dict[str, str]
    segments: dict[str, Segment] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | str, need_speakers: bool = True) -> "DataDir":
        """The data directory at PATH.

        Args:
            path: the directory
            need_speakers: False: without utt2spk, every utterance is a speaker of its own

        Raises:
            DataError: the first problem found: a malformed or unsorted table, an utterance that another file does not
                know. `timbre.datadir.validate` lists them all.
        """
        path = Path(path)
        if not path.is_dir():
            raise DataError("no such data directory", path)
        wavs = read_table(path / "wav.scp", ordered=True) if (path / "wav.scp").exists() else {}
        segments = read_segments(path / "segments") if (path / "segments").exists() else {}
        if need_speakers or (path / "utt2spk").exists():
            utt2spk = _read_utt2spk(path / "utt2spk")
        else:
            utt2spk = {utt: utt for utt in segments or wavs or read_table(path / "feats.scp")}
        data = cls(path, wavs, utt2spk, segments)
        for name, table in (("utt2spk", utt2spk), ("wav.scp", wavs), ("segments", segments)):
            if not table and data.has(name):
                raise DataError("the file is empty", path / name)
        data._check()
        return data

    def _check(self) -> None:
        if self.segments:
            _check_same(self.utt2spk, self.path / "utt2spk", self.segments, self.path / "segments")
            for number, (utt, segment) in enumerate(self.segments.items(), start=1):
                if segment.recording not in self.wavs:
                    text = f"segment '{utt}' is of recording '{segment.recording}', which is not in wav.scp"
                    raise DataError(text, self.path / "segments", number)
        elif self.wavs:
            _check_same(self.utt2spk, self.path / "utt2spk", self.wavs, self.path / "wav.scp")
        elif not self.has("feats.scp"):
            raise DataError("neither wav.scp nor feats.scp is there", self.path)

    def write(self, path: Path | str) -> None:
        """Writes wav.scp, utt2spk, spk2utt and segments under PATH (made where it is missing)."""
        path = Path(path)
        was_data = is_data(path, has_segments=bool(self.segments))
        if self.wavs:
            write_table(path / "wav.scp", self.wavs)
        if self.segments:
            write_table(path / "segments", {utt: str(segment) for utt, segment in self.segments.items()})
        elif was_data:
            (path / "segments").unlink(missing_ok=True)
        write_lists(path / "spk2utt", self.spk2utt())
        write_table(path / "utt2spk", self.utt2spk)

    @property
    def utts(self) -> list[str]:
        """Utterance ids in C order."""
        return sorted(self.utt2spk)

    def spk2utt(self) -> dict[str, list[str]]:
        """Speaker -> utterances, both in C order."""
        return invert(self.utt2spk)

    def has(self, name: str) -> bool:
        """Whether the directory holds the file NAME."""
        return (self.path / name).exists()

    def table(self, name: str) -> dict[str, str]:
        """The table NAME, such as "feats.scp"; DataError when it is absent or malformed."""
        return read_table(self.path / name)

    def recording_of(self, utt: str) -> tuple[str, Segment | None]:
        """(path or "cmd |", segment or None for the whole recording) of an utterance; DataError when it has none."""
        segment = self.segments.get(utt)
        recording = segment.recording if segment else utt
        if recording not in self.wavs:
            raise DataError(f"utterance '{utt}' has no recording", self.path / "wav.scp")
        return self.wavs[recording], segment


def is_data(path: Path, has_segments: bool) -> bool:
    """Whether PATH is a data directory already, whose old tables go when it is written.

    Raises:
        DataError: it is something else, with segments, which would be taken for those of a directory that has none
    """
    if (path / "utt2spk").is_file():
        return True
    if not has_segments and (path / "segments").exists():
        raise DataError("holds segments of something else; choose another folder for the data directory", path)
    return False


def read_segments(path: Path | str) -> dict[str, Segment]:
    """The segments file, "utt recording start end" in seconds; DataError at the first malformed line."""
    segments = {}
    for number, (utt, value) in enumerate(read_table(path, ordered=True).items(), start=1):
        try:
            segments[utt] = parse_segment(value)
        except ValueError as error:
            raise DataError(f"segment '{utt}': {error}", path, number) from None
    return segments


def parse_segment(value: str) -> Segment:
    """The Segment of "recording start end"; ValueError says what is wrong with it."""
    fields = split_blanks(value)
    if len(fields) != 3:
        raise ValueError(f"'recording start end' is wanted, not '{value}'")
    try:
        segment = Segment(fields[0], to_float(fields[1]), to_float(fields[2]))
    except ValueError:
        raise ValueError(f"start and end must be seconds, not '{fields[1]} {fields[2]}'") from None
    if not 0 <= segment.start < math.inf:
        raise ValueError(f"it starts at {fields[1]}, outside the recording")
    if segment.end != -1 and not segment.start < segment.end < math.inf:
        raise ValueError(f"it ends at {fields[2]}, not after its start {fields[1]}")
    return segment


def invert(utt2spk: dict[str, str]) -> dict[str, list[str]]:
    """spk2utt of utt2spk, speakers and utterances in C order."""
    spk2utt: dict[str, list[str]] = {}
    for utt in sorted(utt2spk):
        spk2utt.setdefault(utt2spk[utt], []).append(utt)
    return dict(sorted(spk2utt.items()))


def _read_utt2spk(path: Path) -> dict[str, str]:
    utt2spk = read_table(path)
    for number, (utt, spk) in enumerate(utt2spk.items(), start=1):
        if len(split_blanks(spk)) > 1:
            raise DataError(f"'utterance speaker' is wanted, not '{utt} {spk}': has an id a space?", path, number)
    check_order(utt2spk, path)  # last, since an id with a space is seldom in order
    return utt2spk


def _check_same(utts: dict[str, str], utts_path: Path, others: Iterable[str], others_path: Path) -> None:
    known = set(others)
    for number, utt in enumerate(utts, start=1):
        if utt not in known:
            raise DataError(f"utterance '{utt}' is not in {others_path.name}", utts_path, number)
    for number, utt in enumerate(others, start=1):
        if utt not in utts:
            raise DataError(f"utterance '{utt}' is not in {utts_path.name}", others_path, number)
