"""How a person speaks on another day: a little faster or slower, a little higher or lower, with the same vocal tract.

Speed (duration.py) moves the formants with the pitch, and so makes another speaker; this does not.
"""

import numpy as np
import numpy.typing as npt

from timbre.audio.effects.base import Effect, Rng, fit_length, note, power
from timbre.runtime.sound import Samples, resample
from timbre.utils.errors import DataError

Floats = npt.NDArray[np.float64]

_FRAME = 0.04  # seconds; two periods of a low voice
_SEARCH = 0.008  # seconds that a frame may be moved to where it continues the one before
_MOST = 30.0  # dB by which the envelope is lifted or lowered at most


class Manner(Effect):
    """Rate and pitch of speech changed within what a person does, the formants kept.

    The length is round(num_samples / rate). Without any pitch change frames are only taken closer together or further
    apart; with one the audio is resampled too, and the spectral envelope put back where it was: when the pitch falls,
    the band above half the sample rate times the ratio is lost.

    Args:
        rate: largest change of the rate of speech: 0.08 is from 0.92 to 1.08 times as fast
        semitones: largest change of the pitch, up or down
    """

    def __init__(self, rate: float = 0.08, semitones: float = 1.5) -> None:
        if not 0 <= rate <= 0.5 or not 0 <= semitones <= 6:
            raise DataError(f"Manner: rate from 0 to 0.5 and semitones from 0 to 6, not {rate:g} and {semitones:g}")
        self._rate, self._semitones = rate, semitones

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """See the class."""
        speed = float(rng.uniform(1 - self._rate, 1 + self._rate))
        semitones = float(rng.uniform(-self._semitones, self._semitones))
        note(rng, rate=speed, pitch=semitones)
        ratio = 2 ** (semitones / 12)
        wanted = max(round(len(samples) / speed), 1)
        stretched = stretch(samples, rate, speed / ratio)
        if ratio == 1:
            return fit_length(stretched, wanted)
        return fit_length(move_envelope(resample(stretched, rate * ratio, rate), rate, ratio), wanted)

    def input_length(self, num_samples: int) -> int:
        """What the fastest needs."""
        return int(np.ceil(num_samples * (1 + self._rate))) + 1


def stretch(samples: Samples, rate: int, speed: float) -> Samples:
    """SAMPLES (num_samples,) said SPEED times as fast, at the same pitch: about (num_samples / speed,).

    Frames that overlap by half are taken from where they continue best what is there already (WSOLA, Verhelst and
    Roelands 1993). What is shorter than two frames stays as it is.
    """
    hop = max(round(_FRAME * rate / 2), 2)
    search = max(round(_SEARCH * rate), 1)
    wanted = round(len(samples) / speed)
    if len(samples) < 4 * hop or wanted < 2 * hop:
        return samples
    source = np.pad(samples, (hop + search, 3 * hop + 2 * search)).astype(np.float32)
    window = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    count = wanted // hop + 2
    result = np.zeros((count + 1) * hop, np.float32)
    last = search  # in source, where the frame before begins; the first begins a hop before the samples
    for place in range(count):
        ideal = min(search + round(place * hop * speed), len(source) - 2 * hop - search)
        if place:
            follows = source[last + hop : last + 3 * hop]
            around = source[ideal - search : ideal + search + 2 * hop]
            follows = follows if len(follows) == 2 * hop else np.pad(follows, (0, 2 * hop - len(follows)))
            energy = np.cumsum(np.concatenate([[0.0], np.square(around, dtype=np.float64)]))
            likeness = np.correlate(around, follows, "valid") / np.sqrt(energy[2 * hop :] - energy[: -2 * hop] + 1e-6)
            ideal += int(np.argmax(likeness)) - search
        result[place * hop : (place + 2) * hop] += window * source[ideal : ideal + 2 * hop]
        last = ideal
    return result[hop : hop + wanted]


def move_envelope(samples: Samples, rate: int, ratio: float) -> Samples:
    """SAMPLES (num_samples,) whose spectral envelope had been stretched by RATIO, with the envelope of before, as loud.

    Frame by frame the envelope by linear prediction is divided out, and put in again at frequencies RATIO times lower.
    """
    hop = max(round(0.008 * rate), 4)
    size, number = 4 * hop, len(samples)
    window = np.hanning(size + 1)[:-1]
    padded = np.pad(samples.astype(np.float64), (size, size + (-number % hop)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * window
    spectra = np.fft.rfft(frames)
    bins = np.arange(spectra.shape[1])
    envelope = _envelope(spectra, rate)
    moved = np.stack([np.interp(bins * ratio, bins, row) for row in envelope])
    spectra *= np.exp(np.clip(moved - envelope, -_MOST * np.log(10) / 20, _MOST * np.log(10) / 20))
    changed = np.fft.irfft(spectra, size) * window
    result = np.zeros(len(padded))
    for quarter in range(4):
        blocks = changed[quarter::4]
        span = result[quarter * hop : quarter * hop + blocks.size]
        span += blocks.reshape(-1)[: len(span)]
    made = (result[size : size + number] / 1.5).astype(np.float32)  # the squares of the window add up to 1.5
    after = power(made)
    return made * np.float32(np.sqrt(power(samples) / after)) if after > 0 else made


def _envelope(spectra: npt.NDArray[np.complex128], rate: int) -> Floats:
    """Natural logarithms (frames, bins) of the envelopes of SPECTRA, by linear prediction, but for a constant."""
    order = 2 + round(rate / 1000)
    likeness = np.fft.irfft(np.abs(spectra) ** 2)[:, : order + 1]
    likeness[:, 0] = 1.0001 * likeness[:, 0] + 1e-12  # noise 40 dB below, or a frame of zeros could not be predicted
    lags = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    taps = np.linalg.solve(likeness[:, lags], likeness[:, 1:, None])[:, :, 0]
    inverse = np.fft.rfft(np.pad(-taps, ((0, 0), (1, 0))) + (np.arange(order + 1) == 0), 2 * (spectra.shape[1] - 1))
    return np.asarray(-np.log(np.abs(inverse)))
