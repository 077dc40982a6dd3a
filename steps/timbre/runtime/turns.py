"""Turns of speech with names, and how they are written: lines for people, JSON, RTTM. Made by stream.py, diarize.py."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, order=True)
class Turn:
    """Somebody speaks, from START to END in seconds.

    name: of the gallery, or "unknown 2"; known: whether it is of the gallery; llr: log-likelihood ratio of the turn
    for that person against anybody else, calibrated; nan for a stranger who has not been heard before;
    number: of the turn. A later turn with the same number replaces it; corrects: its name is another than was said;
    going_on: the end is not heard yet.
    """

    start: float
    end: float
    name: str
    llr: float = float("nan")
    known: bool = False
    number: int = 0
    corrects: bool = False
    going_on: bool = False

    def as_dict(self) -> dict[str, object]:
        """For JSON: times in milliseconds' precision, no NaN."""
        plain = asdict(self)
        plain.update(start=round(self.start, 3), end=round(self.end, 3))
        plain["llr"] = round(self.llr, 3) if self.llr == self.llr else None
        return plain

    def __str__(self) -> str:
        llr = f"  LLR {self.llr:.1f}" if self.llr == self.llr else ""
        more = " ..." if self.going_on else " (corrected)" if self.corrects else ""
        return f"{clock(self.start)} - {clock(self.end)}  {self.name}{llr}{more}"


def clock(seconds: float) -> str:
    """1:02:03.4, or 2:03.4."""
    tenths = round(10 * seconds)
    hours, minutes, rest = tenths // 36000, tenths // 600 % 60, tenths % 600
    text = f"{minutes}:{rest // 10:02d}.{rest % 10}"
    return text if not hours else f"{hours}:{text.zfill(7)}"


def speaker_line(recording: str, start: float, end: float, speaker: str) -> str:
    """One line of RTTM (NIST's Rich Transcription Time Marked), with its line end; times to thousandths of a second."""
    return f"SPEAKER {recording} 1 {start:.3f} {end - start:.3f} <NA> <NA> {speaker} <NA> <NA>\n"


def as_rttm(recording: str, turns: Sequence[Turn]) -> str:
    """TURNS as RTTM, by time; the format has blanks between fields, so that those in names become `_`."""
    recording = "_".join(recording.split()) or "recording"
    return "".join(speaker_line(recording, one.start, one.end, "_".join(one.name.split())) for one in sorted(turns))


def as_json(recording: str, turns: Sequence[Turn]) -> str:
    """TURNS and who speaks for how long."""
    shares: dict[str, float] = {}
    for one in turns:
        shares[one.name] = shares.get(one.name, 0.0) + one.end - one.start
    content = {
        "recording": recording,
        "speakers": {name: round(seconds, 3) for name, seconds in shares.items()},
        "turns": [one.as_dict() for one in sorted(turns)],
    }
    return json.dumps(content, indent=2, ensure_ascii=False)
