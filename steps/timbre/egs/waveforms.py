"""Utterances as samples, from which egs of waveforms are cut; beside utterances.py, which has them as features."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from timbre.audio.audio_files import to_int16
from timbre.audio.reading import AudioReader
from timbre.datadir.ark import read_mat
from timbre.datadir.datadir import DataDir, Segment
from timbre.feats.dump_feats import read_samples
from timbre.feats.options import FrameOptions, require
from timbre.feats.recorded import read_feature_options
from timbre.runtime.normalize import NormalizeOptions
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class Waveform:
    """Where the audio and the VAD decision of an utterance lie; None where the data directory has no decision."""

    utt: str
    place: str
    segment: Segment | None
    vad: str | None
    features: FrameOptions

    def read(self) -> NDArray[np.int16]:
        """Samples (num_frames, frame shift): a row for each frame of the features, or for each voiced one.

        Voiced stretches fade into each other (see `join_voiced`). The last row ends with the mirror image of the
        samples before it where the audio does not fill it, as the last frames do.

        Raises:
            DataError: it cannot be read, or does not fit the VAD decision
        """
        try:
            samples = read_samples(_reader(self.features.channel), self.place, self.segment, self.features)
            rows = self._rows(to_int16(samples)[0])
            if self.vad is None:
                return rows
            voiced = read_mat(self.vad, self.utt) != 0
            text = f"{len(rows)} frames of audio, but a VAD decision for {len(voiced)}: run steps/compute_vad.py again"
            require(len(voiced) == len(rows), text)
            return join_voiced(rows, voiced)
        except DataError as error:
            raise DataError(f"utterance {self.utt}: {error}") from error

    def _rows(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        number, shift = self.features.num_frames(len(samples)), self.features.shift
        missing = number * shift - len(samples)
        if missing > 0:
            samples = np.pad(samples, (0, missing), mode="symmetric")
        return samples[: number * shift].reshape(number, shift)


def join_voiced(rows: NDArray[np.int16], voiced: NDArray[np.bool_]) -> NDArray[np.int16]:
    """The VOICED (num_frames,) ones of ROWS (num_frames, frame shift), cross-faded where others lay between.

    Cut hard, a join is a click, heard at all frequencies. So over half a frame shift around it the stretch before goes
    on into the pause that followed it, ever softer, while the pause before the next stretch comes in. Each sample stays
    in its place.
    """
    frames = np.flatnonzero(voiced)
    chosen: NDArray[np.int16] = rows[frames]
    joins = np.flatnonzero(np.diff(frames) > 1) + 1  # in CHOSEN, of the first row after each
    shift = rows.shape[1]
    half = shift // 4
    steps = np.arange(-half, half)
    rising = np.float32(0.5) - np.cos(np.pi * (steps + half + 0.5) / (2 * half or 1), dtype=np.float32) / 2
    source, flat = rows.reshape(-1), chosen.reshape(-1)
    before = source[(frames[joins - 1, None] + 1) * shift + steps].astype(np.float32)
    after = source[frames[joins, None] * shift + steps].astype(np.float32)
    flat[joins[:, None] * shift + steps] = np.rint(before + rising * (after - before))
    return chosen


def list_waveforms(data: DataDir, normalization: NormalizeOptions) -> list[Waveform]:
    """All utterances of DATA, in the order of their ids, as audio for the features that DATA has.

    Raises:
        DataError: no audio, no features of known options or with dither, or no VAD where NORMALIZATION needs it
    """
    if not data.wavs:
        raise DataError("egs of waveforms need audio, but there is no wav.scp", data.path)
    features = read_feature_options(data)
    if features.dither:
        raise DataError("its features have dither, which those computed in training cannot have", data.path)
    vads = data.table("vad.scp") if normalization.vad else {}
    missing = next((utt for utt in data.utts if normalization.vad and utt not in vads), None)
    if missing is not None:
        raise DataError(f"utterance {missing} is not in vad.scp")
    return [Waveform(utt, *data.recording_of(utt), vads.get(utt), features) for utt in data.utts]


@lru_cache(maxsize=1)
def _reader(channel: int) -> AudioReader:
    """One for the segments of a recording, which come one after the other."""
    return AudioReader(channel)
