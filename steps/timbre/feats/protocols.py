"""What of an utterance is embedded at test time: all of it, a cut of given length, or several crops. Without torch.

extract_embeddings.py reads utterances through here; results.py says in words what a protocol's name stands for.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_numbers
from timbre.feats.normalize import NormalizeOptions, normalize
from timbre.feats.utterances import Utterance
from timbre.utils.errors import DataError
from timbre.utils.number_text import to_float

Feats = NDArray[np.float32]
Piece = tuple[str, Feats | DataError]

WHOLE = "full"
MARK = "#"  # between the id of an utterance and the number of a crop
_RECORDED = "_recorded"
_CUT = r"len(?P<cut>\d+(\.\d+)?)s"
_CROPS = r"tta(?P<crops>\d+)x(?P<length>\d+(\.\d+)?)(?P<unit>s?)(?P<whole>\+full)?"
_NAME = re.compile(f"full|({_CUT}|{_CROPS})(?P<recorded>{_RECORDED})?")


@dataclass(frozen=True)
class Protocol:
    """How an utterance becomes one or several pieces; `named` reads its name.

    Args:
        name: "full": the whole utterance. "len2s": 2 s from its middle. "tta10x400": 10 crops of 400 frames, the first
            at its start, the last at its end, others evenly between; "tta5x3s+full": 5 crops of 3 s, and the whole
        num_crops: 0 for the whole alone
        length: of a crop: frames, or seconds if `seconds`; an utterance that is shorter is repeated up to it
        seconds: see `length`
        whole: the whole utterance is embedded too
        recorded: "len2s_recorded": crops are of the recording, each with its own CMN and voiced frames, as toolkits
            without a VAD do it; otherwise they are of the normalised, voiced frames and hold as much speech as they say
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
            raise DataError(f"protocol '{name}' is not full, len2s, tta10x400, tta5x3s+full or one of their like")
        cut, crops = match["cut"], match["crops"]
        if name == WHOLE:
            return cls(name)
        length = float(cut or match["length"])
        if length <= 0 or crops == "0" or not (cut or match["unit"] or length.is_integer()):
            raise DataError(f"protocol '{name}': crops must be one or more, of a positive length, frames whole")
        seconds = bool(cut or match["unit"])
        return cls(name, int(crops or 1), length, seconds, match["whole"] is not None, match["recorded"] is not None)

    @property
    def num_pieces(self) -> int:
        """How many embeddings an utterance has."""
        return self.num_crops + self.whole

    def describe(self) -> str:
        """What it does, for the line of a result."""
        if not self.num_crops:
            return "whole utterance"
        length = f"{self.length:g} s" if self.seconds else f"{self.length:g} frames"
        length += " of the recording" if self.recorded else " of speech" * self.seconds
        if self.name.startswith("len"):
            return f"{length} from the middle"
        return f"{self.num_crops} crops of {length}" + ", and the whole utterance" * self.whole

    def pieces(self, num_frames: int, frame_shift: float) -> list[tuple[str, NDArray[np.int64]]]:
        """(suffix of the id, frames (T,)) of each piece of an utterance of NUM_FRAMES, FRAME_SHIFT seconds apart."""
        pieces = []
        size = max(1, round(self.length / frame_shift if self.seconds else self.length))
        spare = max(0, num_frames - size)
        if self.name.startswith("len"):
            starts = [spare // 2]
        else:
            starts = [int(start) for start in np.linspace(0, spare, self.num_crops)]
        for number, start in enumerate(starts):
            suffix = "" if self.num_pieces == 1 else f"{MARK}{number:02d}"
            pieces.append((suffix, np.arange(start, start + size) % num_frames))
        if self.whole:
            pieces.append(("" if self.num_pieces == 1 else MARK + WHOLE, np.arange(num_frames)))
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


def read_pieces(utterances: Sequence[Utterance], nj: int, protocol: Protocol, frame_shift: float) -> Iterator[Piece]:
    """(id, normalised features) of all pieces of UTTERANCES in order, or (utterance, what is wrong with it).

    Args:
        utterances: what to read
        nj: threads that read, not far ahead
        protocol: which pieces
        frame_shift: in seconds
    """
    read = partial(_read, protocol=protocol, frame_shift=frame_shift)
    with ThreadPoolExecutor(nj) as pool:
        for start in range(0, len(utterances), 2 * nj):
            for pieces in pool.map(read, utterances[start : start + 2 * nj]):
                yield from pieces


def _read(utterance: Utterance, protocol: Protocol, frame_shift: float) -> list[Piece]:
    try:
        if protocol.recorded:
            return _of_recording(utterance, protocol, frame_shift)
        feats = utterance.read()
        return [(utterance.utt + suffix, feats[rows]) for suffix, rows in protocol.pieces(len(feats), frame_shift)]
    except DataError as error:
        return [(utterance.utt, error)]


def _of_recording(utterance: Utterance, protocol: Protocol, frame_shift: float) -> list[Piece]:
    feats, voiced = utterance.load()
    if not len(feats) or (voiced is not None and len(voiced) != len(feats)):
        utterance.read()  # tells what is wrong
    pieces: list[Piece] = []
    for suffix, rows in protocol.pieces(len(feats), frame_shift):
        options: NormalizeOptions = utterance.normalization
        part = None if voiced is None else voiced[rows]
        if part is not None and not part.any():  # a crop of a pause: better all of it than nothing
            options = replace(options, vad=False)
        pieces.append((utterance.utt + suffix, normalize(feats[rows], part, options)))
    return pieces
