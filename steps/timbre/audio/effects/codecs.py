"""Real codecs: audio is encoded and decoded in memory by libsndfile or FFmpeg, and comes back in its place, as long."""

from abc import abstractmethod
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from timbre.audio.effects.base import Effect, Rng, fit_length, note
from timbre.runtime.sound import Samples, resample
from timbre.utils.errors import DataError

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

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
    """Opus, as internet telephony has it, in packets of 20 ms.

    Args:
        kbps: bit rates to choose from, 6 to 256 kbit/s (variable rate: what comes out differs with the signal)
        complexity: of the encoder, 0 (four times as fast as 10) to 10; telephones are at 5 and more
    """

    rates = (8000, 12000, 16000, 24000, 48000)
    _DECODED = 48000  # Hz, whatever the rate was

    def __init__(self, kbps: list[float] | None = None, complexity: int = 10) -> None:
        super().__init__([6, 8, 12, 16, 24] if kbps is None else kbps, 6, 256)
        if not 0 <= complexity <= 10:
            raise DataError(f"Opus: complexity must be from 0 to 10, not {complexity}")
        self._options = {"compression_level": str(complexity), "application": "voip"}

    def _through(self, samples: Samples, rate: int, rng: Rng) -> Samples:
        encoder = _encoder("libopus", rate, self._draw(rng), self._options)
        return resample(_packed(samples, encoder, "libopus", lookahead=rate // 50), self._DECODED, rate)


class AmrNb(_Rated):
    """AMR narrow band: 4.75 to 12.2 kbit/s at 8 kHz, the mobile telephones since GSM's full rate.

    Args:
        kbps: its modes to choose from: 4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2
    """

    rates = (8000,)
    _MODES = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)
    _DELAY = 40  # samples of the encoder: 5 ms

    def __init__(self, kbps: list[float] | None = None) -> None:
        super().__init__(list(self._MODES) if kbps is None else kbps, self._MODES[0], self._MODES[-1])
        if wrong := [one for one in self._kbps if one not in self._MODES]:
            raise DataError(f"AmrNb: kbps {wrong[0]:g} is none of its modes, which are {self._MODES}")

    def _through(self, samples: Samples, rate: int, rng: Rng) -> Samples:
        encoder = _encoder("libopencore_amrnb", rate, self._draw(rng))
        return _packed(samples, encoder, "libopencore_amrnb", lookahead=rate // 50)[self._DELAY :]


class G722(Codec):
    """G.722 at 64 kbit/s and 16 kHz: "HD voice" of offices and internet telephony."""

    rates = (16000,)
    _DELAY = 22  # samples of its two filter banks

    def _through(self, samples: Samples, rate: int, rng: Rng) -> Samples:
        return _packed(samples, _encoder("g722", rate, 64), "g722", lookahead=rate // 50)[self._DELAY :]


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


def _encoder(name: str, rate: int, kbps: float, options: dict[str, str] | None = None) -> "AudioCodecContext":
    """FFmpeg's encoder NAME of 16-bit samples."""
    from av.audio.codeccontext import AudioCodecContext

    encoder = AudioCodecContext.create(name, "w")
    assert isinstance(encoder, AudioCodecContext)  # for mypy: `create` is that of all codecs
    encoder.sample_rate, encoder.bit_rate, encoder.layout, encoder.format = rate, round(1000 * kbps), "mono", "s16"
    encoder.options = options or {}
    encoder.open()
    return encoder


def _packed(samples: Samples, encoder: "AudioCodecContext", decoder_name: str, lookahead: int) -> Samples:
    """SAMPLES, below full scale, and LOOKAHEAD zeros through ENCODER and a decoder; later by the delay of the codec."""
    from av import AudioFrame
    from av.audio.codeccontext import AudioCodecContext

    size = encoder.frame_size or len(samples) + lookahead
    number = -(-(len(samples) + lookahead) // size)
    whole = np.zeros(number * size, dtype=np.int16)
    whole[: len(samples)] = np.rint(samples * 32767)
    packets = []
    for start in range(0, len(whole), size):
        frame = AudioFrame.from_ndarray(whole[None, start : start + size], format="s16", layout="mono")
        frame.sample_rate, frame.pts = encoder.sample_rate, start
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = AudioCodecContext.create(decoder_name, "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate, decoder.layout, decoder.extradata = encoder.sample_rate, "mono", encoder.extradata
    decoder.open()
    decoded = np.concatenate([frame.to_ndarray()[0] for packet in packets for frame in decoder.decode(packet)])
    return decoded.astype(np.float32) * np.float32(1 / 32768 if decoded.dtype == np.int16 else 1)
