"""Band-passes as effects; the filter itself is in filters.py of the room."""

from abc import abstractmethod
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from timbre.audio.effects.base import Effect, Rng
from timbre.audio.effects.pending import Operation, Parts, Pending
from timbre.audio.filters import BandpassOptions, butter_bandpass
from timbre.runtime.sound import Samples
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class Filter(Operation):
    """A band-pass of audio at a rate, forwards only."""

    options: BandpassOptions
    rate: int

    def on(self, samples: Samples) -> Samples:
        """See Operation."""
        return butter_bandpass(samples, self.rate, **vars(self.options))

    def parts(self, num_samples: int) -> Parts:
        """As long an impulse response as there are samples gives the same, whatever the filter remembers."""
        return Parts("convolve", _impulse_response(self.options, self.rate, num_samples))


@lru_cache(maxsize=64)
def _impulse_response(options: BandpassOptions, rate: int, num_samples: int) -> Samples:
    impulse = np.zeros(num_samples, np.float32)
    impulse[0] = 1
    response = butter_bandpass(impulse, rate, **vars(options))
    heard = np.flatnonzero(np.abs(response) > 1e-8)
    return response[: int(heard[-1]) + 1]


class _Band(Effect):
    """A band-pass of drawn options; what goes forwards only may wait."""

    @abstractmethod
    def _options(self, rng: Rng) -> BandpassOptions: ...

    @abstractmethod
    def _all_options(self) -> list[BandpassOptions]: ...

    def try_at(self, rate: int) -> None:
        """Every band."""
        for options in self._all_options():
            options.check_rate(rate)

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """DataError: audio at RATE has nothing of the band."""
        return Filter(self._options(rng), rate).on(samples)

    def defer(self, pending: Pending, rate: int, rng: Rng, speaker: str) -> Pending:
        """See Effect."""
        options = self._options(rng)
        options.check_rate(rate)
        pending = pending.then(Filter(options, rate))
        return Pending(pending.made()) if options.zero_phase else pending


class BandPass(_Band):
    """A Butterworth band-pass; the defaults are the telephone band.

    Args:
        low: lower edge in Hz, where the gain is -3 dB
        high: upper edge in Hz; at or above half the sample rate of the audio there is none
        order: of each edge; the filter has twice as many poles
        zero_phase: filter forwards and backwards: no delay, and the double attenuation
    """

    def __init__(self, low: float = 300.0, high: float = 3400.0, order: int = 15, zero_phase: bool = False) -> None:
        self._band = BandpassOptions(low, high, order, zero_phase)

    def _options(self, rng: Rng) -> BandpassOptions:
        return self._band

    def _all_options(self) -> list[BandpassOptions]:
        return [self._band]


class RandomBandPass(_Band):
    """A Butterworth band-pass with edges drawn from lists.

    Args:
        lows: lower edges in Hz
        highs: upper edges in Hz; one at or above half the sample rate of the audio is none
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
        self._bands = [[BandpassOptions(low, high, order, zero_phase) for high in highs] for low in lows]

    def _options(self, rng: Rng) -> BandpassOptions:
        row = self._bands[rng.integers(len(self._bands))]
        return row[rng.integers(len(row))]

    def _all_options(self) -> list[BandpassOptions]:
        return [band for row in self._bands for band in row]
