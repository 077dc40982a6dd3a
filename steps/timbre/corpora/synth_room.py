"""Recording sessions for synthetic speakers: a room, a microphone, background noise and a level, drawn at random.

prepare_synth.py draws one Session per speaker and session; every utterance of it is recorded through it.
"""

import math
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.utils.errors import DataError

Array = npt.NDArray[Any]
Range = tuple[float, float]

_BLOCK = 4096  # recordings are filtered in a multiple of so many samples, for the FFT to be fast


@dataclass(frozen=True)
class SessionOptions:
    """How recordings differ. A range is drawn from uniformly, once a session unless said otherwise.

    Args:
        reverberation: probability that the room reverberates
        rt60: range of its reverberation time in seconds
        direct: range of the ratio of direct to reverberated sound in dB
        low_cut: range of the microphone's lower band edge in Hz
        high_cut: range of the upper one
        eq: standard deviation in dB of each of the three peaks (or dips) of the microphone's response
        snr: range of the ratio of speech to noise in dB
        noise_slope: range of the fall of the noise's spectrum in dB an octave: 0 white, 3 pink, 6 brown
        level: range of the speech level in dB relative to full scale
        jitter: standard deviation in dB by which SNR and level vary between the utterances of a session
        silence: range of the silence before and after the speech in seconds, drawn for every utterance
    """

    reverberation: float = 0.6
    rt60: Range = (0.1, 0.4)
    direct: Range = (-5.0, 8.0)
    low_cut: Range = (50.0, 250.0)
    high_cut: Range = (4000.0, 8000.0)
    eq: float = 6.0
    snr: Range = (0.0, 30.0)
    noise_slope: Range = (0.0, 6.0)
    level: Range = (-36.0, -20.0)
    jitter: float = 2.0
    silence: Range = (0.15, 0.6)

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, tuple) and not value[0] <= value[1]:
                raise DataError(f"session: {name} is {value[0]} to {value[1]}; a range goes from low to high")
        for name in ("low_cut", "high_cut", "rt60", "silence"):
            if not getattr(self, name)[0] > 0:
                raise DataError(f"session: {name} must be above 0")
        if not (0 <= self.reverberation <= 1 and self.eq >= 0 and self.jitter >= 0):
            raise DataError("session: reverberation must be from 0 to 1, eq and jitter not negative")


class Session:
    """What the recordings of one day have in common.

    Args:
        rng: what the session is drawn from
        rate: sample rate in Hz of what is recorded
        options: how sessions differ
    """

    def __init__(self, rng: random.Random, rate: int, options: SessionOptions) -> None:
        self._rate, self._options = rate, options
        self._room = _draw_room(rng, rate, options)
        self._band = rng.uniform(*options.low_cut), rng.uniform(*options.high_cut)
        # frequency, height in dB, and width in octaves of each peak
        self._peaks = [(150 * 40 ** rng.random(), rng.gauss(0, options.eq), rng.uniform(0.3, 1.0)) for _ in range(3)]
        self._snr = rng.uniform(*options.snr)
        self._noise_slope = rng.uniform(*options.noise_slope)
        self._level = rng.uniform(*options.level)

    def record(self, speech: Array, rng: random.Random) -> tuple[Array, float]:
        """SPEECH (N,) as this session's microphone hears it, with silence and noise around it, and never clipped.

        RNG is the utterance's own. Returns (M,) float32 in [-1, 1), M > N, and the seconds before the speech in it.
        """
        before, after = (round(rng.uniform(*self._options.silence) * self._rate) for _ in range(2))
        end = before + len(speech)
        length = end + after
        size = math.ceil((length + len(self._room)) / _BLOCK) * _BLOCK
        hertz = np.fft.rfftfreq(size, 1 / self._rate)
        microphone = self._microphone(hertz)

        spectrum = np.fft.rfft(np.pad(speech, (before, after)), size) * np.fft.rfft(self._room, size)
        heard = np.fft.irfft(spectrum * microphone, size)[:length]
        white = _generator(rng).standard_normal((len(hertz), 2), dtype=np.float32).view(np.complex64)[:, 0]
        colour = (hertz + 50) ** (-self._noise_slope / 6.02)
        noise = np.fft.irfft(white * colour * microphone, size)[:length]

        noise_gain = _gain(-self._snr + rng.gauss(0, self._options.jitter))
        recording = heard / _rms(heard[before:end]) + noise / _rms(noise) * noise_gain
        level = _gain(self._level + rng.gauss(0, self._options.jitter))
        recording *= min(level, 0.95 / np.abs(recording).max())
        return np.asarray(recording, np.float32), before / self._rate

    def _microphone(self, hertz: Array) -> Array:
        """The gain at each frequency: a band with the slopes of Butterworth filters, and peaks in it."""
        low, high = self._band
        octaves = np.log2(np.maximum(hertz, 1))
        decibel = sum(
            height * np.exp(-0.5 * ((octaves - math.log2(centre)) / width) ** 2)
            for centre, height, width in self._peaks
        )
        band = 1 / np.sqrt((1 + (low / np.maximum(hertz, 1)) ** 4) * (1 + (hertz / high) ** 16))
        return np.asarray(band * 10 ** (decibel / 20))


def _draw_room(rng: random.Random, rate: int, options: SessionOptions) -> Array:
    """An impulse response: the direct sound, then noise that decays exponentially (Moorer 1979)."""
    dry = rng.random() >= options.reverberation
    rt60, direct = rng.uniform(*options.rt60), rng.uniform(*options.direct)
    if dry:
        return np.ones(1)
    time = np.arange(round(rt60 * rate)) / rate
    response = _generator(rng).standard_normal(len(time)) * 10 ** (-3 * time / rt60)
    response[time < 0.003] = 0  # the first reflection has a metre to go
    response *= _gain(-direct) / math.sqrt(np.sum(response**2))
    response[0] = 1
    return np.asarray(response)


def _generator(rng: random.Random) -> np.random.Generator:
    return np.random.default_rng(rng.getrandbits(64))


def _rms(samples: Array) -> float:
    return math.sqrt(np.mean(samples**2))


def _gain(decibel: float) -> float:
    return float(10 ** (decibel / 20))
