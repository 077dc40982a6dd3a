"""Butterworth band-pass of waveforms, for example to telephone band. Called by effects/filtering.py."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from timbre.utils.errors import DataError


@dataclass(frozen=True)
class BandpassOptions:
    """A Butterworth band-pass; the defaults are the telephone band.

    Args:
        low: lower edge in Hz, where the gain is -3 dB
        high: upper edge in Hz; at or above half the sample rate there is none
        order: of each edge; the filter has twice as many poles
        zero_phase: filter forwards and backwards: no delay, and the double attenuation
    """

    low: float = 300.0
    high: float = 3400.0
    order: int = 15
    zero_phase: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise DataError(f"band-pass: 0 < low < high is wanted, not low {self.low:g}, high {self.high:g}")
        if not 1 <= self.order <= 30:
            raise DataError(f"band-pass: order is {self.order}; it must lie between 1 and 30")

    def check_rate(self, rate: int) -> None:
        """Refuses a band of which audio at RATE Hz has nothing."""
        if self.low >= rate / 2:
            raise DataError(f"band-pass: low is {self.low:g} Hz; at {rate} Hz it must be below {rate / 2:g}")


def butter_bandpass(
    samples: NDArray[np.float32], rate: int, low: float, high: float, order: int = 15, zero_phase: bool = False
) -> NDArray[np.float32]:
    """SAMPLES through a Butterworth band-pass, in second-order sections: stable where a transfer function is not.

    Args:
        samples: (num_samples,)
        rate: sample rate in Hz
        low: lower edge in Hz, where the gain is -3 dB (-6 dB with zero_phase)
        high: upper edge in Hz; at or above rate / 2 there is none, and the filter is a high-pass
        order: of each edge
        zero_phase: filter forwards and backwards

    Returns:
        (num_samples,) float32; it may exceed [-1, 1), clip before storing it as integers

    Raises:
        DataError: not 0 < low < high, or low is not below rate / 2
    """
    from scipy.signal import sosfilt, sosfiltfilt  # slow to import, and not needed for a step's --help

    BandpassOptions(low, high, order, zero_phase).check_rate(rate)
    sections = _design(low, high, order, rate)
    wave = samples.astype(np.float64)
    if not zero_phase:
        return np.asarray(sosfilt(sections, wave), dtype=np.float32)
    # the default padding is longer than a short signal
    padding = min(3 * (2 * len(sections) + 1), max(len(wave) - 1, 0))
    return np.asarray(sosfiltfilt(sections, wave, padlen=padding), dtype=np.float32)


@lru_cache
def _design(low: float, high: float, order: int, rate: int) -> NDArray[np.float64]:
    """(order, 6): the filter's second-order sections; of a high-pass half as many."""
    from scipy.signal import butter

    if high >= rate / 2:
        return np.asarray(butter(order, low, "highpass", fs=rate, output="sos"))
    return np.asarray(butter(order, (low, high), "bandpass", fs=rate, output="sos"))
