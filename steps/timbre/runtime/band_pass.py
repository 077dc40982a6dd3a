"""The Butterworth band-pass of audio/filters.py without scipy, for packs of networks that heard sound through one.

Called by encoder.py. The filter is its frequency response, sound convolved with it by FFT in pieces.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timbre.runtime.sound import Samples
from timbre.utils.errors import DataError

_BLOCK = 1 << 18  # samples that are filtered at a time, at least
_SETTLED = 1e-16  # what is left of an impulse where its response is cut off
_LONGEST = 1 << 22  # samples that an impulse may ring
_ORDERS = range(1, 31)


@dataclass(frozen=True)
class BandPass:
    """A causal Butterworth band-pass; at or above half the sample rate HIGH is no edge.

    Args:
        low: lower edge in Hz, where the gain is -3 dB
        high: upper edge in Hz
        order: of each edge
    """

    low: float
    high: float
    order: int

    def __post_init__(self) -> None:
        if not (0 < self.low < self.high < math.inf and self.order in _ORDERS):
            raise DataError(f"a band-pass of order {self.order} from {self.low} to {self.high} Hz")

    def __call__(self, samples: Samples, rate: int) -> Samples:
        """SAMPLES (N,) at RATE Hz, filtered, (N,) float32: what scipy's sosfilt gives in double precision.

        Raises:
            DataError: sound at RATE has nothing of the band
        """
        if self.low >= rate / 2:
            raise DataError(f"sound at {rate} Hz has nothing above {self.low:g} Hz")
        number = len(samples)
        tail = self._settling(rate)
        size = 1 << (max(min(_BLOCK, number), tail) + tail).bit_length()
        response, block = self._response(rate, size), size - tail
        out = np.zeros(number + tail)
        for start in range(0, number, block):
            piece = samples[start : start + block].astype(np.float64)
            heard = np.fft.irfft(np.fft.rfft(piece, size) * response, size)[: len(piece) + tail]
            out[start : start + len(heard)] += heard
        return out[:number].astype(np.float32)

    def _prototype(self) -> NDArray[np.complex128]:
        """Poles of the analogue low-pass with its edge at 1."""
        poles: NDArray[np.complex128] = -np.exp(1j * np.pi * np.arange(1 - self.order, self.order, 2) / 2 / self.order)
        return poles

    def _edges(self, rate: int) -> tuple[float, float | None]:
        """The edges as the bilinear transform, s = (z - 1) / (z + 1), wants them."""
        low = math.tan(math.pi * self.low / rate)
        return low, None if self.high >= rate / 2 else math.tan(math.pi * self.high / rate)

    def _response(self, rate: int, size: int) -> NDArray[np.complex128]:
        """(SIZE / 2 + 1,), at the frequencies of an FFT of SIZE."""
        low, high = self._edges(rate)
        s = 1j * np.tan(np.pi * np.arange(1, size // 2) / size)
        s = low / s if high is None else (s * s + low * high) / ((high - low) * s)
        response = np.ones_like(s)
        for pole in self._prototype():
            response /= s - pole
        ends = [0.0, 1.0 if high is None else 0.0]  # at frequency 0 and at half the rate
        whole: NDArray[np.complex128] = np.concatenate([ends[:1], response, ends[1:]])
        return whole

    def _settling(self, rate: int) -> int:
        """Samples until nothing is left of an impulse.

        Raises:
            DataError: they are more than one can wait for
        """
        low, high = self._edges(rate)
        poles = self._prototype()
        if high is None:
            poles = low / poles
        else:
            half = poles * (high - low) / 2
            root = np.sqrt(half * half - low * high)
            poles = np.concatenate([half + root, half - root])
        slowest = float(np.abs((1 + poles) / (1 - poles)).max())
        tail = math.log(_SETTLED) / math.log(slowest) if slowest < 1 else math.inf
        if tail > _LONGEST:
            raise DataError(f"a band-pass of order {self.order} from {self.low:g} to {self.high:g} Hz rings on and on")
        return math.ceil(tail)
