"""What of an utterance is embedded at test time: all of it, a cut of given length, or several crops. Without torch.

pieces.py reads utterances so; results.py says in words what a protocol's name stands for.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_numbers
from timbre.utils.errors import DataError
from timbre.utils.number_text import to_float

Rows = NDArray[np.int64]

WHOLE = "full"
MARK = "#"  # between the id of an utterance and the number of a crop
_CUT = r"len(?P<cut>\d+(\.\d+)?)s(?P<seen>_seen_whole)?"
_CROPS = r"tta(?P<crops>\d+)x(?P<length>\d+(\.\d+)?)(?P<unit>s?)(?P<whole>\+full)?(?P<recorded>_recorded)?"
_NAME = re.compile(f"full|{_CUT}|{_CROPS}", re.ASCII)
_LONGEST = 3600, 360_000  # of a cut or crop: seconds, frames
_MOST = 1000  # crops


@dataclass(frozen=True)
class Frames:
    """How frames lie in a recording: one begins every `shift` seconds, and each is `length` seconds long.

    A length that is not known is that of the shift.
    """

    shift: float
    length: float

    def within(self, seconds: float) -> int:
        """How many frames in a row lie wholly in so many SECONDS; one at least."""
        return max(1, 1 + int((seconds - self.length) / self.shift + 1e-6))


@dataclass(frozen=True)
class Protocol:
    """How an utterance becomes one or several pieces; `named` reads its name.

    Args:
        name: "full": the whole utterance. "len2s": 2 s from its middle. "tta10x400": 10 crops of 400 frames, the first
            at its start, the last at its end, others evenly between; "tta5x3s+full": 5 crops of 3 s, and the whole
        num_crops: 0 for the whole alone, 1 for a cut
        length: of a crop: frames, or seconds if `seconds`
        seconds: see `length`
        whole: the whole utterance is embedded too
        recorded: pieces are of the recording, each with VAD and CMN of its own frames, as if there were no more of it:
            cuts, unless they are named "len2s_seen_whole", and crops named "tta10x400_recorded". Otherwise they are of
            the voiced frames of the whole, normalised by the whole, and hold as much speech as they say
    """

    name: str = WHOLE
    num_crops: int = 0
    length: float = 0.0
    seconds: bool = True
    whole: bool = True
    recorded: bool = False

    @classmethod
    def named(cls, name: str) -> "Protocol":
        """The protocol NAME.

        Raises:
            DataError: there is none of that name
        """
        match = _NAME.fullmatch(name)
        if match is None:
            examples = "full, len2s, len2s_seen_whole, tta10x400, tta5x3s+full, tta10x400_recorded"
            raise DataError(f"protocol '{name[:40]}' is none of {examples} or one of their like")
        if name == WHOLE:
            return cls(name)
        cut, unit = match["cut"], match["unit"]
        length, crops = float(cut or match["length"]), float(match["crops"] or 1)
        seconds = bool(cut or unit)
        if length <= 0 or crops == 0 or not (seconds or length.is_integer()):
            raise DataError(f"protocol '{name[:40]}': crops must be one or more, of a positive length, frames whole")
        if length > _LONGEST[not seconds] or crops > _MOST:
            most = f"at most {_MOST:,} crops, of {_LONGEST[0]:,} s or {_LONGEST[1]:,} frames"
            raise DataError(f"protocol '{name[:40]}': {most}")
        recorded = bool(match["recorded"] or (cut and not match["seen"]))
        return cls(name, int(crops), length, seconds, match["whole"] is not None, recorded)

    @property
    def is_cut(self) -> bool:
        """One piece from the middle: len2s."""
        return self.name.startswith("len")

    @property
    def num_pieces(self) -> int:
        """How many embeddings an utterance has."""
        return self.num_crops + self.whole

    def describe(self) -> str:
        """What it does, for the line of a result."""
        if not self.num_crops:
            return "whole utterance"
        length = f"{self.length:g} s" if self.seconds else f"{self.length:g} frames"
        if self.is_cut:
            made = "normalised by itself" if self.recorded else "normalised by the whole"
            return f"{length} of {'the recording' if self.recorded else 'speech'} from the middle, {made}"
        length += " of the recording" if self.recorded else " of speech" * self.seconds
        return f"{self.num_crops} crops of {length}" + ", and the whole utterance" * self.whole

    def pieces(self, num_frames: int, frames: Frames) -> list[tuple[str, Rows | None]]:
        """(suffix of the id, its frames (T,), or None for the whole) of each piece of an utterance of NUM_FRAMES.

        A cut is as long as a recording of so many seconds, and the whole of an utterance that is no longer; crops are
        so many shifts of frames, and an utterance that is shorter is repeated up to it.
        """
        if self.is_cut and self.recorded:
            size = frames.within(self.length)
            start = (num_frames - size) // 2
            return [("", np.arange(start, start + size) if size < num_frames else None)]
        pieces: list[tuple[str, Rows | None]] = []
        size = max(1, round(self.length / frames.shift if self.seconds else self.length))
        spare = max(0, num_frames - size)
        starts = [spare // 2] if self.is_cut else [int(at) for at in np.linspace(0, spare, self.num_crops)]
        for number, start in enumerate(starts):
            suffix = "" if self.num_pieces == 1 else f"{MARK}{number:02d}"
            pieces.append((suffix, np.arange(start, start + size) % num_frames))
        if self.whole:
            pieces.append(("" if self.num_pieces == 1 else MARK + WHOLE, None))
        return pieces


def describe(name: str) -> str:
    """In words, what a protocol's NAME stands for: that of both sides, or "full-len2s", that of enrolment and of test.

    Raises:
        DataError: there is no such protocol
    """
    sides = [Protocol.named(side).describe() for side in name.split("-")]
    if len(sides) > 2:
        raise DataError(f"protocol '{name}' has more than two sides")
    return f"enrolment: {sides[0]}, test: {sides[1]}" if len(sides) == 2 else sides[0]


def utterance_seconds(data: DataDir, utts: Iterable[str]) -> dict[str, float]:
    """Seconds of each of UTTS: by utt2dur, else by utt2num_frames and the shift of frames.

    Raises:
        DataError: an utterance is in neither
    """
    if data.has("utt2dur") or not data.has("utt2num_frames"):
        name, scale = "utt2dur", 1.0
    else:
        name, scale = "utt2num_frames", frame_shift_of(data)
    table, wanted = read_numbers(data.path / name), list(utts)
    if missing := [utt for utt in wanted if utt not in table]:
        text = f"no length of '{missing[0]}' ({len(missing)} of {len(wanted)} utterances)"
        raise DataError(text, data.path / name)
    return {utt: scale * table[utt] for utt in wanted}


def frame_shift_of(data: DataDir) -> float:
    """Seconds between the frames of DATA, by its frame_shift file; 0.01 where there is none.

    Raises:
        DataError: the file holds no such number
    """
    if not data.has("frame_shift"):
        return 0.01
    text = (data.path / "frame_shift").read_text(encoding="utf-8").strip()
    try:
        shift = to_float(text)
    except ValueError:
        shift = 0.0
    if not 0 < shift < 1:
        raise DataError(f"a number of seconds is wanted, not '{text}'", data.path / "frame_shift")
    return shift
