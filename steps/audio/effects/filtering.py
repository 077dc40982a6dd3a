"""Band-passes as effects; the filter itself is in steps/audio/filters.py."""

from steps.audio.effects.base import Effect, Rng
from steps.audio.filters import BandpassOptions, butter_bandpass
from steps.audio.reading import Samples
from steps.utils.errors import DataError


class BandPass(Effect):
    """A Butterworth band-pass; the defaults are the telephone band.

    Args:
        low: lower edge in Hz, where the gain is -3 dB
        high: upper edge in Hz
        order: of each edge; the filter has twice as many poles
        zero_phase: filter forwards and backwards: no delay, and the double attenuation
    """

    def __init__(self, low: float = 300.0, high: float = 3400.0, order: int = 15, zero_phase: bool = False) -> None:
        self._options = BandpassOptions(low, high, order, zero_phase)

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """DataError: audio at RATE has no such band."""
        return butter_bandpass(samples, rate, **vars(self._options))


class RandomBandPass(Effect):
    """A Butterworth band-pass with edges drawn from lists.

    Args:
        lows: lower edges in Hz
        highs: upper edges in Hz
        order: of each edge
        zero_phase: filter forwards and backwards
    """

    def __init__(
        self,
        lows: list[float] | None = None,
        highs: list[float] | None = None,
        order: int = 8,
        zero_phase: bool = False,
    ) -> None:
        lows = [300.0] if lows is None else lows
        highs = [2000.0, 3000.0, 3400.0, 4000.0, 5000.0, 6000.0, 7000.0] if highs is None else highs
        if not lows or not highs:
            raise DataError("RandomBandPass: an empty list of edges")
        self._options = [[BandpassOptions(low, high, order, zero_phase) for high in highs] for low in lows]

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """DataError: audio at RATE has no such band."""
        row = self._options[rng.integers(len(self._options))]
        return butter_bandpass(samples, rate, **vars(row[rng.integers(len(row))]))
