"""How loud the audio is: random gain, and loudness brought to a target."""

import math
from dataclasses import dataclass

import numpy as np

from timbre.audio.effects.base import Drawn, Effect, Rng
from timbre.audio.effects.pending import Operation, Parts
from timbre.audio.loudness import loudness
from timbre.runtime.sound import Samples
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class Scale(Operation):
    """Every sample multiplied with a factor."""

    factor: np.float32

    def on(self, samples: Samples) -> Samples:
        """See Operation."""
        return samples * self.factor

    def parts(self, num_samples: int) -> Parts:
        """See Operation."""
        return Parts("scale", np.array([self.factor], np.float32))


class Gain(Drawn):
    """A random gain.

    Args:
        low: lowest, in dB
        high: highest
    """

    def __init__(self, low: float = -12.0, high: float = 12.0) -> None:
        if not -200 <= low <= high <= 200:
            raise DataError(f"Gain: low and high are {low:g} and {high:g} dB; low must not be above high")
        self._low, self._high = low, high

    def draw(self, num_samples: int, rate: int, rng: Rng, speaker: str) -> Operation:
        """See the class."""
        return Scale(np.float32(10 ** (rng.uniform(self._low, self._high) / 20)))


class Loudness(Effect):
    """The integrated loudness of ITU-R BS.1770 brought to a target; silence stays as it is.

    Args:
        target: in LUFS; EBU R 128 has -23
    """

    def __init__(self, target: float = -23.0) -> None:
        if not -70 < target <= 0:
            raise DataError(f"Loudness: target is {target:g} LUFS; it must be above -70 and at most 0")
        self._target = target

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """See the class."""
        measured = loudness(samples, rate)
        return samples * np.float32(10 ** ((self._target - measured) / 20)) if math.isfinite(measured) else samples
