"""Audio that comes in blocks: brought to one rate, the last seconds of it kept, speech found. Called by stream.py."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from timbre.runtime.silero import RATE, WINDOW, SileroVad, StretchOptions
from timbre.runtime.spans import WindowOptions, smooth, speech_of_vad
from timbre.runtime.speech_measures import signal_to_noise
from timbre.utils.errors import DataError

Samples = NDArray[np.float32]
FRAME = 0.01  # seconds that a decision of the VAD is of
_CHUNK = 0.05  # seconds that are taken at a time, whatever the size of the blocks
_CONTEXT = 10.0  # seconds that the energy VAD takes its mean over
_SETTLED = 0.05  # seconds at the end of what is heard of which the energy VAD does not decide yet: its context
_EVERY = 0.1  # seconds after which it decides again


class Hears(Protocol):
    """What a stream needs of an Encoder."""

    rate: int

    def voiced(self, samples: Samples) -> NDArray[np.bool_]:
        """Which frames of 10 ms are speech."""


class SpeechStream:
    """The last KEEP seconds of a stream at the encoder's rate, and where in them there is speech.

    What it holds after some audio does not depend on how that was cut into blocks.
    """

    def __init__(self, encoder: Hears, rate: int, vad: SileroVad | None, keep: float, options: WindowOptions) -> None:
        if not 1000 <= rate <= 384000:
            raise DataError(f"a sample rate of {rate} Hz; it must be between 1000 and 384000")
        self.rate = encoder.rate
        self._options = options
        self._chunk = max(1, round(_CHUNK * rate))
        self._rest = np.zeros(0, np.float32)
        self._resample = _resampler(rate, self.rate)
        self._keep = round((max(keep, _CONTEXT) + 1) / FRAME)  # frames
        self._samples = np.zeros(0, np.float32)
        self._first = 0  # number of the first frame that is kept
        self._voiced = np.zeros(0, bool)  # of frames from _first on
        self._vad = _EnergyFrames(encoder) if vad is None else _SileroFrames(vad, self.rate)

    @property
    def heard(self) -> float:
        """Seconds up to which there are samples and decisions of the VAD."""
        return (self._first + min(len(self._voiced), int(len(self._samples) / self.rate / FRAME))) * FRAME

    def feed(self, block: NDArray[Any], last: bool = False) -> Iterator[None]:
        """Takes BLOCK, as `as_float`, and stops after each part of it for the caller to look at what is heard.

        Raises:
            DataError: several channels, numbers that are not finite
        """
        self._rest = np.concatenate([self._rest, as_float(block)])
        while len(self._rest) >= self._chunk or (last and len(self._rest)):
            part, self._rest = self._rest[: self._chunk], self._rest[self._chunk :]
            self._take(self._resample(part, False), False)
            yield
        if last:
            self._take(self._resample(self._rest, True), True)
            yield

    def audio(self, start: float, end: float) -> Samples:
        """Samples from START to END, in seconds, as far as they are kept."""
        first, last = (round((time - self._first * FRAME) * self.rate) for time in (start, end))
        return self._samples[max(0, first) : max(0, last)]

    def speech(self) -> list[tuple[float, float]]:
        """Stretches of speech in seconds, short pauses filled; one at the end of what is heard may go on."""
        duration, offset = len(self._voiced) * FRAME, self._first * FRAME
        found = smooth(speech_of_vad(self._voiced, FRAME, duration), duration, self._options)
        return [(start + offset, end + offset) for start, end in found]

    @property
    def snr(self) -> float:
        """Signal-to-noise ratio in dB of what is kept."""
        return snr_of(self._samples, self.rate, self._voiced)

    def _take(self, samples: Samples, last: bool) -> None:
        self._samples = np.concatenate([self._samples, samples])
        decided = self._first + len(self._voiced)
        self._voiced = np.concatenate([self._voiced, self._vad(self._samples, samples, self._first, decided, last)])
        if (gone := min(len(self._voiced), int(len(self._samples) / self.rate / FRAME)) - self._keep) > 0:
            gone -= gone % round(1 / FRAME)  # whole seconds are whole numbers of samples
            self._samples = self._samples[round(gone * FRAME * self.rate) :]
            self._voiced, self._first = self._voiced[gone:], self._first + gone


class _EnergyFrames:
    """Decisions of the VAD of the pack, over the last ten seconds: its threshold follows their mean."""

    def __init__(self, encoder: Hears) -> None:
        self._encoder = encoder

    def __call__(self, kept: Samples, _: Samples, first: int, decided: int, last: bool) -> NDArray[np.bool_]:
        """Of the frames from DECIDED on. KEPT: samples from frame FIRST on."""
        rate = self._encoder.rate
        until = first + int(len(kept) / rate / FRAME) - (0 if last else round(_SETTLED / FRAME))
        if until - decided < (1 if last else round(_EVERY / FRAME)):
            return np.zeros(0, bool)
        start = max(first, until - round(_CONTEXT / FRAME))
        voiced = self._encoder.voiced(kept[round((start - first) * FRAME * rate) :])
        if len(voiced) < until - start:  # the last frames have no samples of their own
            voiced = np.pad(voiced, (0, until - start - len(voiced)), mode="edge" if len(voiced) else "constant")
        return np.asarray(voiced[decided - start : until - start], bool)


class _SileroFrames:
    """Decisions by the network, with the hysteresis of its thresholds."""

    def __init__(self, vad: SileroVad, rate: int, options: StretchOptions = StretchOptions()) -> None:
        vad.reset()
        self._network, self._options = vad, options
        self._resample = _resampler(rate, RATE)
        self._windows = self._given = 0
        self._is_speech = False

    def __call__(self, _: Samples, new: Samples, first: int, decided: int, last: bool) -> NDArray[np.bool_]:
        heard = self._resample(new, last)
        self._given += len(heard)
        if last:
            heard = np.pad(heard, (0, -self._given % WINDOW))
        found = [np.zeros(0, bool)]
        for probability in self._network.push(heard):
            limit = self._options.silence_threshold if self._is_speech else self._options.speech_threshold
            self._is_speech = bool(probability >= limit)
            self._windows += 1
            until = int(self._windows * WINDOW / RATE / FRAME + 1e-6)
            found.append(np.full(until - decided, self._is_speech))
            decided = until
        return np.concatenate(found)


def _resampler(rate: int, wanted: int) -> Callable[[Samples, bool], Samples]:
    """From RATE to WANTED, part by part: (samples, whether they are the last) -> samples."""
    if rate == wanted:
        return lambda samples, last: samples
    import soxr  # not needed by those who have the rate

    stream = soxr.ResampleStream(rate, wanted, 1, dtype="float32")
    return lambda samples, last: np.asarray(stream.resample_chunk(samples, last=last), np.float32)


def snr_of(samples: Samples, rate: int, voiced: NDArray[np.bool_]) -> float:
    """Signal-to-noise ratio in dB of SAMPLES (N,) whose frames of 10 ms are VOICED (T,), some of them.

    The power is that of the frames themselves: a recording's own measure takes windows of 25 ms, and is within a few
    tenths of a dB of this.
    """
    length = round(FRAME * rate)
    count = min(len(voiced), len(samples) // length)
    if not voiced[:count].any():
        return 0.0
    frames = samples[: count * length].reshape(count, length).astype(np.float64)
    energy = np.log(np.square(frames - frames.mean(axis=1, keepdims=True)).sum(axis=1) + 1e-12)
    return signal_to_noise(energy.astype(np.float32), voiced[:count])


def resampled(samples: Samples, rate: int, wanted: int) -> Samples:
    """A whole recording from RATE to WANTED."""
    return _resampler(rate, wanted)(samples, True)


def as_float(block: NDArray[Any]) -> Samples:
    """Samples (N,) or (N, 1) as float32 in [-1, 1); integers are divided by what their kind can hold.

    Raises:
        DataError: several channels, not numbers, not finite
    """
    samples = np.asarray(block)
    if samples.ndim == 2 and samples.shape[1] == 1:
        samples = samples[:, 0]
    if samples.ndim != 1:
        raise DataError(f"a block of shape {samples.shape}; samples of one channel are wanted")
    if samples.dtype == np.uint8:
        return ((samples.astype(np.float32) - 128) / 128).astype(np.float32)
    if samples.dtype.kind == "i":
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    if samples.dtype.kind != "f":
        raise DataError(f"a block of {samples.dtype}; samples are integers or floats")
    if not np.isfinite(samples).all():
        raise DataError("the audio has values that are not finite numbers")
    return samples.astype(np.float32)
