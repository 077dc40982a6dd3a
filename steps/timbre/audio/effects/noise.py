"""Additive effects: noise, music and babble from recordings, and Gaussian noise, at chosen signal-to-noise ratios."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from timbre.audio.effects.base import Drawn, Rng, note, power
from timbre.audio.effects.pending import Operation, Parts
from timbre.audio.effects.sources import Sources
from timbre.runtime.sound import Samples
from timbre.utils.errors import DataError

Kind = Literal["noise", "music", "speech"]
_FULL_SCALE = 32768.0  # the floor below is meant for 16-bit integers; on floats it would be a noise of -40 dB
_FLOOR = 1e-4


def level(samples: Samples) -> float:
    """Level in dB, 10 log10(mean x^2 + 1e-4) of the samples as 16-bit integers: silence has -40, full scale 90.3."""
    return 10 * math.log10(power(samples) * _FULL_SCALE**2 + _FLOOR)


def gain_for(samples: Samples, noise: Samples, snr: float) -> np.float32:
    """What NOISE is to be multiplied with to lie SNR dB below SAMPLES; the levels are those of the whole arrays."""
    return np.float32(10 ** ((level(samples) - level(noise) - snr) / 20))


@dataclass(frozen=True)
class Mix(Operation):
    """Noises added, each so many dB below the whole of the samples.

    Attributes:
        noises: where each begins, its samples, its signal-to-noise ratio
    """

    noises: list[tuple[int, Samples, float]]

    def on(self, samples: Samples) -> Samples:
        """See Operation."""
        mixed = samples.copy()
        for start, noise, snr in self.noises:
            mixed[start : start + len(noise)] += gain_for(samples, noise, snr) * noise
        return mixed

    def parts(self, num_samples: int) -> Parts:
        """See Operation."""
        added = np.zeros(num_samples, np.float32)
        for start, noise, snr in self.noises:
            added[start : start + len(noise)] += np.float32(10 ** ((-level(noise) - snr) / 20)) * noise
        return Parts("add", added, relative=True)


@dataclass(frozen=True)
class Sum(Operation):
    """Samples (num_samples,) added as they are."""

    added: Samples

    def on(self, samples: Samples) -> Samples:
        """See Operation."""
        return samples + self.added

    def parts(self, num_samples: int) -> Parts:
        """See Operation."""
        return Parts("add", self.added)


class _Snr:
    """A signal-to-noise ratio in dB: one of SNRS where they are given, else uniform between LOW and HIGH."""

    def __init__(self, low: float, high: float, snrs: list[float] | None) -> None:
        if snrs == [] or not -100 <= low <= high <= 100:
            raise DataError(f"SNR: -100 <= low <= high <= 100 is wanted, not {low:g} and {high:g} (or an empty list)")
        self._low, self._high, self._snrs = low, high, snrs

    def draw(self, rng: Rng) -> float:
        if self._snrs is not None:
            return float(self._snrs[rng.integers(len(self._snrs))])
        return float(rng.uniform(self._low, self._high))


class AddNoise(Drawn):
    """Noise or music over the whole utterance, as background noises of Kaldi's augment_data_dir.py.

    Args:
        sources: where it comes from
        source: which of them
        snr_low: lowest signal-to-noise ratio of each noise, in dB
        snr_high: highest
        snrs: the ratios to choose from instead of the range
        min_count: fewest noises at once
        max_count: most
    """

    def __init__(
        self,
        sources: Sources,
        source: Kind = "noise",
        snr_low: float = 0.0,
        snr_high: float = 15.0,
        snrs: list[float] | None = None,
        min_count: int = 1,
        max_count: int = 1,
    ) -> None:
        if not 1 <= min_count <= max_count:
            raise DataError(f"{type(self).__name__}: 1 <= min_count <= max_count, not {min_count} and {max_count}")
        self._pool, self._name = sources.pool(source), source if type(self) is AddNoise else type(self).__name__.lower()
        self._snr = _Snr(snr_low, snr_high, snrs)
        self._min, self._max = min_count, max_count

    def draw(self, num_samples: int, rate: int, rng: Rng, speaker: str) -> Operation:
        """Each noise is scaled against the utterance alone, so several are louder than one."""
        noises = self._noises(int(rng.integers(self._min, self._max + 1)), num_samples, rate, rng, speaker)
        mixed = [(0, noise, self._snr.draw(rng)) for noise in noises]
        note(rng, noise=self._name, snr=min(snr for _, _, snr in mixed))
        return Mix(mixed)

    def _noises(self, count: int, num_samples: int, rate: int, rng: Rng, speaker: str) -> list[Samples]:
        return [self._pool.piece(rng, num_samples, rate) for _ in range(count)]


class Babble(AddNoise):
    """Other speakers, all speaking at once.

    Args:
        sources: where they come from
        snr_low: lowest signal-to-noise ratio of each voice, in dB
        snr_high: highest
        snrs: the ratios to choose from instead of the range
        min_count: fewest voices
        max_count: most
    """

    def __init__(
        self,
        sources: Sources,
        snr_low: float = 13.0,
        snr_high: float = 20.0,
        snrs: list[float] | None = None,
        min_count: int = 3,
        max_count: int = 7,
    ) -> None:
        super().__init__(sources, "speech", snr_low, snr_high, snrs, min_count, max_count)

    def _noises(self, count: int, num_samples: int, rate: int, rng: Rng, speaker: str) -> list[Samples]:
        return self._pool.voices(rng, count, num_samples, rate, speaker)


class AddForegroundNoise(Drawn):
    """One noise after the other, as foreground noises of Kaldi's augment_data_dir.py.

    Each has a ratio of its own; its level is that of what is heard of it, the utterance's that of all of it.

    Args:
        sources: where they come from
        source: which of them
        snr_low: lowest signal-to-noise ratio, in dB
        snr_high: highest
        snrs: the ratios to choose from instead of the range
        gap: seconds between the end of one and the beginning of the next
    """

    def __init__(
        self,
        sources: Sources,
        source: Kind = "noise",
        snr_low: float = 0.0,
        snr_high: float = 15.0,
        snrs: list[float] | None = None,
        gap: float = 1.0,
    ) -> None:
        if gap < 0:
            raise DataError(f"AddForegroundNoise: gap is {gap:g}; it must not be below 0")
        self._pool, self._name = sources.pool(source), source
        self._snr = _Snr(snr_low, snr_high, snrs)
        self._gap = gap

    def draw(self, num_samples: int, rate: int, rng: Rng, speaker: str) -> Operation:
        """See the class."""
        noises, start = [], 0
        while start < num_samples:
            noise = self._pool.piece(rng, num_samples - start, rate, loop=False)
            noises.append((start, noise, self._snr.draw(rng)))
            start += len(noise) + round(self._gap * rate)
        note(rng, noise=self._name, snr=min(snr for _, _, snr in noises))
        return Mix(noises)


class ColouredNoise(Drawn):
    """Noise that is made: its spectrum falls by a drawn slope, and it may swell and fade, as traffic and voices do.

    Args:
        snr_low: lowest signal-to-noise ratio, in dB
        snr_high: highest
        snrs: the ratios to choose from instead of the range
        max_slope: steepest fall of the power in dB an octave, above 50 Hz: 0 white, 3 pink, 6 brown; drawn from 0 on
        max_swell: standard deviation of the level in dB, at most; it changes about twice a second
    """

    def __init__(
        self,
        snr_low: float = 5.0,
        snr_high: float = 25.0,
        snrs: list[float] | None = None,
        max_slope: float = 6.0,
        max_swell: float = 6.0,
    ) -> None:
        if not (0 <= max_slope <= 24 and 0 <= max_swell <= 40):
            text = f"max_slope from 0 to 24 and max_swell from 0 to 40 dB are wanted, not {max_slope:g}, {max_swell:g}"
            raise DataError(f"ColouredNoise: {text}")
        self._snr = _Snr(snr_low, snr_high, snrs)
        self._slope, self._swell = max_slope, max_swell

    def draw(self, num_samples: int, rate: int, rng: Rng, speaker: str) -> Operation:
        """See the class."""
        from scipy.fft import irfft, next_fast_len, rfftfreq  # slow to import

        snr, slope, swell = self._snr.draw(rng), rng.uniform(0, self._slope), rng.uniform(0, self._swell)
        note(rng, noise="coloured", snr=snr)
        size = next_fast_len(max(num_samples, 2), real=True)
        hertz = rfftfreq(size, 1 / rate)
        white = rng.standard_normal((len(hertz), 2), dtype=np.float32).view(np.complex64)[:, 0]
        noise = irfft(white * (np.maximum(hertz, 50) / 50) ** (-slope / 6.02), size)[:num_samples]
        knots = np.arange(num_samples // (rate // 2) + 2) * (rate / 2)
        decibel = np.interp(np.arange(num_samples), knots, swell * rng.standard_normal(len(knots)))
        return Mix([(0, (noise * 10 ** (decibel / 20)).astype(np.float32), snr)])


class GaussianNoise(Drawn):
    """White noise of a random amplitude.

    Args:
        min_amplitude: smallest standard deviation; full scale is 1
        max_amplitude: largest
    """

    def __init__(self, min_amplitude: float = 0.001, max_amplitude: float = 0.015) -> None:
        if not 0 <= min_amplitude <= max_amplitude:
            text = f"0 <= min_amplitude <= max_amplitude, not {min_amplitude:g} and {max_amplitude:g}"
            raise DataError(f"GaussianNoise: {text}")
        self._min, self._max = min_amplitude, max_amplitude

    def draw(self, num_samples: int, rate: int, rng: Rng, speaker: str) -> Operation:
        """See the class."""
        amplitude = np.float32(rng.uniform(self._min, self._max))
        return Sum(amplitude * rng.standard_normal(num_samples, dtype=np.float32))
