"""A voice without a network: sounds are read, embeddings are drawn from their pitch; and people for its galleries."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from tests.runtime.tables import DIM, TablePack, decision_pack
from timbre.people.voice import Voice
from timbre.runtime.encoder import Encoding
from timbre.runtime.scorer import Scorer
from timbre.runtime.sound import Sound, Unusable, read_sound

RATE = 8000


class PitchEncoder:
    """The embedding of a sound is that of its speaker, told by the strongest of 20 pitches, and some noise."""

    rate, dim, min_speech = RATE, DIM, 0.3

    def __call__(self, sound: Sound, min_speech: float | None = None) -> Encoding:
        """As Encoder's."""
        seconds = len(sound.samples) / sound.rate
        if seconds < (self.min_speech if min_speech is None else min_speech):
            raise Unusable(f"only {seconds:.2f} s of speech is found in it", sound.name)
        spectrum = np.abs(np.fft.rfft(sound.samples, sound.rate))
        speaker = int(np.argmax(spectrum[100:2100].reshape(20, 100).sum(axis=1)))
        pcm = np.rint(sound.samples * 32768).astype("<i2").tobytes()
        content = int.from_bytes(hashlib.blake2b(pcm, digest_size=8).digest(), "little")
        vector = speaker_mean(speaker) + 0.3 * np.random.default_rng(content).normal(size=DIM)
        measures = {"logdur": float(np.log(seconds)), "snr": 20.0, "magnitude": 1.0, "band": -3.0}
        return Encoding(vector.astype(np.float32), seconds, seconds, measures, (), content, sound.name)


def speaker_mean(speaker: int) -> NDArray[np.float64]:
    """Of the embeddings of a speaker: drawn as `speakers_vectors` draws."""
    return np.random.default_rng([7, speaker]).normal(size=DIM) * np.linspace(1.5, 0.2, DIM) + 0.3


def samples_of(speaker: int, take: int, seconds: float = 1.0) -> NDArray[np.float32]:
    """A recording of a speaker (below 20)."""
    random = np.random.default_rng([speaker, take])
    tone = np.sin(2 * np.pi * (150 + 100 * speaker) * np.arange(int(RATE * seconds)) / RATE)
    noisy = 0.3 * tone + 0.01 * random.normal(size=len(tone))
    return (np.rint(noisy * 32768) / 32768).astype(np.float32)


def write_takes(folder: Path, speaker: int, takes: range, seconds: float = 1.0) -> list[Path]:
    """The same as files FOLDER/sSPEAKER-TAKE.wav."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"s{speaker:02d}-{take}.wav" for take in takes]
    for path, take in zip(paths, takes, strict=True):
        soundfile.write(path, samples_of(speaker, take, seconds), RATE)
    return paths


def made_voice(kind: str = "plda-mean-lda", **changes: Any) -> Voice:
    """A voice of made speakers; CHANGES: of its pack."""
    pack = TablePack.of(decision_pack(kind))
    for name, value in changes.items():
        setattr(pack, name, value)
    return Voice(pack, PitchEncoder(), Scorer.of(pack), read_sound)
