"""Real codecs: the audio is encoded and decoded in memory by libsndfile, and comes back in its place and length."""

from abc import abstractmethod
from io import BytesIO
from typing import Any

import numpy as np
import soundfile

from timbre.audio.effects.base import Effect, Rng, fit_length, note
from timbre.audio.reading import Samples, resample
from timbre.utils.errors import DataError

_PEAK = 0.99  # codecs clip above full scale; louder audio goes through softer and comes back as loud


class Codec(Effect):
    """A codec; audio at a rate that it does not have is resampled there and back."""

    rates: tuple[int, ...] = ()  # that it has, ascending; empty: any

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """See the class."""
        note(rng, codec=type(self).__name__)
        inside = next((known for known in self.rates if known >= rate), self.rates[-1]) if self.rates else rate
        wave = samples if inside == rate else resample(samples, rate, inside)
        if not len(wave):  # a few samples only
            return samples
        peak = float(np.abs(wave).max())
        scale = np.float32(_PEAK / peak if peak > _PEAK else 1)
        decoded = self._through(wave * scale, inside, rng) / scale
        return fit_length(decoded if inside == rate else resample(decoded, inside, rate), len(samples))

    @abstractmethod
    def _through(self, samples: Samples, rate: int, rng: Rng) -> Samples:
        """SAMPLES, below full scale and at a rate of the codec, encoded and decoded, without delay."""


class MuLaw(Codec):
    """G.711 mu-law: 8 bits a sample, the telephone of North America and Japan."""

    def _through(self, samples: Samples, rate: int, rng: Rng) -> Samples:
        return _coded(samples, rate, format="WAV", subtype="ULAW")


class ALaw(Codec):
    """G.711 A-law: 8 bits a sample, the telephone elsewhere."""

    def _through(self, samples: Samples, rate: int, rng: Rng) -> Samples:
        return _coded(samples, rate, format="WAV", subtype="ALAW")


class Gsm(Codec):
    """GSM 06.10 full rate: 13 kbit/s at 8 kHz, the first mobile telephones."""

    rates = (8000,)

    def _through(self, samples: Samples, rate: int, rng: Rng) -> Samples:
        return _coded(samples, rate, format="WAV", subtype="GSM610")


class _Rated(Codec):
    """A codec that one can ask for a bit rate."""

    def __init__(self, kbps: list[float], lowest: float, highest: float) -> None:
        if not kbps or not all(lowest <= one <= highest for one in kbps):
            raise DataError(f"{type(self).__name__}: kbps must be from {lowest:g} to {highest:g}, not {kbps}")
        self._kbps = kbps

    def _draw(self, rng: Rng) -> float:
        return float(self._kbps[rng.integers(len(self._kbps))])


class Opus(_Rated):
    """Opus, as internet telephony has it.

    Args:
        kbps: bit rates to choose from, 6 to 256 kbit/s (variable rate: what comes out differs with the signal)
    """

    rates = (8000, 12000, 16000, 24000, 48000)

    def __init__(self, kbps: list[float] | None = None) -> None:
        super().__init__([6, 8, 12, 16, 24] if kbps is None else kbps, 6, 256)

    def _through(self, samples: Samples, rate: int, rng: Rng) -> Samples:
        level = 1 - (self._draw(rng) - 6) / 250  # libsndfile's own scale, linear in the bit rate
        return _coded(samples, rate, format="OGG", subtype="OPUS", compression_level=level)


class Mp3(_Rated):
    """MPEG layer III at a constant rate; it has sample rates up to 24 kHz here, as speech has.

    Args:
        kbps: bit rates to choose from, 16 to 160 kbit/s (below 16 kHz at most 64)
    """

    rates = (8000, 11025, 12000, 16000, 22050, 24000)
    _DELAY = 1105  # samples of encoder and decoder, which remain where the file has no room to announce them

    def __init__(self, kbps: list[float] | None = None) -> None:
        super().__init__([16, 24, 32, 48, 64] if kbps is None else kbps, 16, 160)

    def _through(self, samples: Samples, rate: int, rng: Rng) -> Samples:
        highest = 64 if rate < 16000 else 160
        level = max(0.0, (highest - self._draw(rng)) / (highest - 8))  # libsndfile's own scale
        options = {"compression_level": level, "bitrate_mode": "CONSTANT"}
        decoded = _coded(samples, rate, format="MP3", subtype="MPEG_LAYER_III", **options)
        return decoded[self._DELAY :] if len(decoded) > len(samples) else decoded


def _coded(samples: Samples, rate: int, **options: Any) -> Samples:
    """SAMPLES written to a file in memory, and what is read from it."""
    file = BytesIO()
    soundfile.write(file, samples, rate, **options)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return np.asarray(decoded, dtype=np.float32)
