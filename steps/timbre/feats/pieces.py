"""The pieces of utterances that a network sees at test time, by protocols.py; without torch. For vector_parts.py."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.datadir import DataDir
from timbre.feats.energies import Energy, list_energies
from timbre.feats.options import FrameOptions, options_from
from timbre.feats.protocols import Frames, Protocol, frame_shift_of
from timbre.feats.recorded import Recorded, list_recorded
from timbre.feats.utterances import Utterance
from timbre.feats.vad import VadOptions
from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.utils.configure import read_config
from timbre.utils.errors import DataError

Feats = NDArray[np.float32]
Piece = tuple[str, str, Feats | DataError]  # protocol, id, normalised features or what is wrong with them


@dataclass(frozen=True)
class Cutter:
    """Makes pieces of the utterances of a data directory.

    frames: how frames lie in a recording; vad: by which the frames of a piece of its own are voiced; heard: what it
    decides by, the energies or the audio of the utterances, as far as it is known; centred: the mean over the utterance
    is subtracted from the features on disk
    """

    frames: Frames
    vad: VadOptions
    heard: Mapping[str, Energy | Recorded] = field(default_factory=dict)
    centred: bool = False

    @classmethod
    def of(cls, data: DataDir, protocols: Sequence[Protocol], vad: VadOptions = VadOptions()) -> "Cutter":
        """For PROTOCOLS on DATA, whose conf/feats.yaml, if it is there, says what its features are.

        Raises:
            DataError: that is damaged, or frame_shift is
        """
        shift = frame_shift_of(data)
        if not any(protocol.recorded for protocol in protocols):
            return cls(Frames(shift, shift), vad)
        options = _options(data.path / "conf" / "feats.yaml")
        length = shift if options is None else options.length / options.sample_frequency
        # as compute_vad.py: column 0 of the features, unless it is known to be another
        known = data.has("energy.scp") or (data.has("feats.scp") and (options is None or options.energy_first))
        heard: list[Energy | Recorded] = []
        if vad.needs_audio:
            heard += list_recorded(data)
        elif known:
            heard += list_energies(data)
        by_name = {one.name: one for one in heard}
        return cls(Frames(shift, length), vad, by_name, options is not None and options.subtract_mean)

    def pieces(self, utterance: Utterance, protocols: Sequence[Protocol]) -> list[Piece]:
        """All pieces of UTTERANCE, which is read once."""
        try:
            loaded = utterance.load()
            whole = utterance.normalized(*loaded)
        except DataError as error:
            return [(protocol.name, utterance.utt, error) for protocol in protocols]
        found: list[Piece] = []
        for protocol in protocols:
            try:
                found += self._by(protocol, utterance, loaded[0], whole)
            except DataError as error:
                found.append((protocol.name, utterance.utt, error))
        return found

    def _by(self, protocol: Protocol, utterance: Utterance, feats: Feats, whole: Feats) -> list[Piece]:
        pieces: list[Piece] = []
        source = feats if protocol.recorded else whole
        for suffix, rows in protocol.pieces(len(source), self.frames):
            piece = whole
            if rows is not None:
                piece = self._alone(utterance, feats, rows) if protocol.recorded else whole[rows]
            pieces.append((protocol.name, utterance.utt + suffix, piece))
        return pieces

    def _alone(self, utterance: Utterance, feats: Feats, rows: NDArray[np.int64]) -> Feats:
        """ROWS of FEATS as if there were no others: voiced, where that is asked for, by their own energy."""
        options: NormalizeOptions = utterance.normalization
        part = feats[rows]
        if self.centred:
            part = part - part.mean(0)
        if not options.vad:
            return normalize(part, None, options)
        if utterance.utt not in self.heard:
            raise DataError(f"no energy of utterance {utterance.utt}, by which the frames of a cut are voiced")
        voiced = self.heard[utterance.utt].decide(self.vad, rows, len(feats))
        if not voiced.any():  # as compute_vad.py has it
            options = replace(options, vad=False)
        return normalize(part, voiced, options)


def read_pieces(
    utterances: Sequence[Utterance], nj: int, protocols: Sequence[Protocol], cutter: Cutter
) -> Iterator[Piece]:
    """All pieces of UTTERANCES in order, by each of PROTOCOLS; each utterance is read once.

    Args:
        utterances: what to read
        nj: threads that read, not far ahead
        protocols: which pieces
        cutter: makes them
    """
    read = partial(_read, protocols=protocols, cutter=cutter)
    with ThreadPoolExecutor(nj) as pool:
        for start in range(0, len(utterances), 2 * nj):
            for pieces in pool.map(read, utterances[start : start + 2 * nj]):
                yield from pieces


def _read(utterance: Utterance, protocols: Sequence[Protocol], cutter: Cutter) -> list[Piece]:
    return cutter.pieces(utterance, protocols)


def _options(path: Path) -> FrameOptions | None:
    if not path.is_file():
        return None
    try:
        return options_from(read_config(path))
    except DataError as error:
        raise DataError(error.message, path) from error
