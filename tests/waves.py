"""Test signals, and the data directories that hold them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.datadir import DataDir

RATE = 16000
Wave = NDArray[np.float32]
Make = Callable[..., DataDir]  # the fixture `make` of conftest.py


def noise(seconds: float, seed: int = 0, amplitude: float = 0.1, rate: int = RATE) -> Wave:
    """White noise, (num_samples,) float32."""
    return np.random.default_rng(seed).standard_normal(round(seconds * rate), dtype=np.float32) * np.float32(amplitude)


def tone(frequency: float, seconds: float, rate: int = RATE, amplitude: float = 0.5) -> Wave:
    """A sine, (num_samples,) float32."""
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)
