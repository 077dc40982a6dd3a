"""Effects that change how long the audio is: speed, and trimming of silence."""

import numpy as np

from steps.audio.effects.base import Effect, Rng, fit_length
from steps.audio.reading import Samples, resample
from steps.utils.errors import DataError


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


class TrimSilence(Effect):
    """Without silence at the beginning and at the end, as librosa.effects.trim; all silent audio stays as it is.

    Args:
        top_db: how far below the loudest frame silence begins
        frame: length of a frame, in samples; frames are centred and beyond the ends there is nothing
        hop: samples from one frame to the next
    """

    def __init__(self, top_db: float = 60.0, frame: int = 2048, hop: int = 512) -> None:
        if not top_db > 0 or not 1 <= hop <= frame:
            raise DataError(f"TrimSilence: top_db > 0 and 1 <= hop <= frame, not {top_db:g}, {hop} and {frame}")
        self._top_db, self._frame, self._hop = top_db, frame, hop

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """See the class."""
        energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
        centres = np.arange(0, len(samples) + 1, self._hop)
        starts = np.clip(centres - self._frame // 2, 0, len(samples))
        ends = np.clip(centres - self._frame // 2 + self._frame, 0, len(samples))
        energies = energy[ends] - energy[starts]
        heard = np.flatnonzero(energies > energies.max() * 10 ** (-self._top_db / 10))
        if not len(heard):
            return samples
        return samples[heard[0] * self._hop : min((heard[-1] + 1) * self._hop, len(samples))]
