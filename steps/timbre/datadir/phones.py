"""Which phone is said when in an utterance, phones.ctm: Kaldi's CTM, "utterance channel start duration phone" a line.

The corpus fronts write it, validation checks it, the commands of explain read it. Times are seconds from the start of
the utterance.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from timbre.datadir.tables import BOM, BOM_PROBLEM, check_id, read_bytes, split_blanks, split_lines
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write
from timbre.utils.number_text import to_float

PHONES = "phones.ctm"
_ROUNDING = 0.002  # seconds that a phone may begin before the end of the one before it: times are written in ms
_PAST_END = 0.03  # seconds that a phone may end past its utterance: labellers work in windows


@dataclass(frozen=True, order=True)
class Phone:
    """A phone is said, from START on for DURATION, in seconds."""

    start: float
    duration: float
    name: str

    @property
    def end(self) -> float:
        """Where it ends, in seconds."""
        return self.start + self.duration


Phones = dict[str, list[Phone]]  # utterance -> its phones by time


def read_phones(path: Path | str, seconds: Mapping[str, float] = {}) -> Phones:
    """The phones of each utterance of PATH, as they come.

    Args:
        path: the file; a sixth field, a confidence, is passed over
        seconds: how long utterances are, where it is known

    Raises:
        DataError: the first line that is malformed, begins before the one before it of its utterance ends, comes after
            lines of another utterance, or ends past the end of the utterance; an empty file
    """
    phones: Phones = {}
    for number, utt, phone, problem in _parsed(path, seconds):
        if problem or phone is None:
            raise DataError(problem, path, number)
        phones.setdefault(utt, []).append(phone)
    if not phones:
        raise DataError("the file is empty", path)
    return phones


def phone_problems(path: Path, seconds: Mapping[str, float], utts: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) of every bad line of PATH; UTTS are those of utt2spk, SECONDS as in `read_phones`."""
    told: set[str] = set()
    count = 0
    for number, utt, _, problem in _parsed(path, seconds):
        count += 1
        if problem:
            yield number, problem
        if utt and utt not in utts and utt not in told:
            told.add(utt)
            yield number, f"utterance '{utt}' is not in utt2spk"
    if not count:
        yield 1, "the file is empty"


def write_phones(path: Path | str, phones: Mapping[str, Sequence[Phone]]) -> None:
    """Writes PHONES of each utterance, on channel 1, to a hundredth of a millisecond.

    Raises:
        DataError: an utterance or a phone is no id (empty, or with a blank)
    """
    with atomic_write(path) as file:
        for utt in sorted(phones):
            check_id(utt, path)
            for phone in phones[utt]:
                check_id(phone.name, path)
                file.write(f"{utt} 1 {phone.start:.5f} {phone.duration:.5f} {phone.name}\n")


def _parsed(path: Path | str, seconds: Mapping[str, float]) -> Iterator[tuple[int, str, Phone | None, str]]:
    """(number, utterance, phone, problem) of each line; of a bad one the phone is None, the utterance perhaps ""."""
    data = read_bytes(path)
    if data.startswith(BOM.encode()):
        raise DataError(BOM_PROBLEM, path, 1)
    ended: set[str] = set()
    last, end = "", 0.0
    for number, raw in enumerate(split_lines(data), start=1):
        utt, phone, problem = _line(raw)
        if phone is not None:
            if utt != last:
                ended.add(last)
                last, end = utt, 0.0
            if utt in ended:
                problem = f"phones of '{utt}' are in two places; lines of an utterance stay together"
            elif phone.start < end - _ROUNDING:
                problem = f"'{phone.name}' begins at {phone.start:g} s, before the phone before it ends, at {end:g} s"
            elif phone.end > seconds.get(utt, math.inf) + _PAST_END:
                problem = f"'{phone.name}' ends at {phone.end:g} s, past the end of '{utt}', {seconds[utt]:g} s"
            end = max(end, phone.end)
        yield number, utt, None if problem else phone, problem


def _line(raw: bytes) -> tuple[str, Phone | None, str]:
    try:
        fields = split_blanks(raw.decode().rstrip("\r"))
    except UnicodeDecodeError:
        return "", None, "not UTF-8"
    if len(fields) not in (5, 6):
        return "", None, f"'utterance channel start duration phone' is wanted, not {len(fields)} fields"
    utt, _, start, duration, name = fields[:5]
    try:
        phone = Phone(to_float(start), to_float(duration), name)
    except ValueError:
        return utt, None, f"start and duration must be seconds, not '{start} {duration}'"
    if not 0 <= phone.start < math.inf:
        return utt, None, f"it starts at {start}; that must be a number of seconds, 0 or more"
    if not 0 < phone.duration < math.inf:
        return utt, None, f"the duration is {duration}; it must be above 0"
    return utt, phone, ""
