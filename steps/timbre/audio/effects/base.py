"""What every effect on a waveform is, and where its random numbers come from.

Effects are built by build.py from conf/audio/*.yaml and conf/augment/*.yaml; preprocess.py and
augmented_copies.py call them, and preprocess.py keeps what they drew.
"""

import hashlib
import math
from abc import ABC, abstractmethod

import numpy as np

from timbre.audio.effects.pending import Operation, Pending
from timbre.runtime.sound import Samples

Rng = np.random.Generator

_TRIES = 3  # of what draws


class Effect(ABC):
    """One change to a waveform; its arguments are ranges, and each call draws from them."""

    @abstractmethod
    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """New samples; those given stay as they are.

        Args:
            samples: (num_samples,) float32, full scale at 1, which they may exceed; at least one
            rate: sample rate in Hz
            rng: every random choice is made with it, so equal generators give equal results
            speaker: who is speaking, for what must not be mixed with the same voice

        Returns:
            (num_samples,) float32; only speed, time stretching and trimming change the number
        """

    def defer(self, pending: Pending, rate: int, rng: Rng, speaker: str) -> Pending:
        """PENDING with this effect, which has drawn all its random numbers, as `__call__` would, but may still wait."""
        return Pending(self(pending.made(), rate, rng, speaker))

    def try_at(self, rate: int) -> None:
        """Runs on a second of noise at RATE Hz, a few times; raises what it would raise on audio."""
        for number in range(_TRIES):
            rng = generator(0, number, "noise")
            self(np.float32(0.1) * rng.standard_normal(rate, dtype=np.float32), rate, rng)

    def input_length(self, num_samples: int) -> int:
        """How many samples it must be given, whatever it draws, for NUM_SAMPLES at least to come out.

        For training, which cuts its crops after the effects. What trimming takes away cannot be foreseen.
        """
        return num_samples


class Drawn(Effect):
    """An effect whose random choices depend on the number of samples, not on the samples, which it keeps."""

    @abstractmethod
    def draw(self, num_samples: int, rate: int, rng: Rng, speaker: str) -> Operation:
        """What to do to NUM_SAMPLES samples; the rest as of `Effect.__call__`."""

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """See Effect."""
        return self.draw(len(samples), rate, rng, speaker).on(samples)

    def defer(self, pending: Pending, rate: int, rng: Rng, speaker: str) -> Pending:
        """See Effect."""
        return pending.then(self.draw(len(pending.samples), rate, rng, speaker))


class NotedRng(np.random.Generator):
    """A generator that keeps what effects say of the numbers that they drew with it, for tables beside the audio."""

    def __init__(self, rng: Rng) -> None:
        super().__init__(rng.bit_generator)
        self.notes: dict[str, str] = {}


def note(rng: Rng, **drawn: str | float) -> None:
    """Has RNG keep that NAME=value was drawn, if it keeps notes; of several effects that draw the same the last."""
    if isinstance(rng, NotedRng):
        rng.notes |= {name: value if isinstance(value, str) else f"{value:.4g}" for name, value in drawn.items()}


def generator(seed: int, epoch: int, utt: str) -> Rng:
    """The generator for utterance UTT in EPOCH: from a hash of the three, so neither order nor workers matter."""
    digest = hashlib.blake2b(f"{seed} {epoch} {utt}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))


def power(samples: Samples) -> float:
    """Mean square of SAMPLES. Not by BLAS, whose sums depend on the number of threads."""
    total = float(np.einsum("i,i->", samples, samples))
    if not math.isfinite(total):  # too loud for single precision
        total = float(np.square(samples, dtype=np.float64).sum())
    return total / len(samples)


def fit_length(samples: Samples, num_samples: int) -> Samples:
    """SAMPLES cut, or continued with zeros, to NUM_SAMPLES."""
    if len(samples) >= num_samples:
        return samples[:num_samples]
    return np.pad(samples, (0, num_samples - len(samples)))
