"""A handset or microphone that was drawn: its band, its tilt and its gentle resonances, as one linear filter."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from timbre.audio.effects.base import Drawn, Rng, note
from timbre.audio.effects.pending import Operation, Parts
from timbre.runtime.sound import Samples
from timbre.utils.errors import DataError

Range = tuple[float, float]

_SECONDS = 0.032  # of the impulse response; a resonance of a third of an octave at 150 Hz has died away by then
_FLOOR = 1e-4  # lowest gain relative to the highest: 80 dB down


@dataclass(frozen=True)
class Fir(Operation):
    """Convolution with an impulse response (num_taps,) that begins at once."""

    response: Samples

    def on(self, samples: Samples) -> Samples:
        """See Operation."""
        from scipy.signal import oaconvolve  # slow to import

        return np.asarray(oaconvolve(samples, self.response)[: len(samples)], np.float32)

    def parts(self, num_samples: int) -> Parts:
        """See Operation."""
        return Parts("convolve", self.response)


class Handset(Drawn):
    """Another handset for each utterance; every range is drawn from uniformly, edges by octaves.

    The gain at 1 kHz stays near 1. What lies beyond half the sample rate is of no effect.

    Args:
        low: lower band edge in Hz, where the gain is -3 dB; below it falls by 12 dB an octave
        high: upper band edge in Hz; above it falls by 24 dB an octave
        tilt: slope of the band in dB an octave
        peaks: number of resonances, peaks or dips, between 150 and 6000 Hz
        height: standard deviation of their heights in dB
        width: their widths in octaves
    """

    def __init__(
        self,
        low: Range = (50.0, 300.0),
        high: Range = (3000.0, 8000.0),
        tilt: Range = (-2.0, 2.0),
        peaks: int = 4,
        height: float = 4.0,
        width: Range = (0.3, 1.0),
    ) -> None:
        for name, (lowest, highest) in {"low": low, "high": high, "tilt": tilt, "width": width}.items():
            if not lowest <= highest or (name != "tilt" and not lowest > 0):
                raise DataError(f"Handset: {name} is {lowest:g} to {highest:g}; a range goes from low to high, above 0")
        if not (low[1] < high[0] and 0 <= peaks <= 20 and 0 <= height <= 20):
            text = f"low {low[1]:g} below high {high[0]:g}, up to 20 peaks of up to 20 dB, not {peaks} of {height:g}"
            raise DataError(f"Handset: {text}")
        self._low, self._high, self._tilt = low, high, tilt
        self._peaks, self._height, self._width = peaks, height, width

    def draw(self, num_samples: int, rate: int, rng: Rng, speaker: str) -> Operation:
        """See the class."""
        low, high = (float(np.exp(rng.uniform(*np.log(edge)))) for edge in (self._low, self._high))
        note(rng, handset_low=low, handset_high=high)
        taps = round(_SECONDS * rate)
        hertz = np.fft.rfftfreq(8 * taps, 1 / rate)
        octaves = np.log2(np.maximum(hertz, 20) / 1000)
        decibel = rng.uniform(*self._tilt) * octaves
        for _ in range(self._peaks):
            centre, width = math.log2(0.15 * 40 ** rng.random()), rng.uniform(*self._width)
            decibel += rng.normal(0, self._height) * np.exp(-0.5 * ((octaves - centre) / width) ** 2)
        band = 1 / np.sqrt((1 + (low / np.maximum(hertz, 1)) ** 4) * (1 + (hertz / high) ** 8))
        return Fir(minimum_phase(band * 10 ** (decibel / 20), taps))


def minimum_phase(gains: npt.NDArray[np.float64], num_taps: int) -> Samples:
    """The impulse response (NUM_TAPS,) with these GAINS (bins,), at frequencies of an rfft, that begins soonest.

    By the folded cepstrum (Oppenheim and Schafer). The more bins there are, the better it is; at least twice the taps.
    """
    cepstrum = np.fft.irfft(np.log(np.maximum(gains, _FLOOR * gains.max())))
    half = len(cepstrum) // 2
    cepstrum[1:half] *= 2
    cepstrum[half + 1 :] = 0
    response = np.fft.irfft(np.exp(np.fft.rfft(cepstrum)))[:num_taps]
    fade = np.ones(num_taps)
    fade[-num_taps // 4 :] = np.cos(np.linspace(0, np.pi / 2, len(fade[-num_taps // 4 :]))) ** 2
    return (response * fade).astype(np.float32)
