"""Effects that change how long the audio is: speed, and trimming of silence."""

import math

import numpy as np

from timbre.audio.effects.base import Effect, Rng, fit_length
from timbre.runtime.sound import Samples, resample
from timbre.utils.errors import DataError


class Speed(Effect):
    """Faster and higher, or slower and lower, as `sox speed`: resampling that is not undone.

    Args:
        factors: to choose from; 1.1 makes a second of audio 0.909 s, and 100 Hz 110 Hz
    """

    def __init__(self, factors: list[float] | None = None) -> None:
        self._factors = [0.9, 1.0, 1.1] if factors is None else factors
        if not self._factors or not all(0.1 <= factor <= 10 for factor in self._factors):
            raise DataError(f"Speed: factors must be from 0.1 to 10, not {self._factors}")

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """The length is round(num_samples / factor), at least 1."""
        factor = self._factors[rng.integers(len(self._factors))]
        if factor == 1:
            return samples
        return fit_length(resample(samples, rate * factor, rate), max(round(len(samples) / factor), 1))

    def input_length(self, num_samples: int) -> int:
        """What the fastest factor needs."""
        return math.ceil((num_samples - 0.4) * max(self._factors))  # the length is rounded


class TrimSilence(Effect):
    """Without silence at the beginning and at the end, as librosa.effects.trim; all silent audio stays as it is.

    Args:
        top_db: how far below the loudest frame silence begins
        frame: length of a frame, in samples, an even number of hops; frames are centred and beyond the ends is nothing
        hop: samples from one frame to the next
    """

    def __init__(self, top_db: float = 60.0, frame: int = 2048, hop: int = 512) -> None:
        if not top_db > 0 or not 1 <= hop <= frame or frame % (2 * hop):
            text = f"top_db > 0 and a frame of an even number of hops, not {top_db:g}, {frame} and {hop}"
            raise DataError(f"TrimSilence: {text}")
        self._top_db, self._frame, self._hop = top_db, frame, hop

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """See the class."""
        count = len(samples) // self._hop + 1  # of frames; each is so many steps before its centre, and as many after
        steps = self._frame // 2 // self._hop
        padded = np.zeros((count + 2 * steps) * self._hop, dtype=np.float32)
        padded[steps * self._hop : steps * self._hop + len(samples)] = samples
        blocks = padded.reshape(-1, self._hop)
        energy = np.concatenate([[0.0], np.cumsum(np.einsum("ij,ij->i", blocks, blocks), dtype=np.float64)])
        energies = energy[2 * steps : 2 * steps + count] - energy[:count]
        heard = np.flatnonzero(energies > energies.max() * 10 ** (-self._top_db / 10))
        if not len(heard):
            return samples
        return samples[heard[0] * self._hop : min((heard[-1] + 1) * self._hop, len(samples))]
