"""The audio that features were made of, and a VAD that hears it: for dump_vad.py and pieces.py, beside energies.py."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from threading import get_ident

import numpy as np
from numpy.typing import NDArray

from timbre.audio.reading import AudioReader
from timbre.datadir.ark import read_shape
from timbre.datadir.contents import ORIGINALS
from timbre.datadir.datadir import DataDir, Segment
from timbre.feats.dump_feats import read_samples
from timbre.feats.network_vad import speech_frames
from timbre.feats.options import FrameOptions, options_from
from timbre.feats.vad import VadOptions, energy_vad
from timbre.utils.documents import read_yaml
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class Recorded:
    """The audio that says which frames of an utterance are speech, its own or its original's; feats: its features."""

    name: str
    audio: str
    segment: Segment | None
    feats: str
    frames: FrameOptions

    @property
    def sources(self) -> set[str]:
        """The file that it lies in."""
        return set() if self.audio.endswith("|") else {self.audio}

    def decide(
        self, options: VadOptions, rows: NDArray[np.int64] | None = None, of: int | None = None
    ) -> NDArray[np.bool_]:
        """Which frames are speech, of all or of ROWS as if there were no others, (num_frames,) bool.

        Raises:
            DataError: the audio cannot be read, or is not that of the features; the utterance has not OF frames
        """
        samples = read_samples(_reader(self.frames.channel, get_ident()), self.audio, self.segment, self.frames)
        number = self.frames.num_frames(len(samples))
        if number != (wanted := read_shape(self.feats)[0] if of is None else of):
            raise DataError(f"utterance {self.name}: {number} frames of audio, but {wanted} of features", self.audio)
        if not number:
            raise DataError(f"utterance '{self.name}' has no frames", self.audio)
        if rows is None:
            return speech_frames(samples, number, options, self.frames)
        first, number = int(rows.min()), int(rows.max() - rows.min()) + 1
        shift = self.frames.shift
        length = (number - 1) * shift + self.frames.length if self.frames.snip_edges else number * shift
        heard = samples[first * shift : first * shift + length]
        return speech_frames(heard, number, options, self.frames)[rows - first]


def voiced_frames(
    options: VadOptions, energy: NDArray[np.float32], samples: Callable[[], NDArray[np.float32]], frames: FrameOptions
) -> NDArray[np.bool_]:
    """Which frames are speech: (num_frames,) bool.

    Args:
        options: how it is found
        energy: (num_frames,) log energy of each frame, of samples at int16 scale
        samples: gives the samples in [-1, 1), if they are needed
        frames: how the frames lie in them
    """
    if not options.needs_audio:
        return energy_vad(energy, options)
    return speech_frames(samples(), len(energy), options, frames)


def list_recorded(data: DataDir) -> list[Recorded]:
    """Of all utterances of DATA; of a copy as long as its original, the original's audio.

    Raises:
        DataError: no audio, or no features of known options
    """
    if not data.wavs:
        raise DataError("this VAD needs audio, but there is no wav.scp", data.path)
    frames = read_feature_options(data)
    feats = data.table("feats.scp")
    originals = data.table(ORIGINALS) if data.has(ORIGINALS) else {}
    found = []
    for utt, place in sorted(feats.items()):
        original = originals.get(utt, utt)
        as_long = original in feats and (original == utt or read_shape(feats[original])[0] == read_shape(place)[0])
        found.append(Recorded(utt, *data.recording_of(original if as_long else utt), place, frames))
    return found


def read_feature_options(data: DataDir) -> FrameOptions:
    """The options that the features of DATA were computed with.

    Raises:
        DataError: conf/feats.yaml is missing or damaged
    """
    path = data.path / "conf" / "feats.yaml"
    if not path.exists():
        raise DataError("no such file: compute features first (steps/make_fbank.py)", path)
    content = read_yaml(path)
    try:
        return options_from(content)
    except DataError as error:
        raise DataError(error.message, path) from error


@lru_cache
def _reader(channel: int, _thread: int) -> AudioReader:
    """One for the segments of a recording, which come one after the other; each thread has its own."""
    return AudioReader(channel)
