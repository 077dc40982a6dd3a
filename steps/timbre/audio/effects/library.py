"""Any waveform transform of the audiomentations library as an effect, repeatable."""

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from timbre.audio.effects.base import Effect, Rng
from timbre.runtime.sound import Samples
from timbre.utils.errors import DataError


class Audiomentations(Effect):
    """A transform of audiomentations, always applied; `Sometimes` and `OneOf` give it a probability.

    The library draws from the global generators of Python and NumPy: they are seeded for the call, then put back.

    Args:
        transform: its name, such as TimeStretch, PitchShift, Shift, Reverse, AddGaussianNoise
        arguments: of its constructor, but for p
    """

    def __init__(self, transform: str, arguments: dict[str, Any] | None = None) -> None:
        import audiomentations  # slow to import
        from audiomentations.core.transforms_interface import BaseWaveformTransform

        kind = getattr(audiomentations, transform, None)
        if not (isinstance(kind, type) and issubclass(kind, BaseWaveformTransform)):
            raise DataError(f"Audiomentations: there is no transform {transform!r}")
        try:
            self._transform = kind(**({"p": 1.0} | (arguments or {})))
        except Exception as error:  # of many kinds, each for an argument that it does not take
            raise DataError(f"Audiomentations {transform}: {error}") from error
        self._name = transform

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """DataError: the transform fails on these samples."""
        with _seeded(int(rng.integers(1 << 32))):
            try:
                changed = self._transform(samples.copy(), rate)
            except Exception as error:  # too short for it, a missing program, ...
                raise DataError(f"Audiomentations {self._name}: {error}") from error
        return np.ascontiguousarray(changed, dtype=np.float32)

    def input_length(self, num_samples: int) -> int:
        """What the fastest TimeStretch needs; with its `leave_length_unchanged` zeros come after what is too short."""
        fastest = self._transform.max_rate if self._name == "TimeStretch" else 1.0
        return math.ceil(num_samples * fastest) + (self._name == "TimeStretch")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
