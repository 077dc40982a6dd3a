"""Who speaks when, as files: RTTM (NIST's Rich Transcription Time Marked) and UEM, the parts that are scored.

Read and written by the steps of diarization; local/prepare_ami.py and simulate_conversations.py write them too.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from timbre.datadir.tables import BOM, BOM_PROBLEM, check_id, read_bytes, split_blanks, split_lines
from timbre.runtime.spans import union
from timbre.runtime.turns import speaker_line
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write
from timbre.utils.number_text import to_float

_NONE = "<NA>"
_OTHERS = ("SPKR-INFO", "NON-SPEECH", "NOSCORE", "LEXEME", "NON-LEX", "SU", "A/P", "CB", "FILLER", "EDIT", "IP")


@dataclass(frozen=True, order=True)
class Turn:
    """Someone speaks, from START to END in seconds."""

    start: float
    end: float
    speaker: str


Turns = dict[str, list[Turn]]  # recording -> its turns by time
Spans = dict[str, list[tuple[float, float]]]  # recording -> start and end in seconds, by time


def read_rttm(path: Path | str) -> Turns:
    """The SPEAKER lines of an RTTM file, by recording and time; lines of other types and comments (;;) are passed over.

    Channels are not told apart: two sides of a call need recordings of their own.

    Raises:
        DataError: a line with an unknown type or too few fields, with times that are not numbers, negative or not
            finite, a duration of zero or less; no SPEAKER line at all
    """
    turns: Turns = {}
    for number, fields in _lines(path):
        if fields[0] != "SPEAKER":
            if fields[0] not in _OTHERS:
                text = f"'SPEAKER recording channel start duration ...' is wanted, not '{fields[0]}'"
                raise DataError(text, path, number)
            continue
        if len(fields) not in (9, 10):
            raise DataError(f"{len(fields)} fields; RTTM has 9 or 10", path, number)
        start, duration = _seconds(fields[3], "start", path, number), _seconds(fields[4], "duration", path, number)
        if not duration > 0:
            raise DataError(f"the duration is {fields[4]}; it must be above 0", path, number)
        if fields[7] == _NONE:
            raise DataError("the turn has no speaker (field 8)", path, number)
        turns.setdefault(fields[1], []).append(Turn(start, start + duration, fields[7]))
    if not turns:
        raise DataError("no SPEAKER line in it", path)
    return {recording: sorted(turns[recording]) for recording in sorted(turns)}


def write_rttm(path: Path | str, turns: Mapping[str, Sequence[Turn]]) -> None:
    """Writes TURNS of each recording, by time, on channel 1, in thousandths of a second."""
    with atomic_write(path) as file:
        for recording in sorted(turns):
            check_id(recording, path)
            file.writelines(rttm_line(recording, turn) for turn in sorted(turns[recording]))


def rttm_line(recording: str, turn: Turn) -> str:
    """One line of RTTM, with its line end."""
    check_id(turn.speaker)
    return speaker_line(recording, turn.start, turn.end, turn.speaker)


def read_uem(path: Path | str) -> Spans:
    """The parts of each recording that are to be scored, "recording channel start end" a line.

    Raises:
        DataError: a line that is not so, or whose times are negative or in the wrong order; an empty file
    """
    spans: Spans = {}
    for number, fields in _lines(path):
        if len(fields) != 4:
            raise DataError(f"'recording channel start end' is wanted, not {len(fields)} fields", path, number)
        start, end = _seconds(fields[2], "start", path, number), _seconds(fields[3], "end", path, number)
        if not start < end:
            raise DataError(f"it ends at {fields[3]}, not after its start {fields[2]}", path, number)
        spans.setdefault(fields[0], []).append((start, end))
    if not spans:
        raise DataError("the file is empty", path)
    return {recording: union(spans[recording]) for recording in sorted(spans)}


def speech_of(turns: Turns) -> Spans:
    """Where anyone speaks."""
    return {recording: union((turn.start, turn.end) for turn in listed) for recording, listed in turns.items()}


def _lines(path: Path | str) -> Iterable[tuple[int, list[str]]]:
    """(number, fields) of every line that says something."""
    data = read_bytes(path)
    if data.startswith(BOM.encode()):
        raise DataError(BOM_PROBLEM, path, 1)
    for number, raw in enumerate(split_lines(data), start=1):
        try:
            fields = split_blanks(raw.decode().rstrip("\r"))
        except UnicodeDecodeError:
            raise DataError("not UTF-8", path, number) from None
        if fields and not fields[0].startswith(";;"):
            yield number, fields


def _seconds(text: str, what: str, path: Path | str, number: int) -> float:
    try:
        value = to_float(text)
    except ValueError:
        raise DataError(f"the {what} is '{text}', not a number of seconds", path, number) from None
    if not 0 <= value < math.inf:
        raise DataError(f"the {what} is {text}; it must be a number of seconds, 0 or more", path, number)
    return value
