"""The band-pass of packs filters as that of the recipe does, whatever its edges and the length of the sound."""

import time

import numpy as np
import pytest

from timbre.audio.filters import butter_bandpass
from timbre.runtime.band_pass import BandPass
from timbre.utils.errors import DataError


@pytest.mark.parametrize(
    ("low", "high", "order", "rate"),
    [(300, 3400, 15, 8000), (300, 3400, 15, 44100), (300, 4000, 15, 8000), (20, 7000, 5, 16000), (990, 1010, 2, 8000)],
)
def test_it_is_that_of_the_recipe(low: float, high: float, order: int, rate: int) -> None:
    rng = np.random.default_rng(0)
    for number in (1, 2, 700, 16000, 300000):
        samples = rng.uniform(-1, 1, number).astype(np.float32)
        expected = butter_bandpass(samples, rate, low, high, order)
        found = BandPass(low, high, order)(samples, rate)
        assert found.shape == expected.shape and found.dtype == np.float32
        assert np.abs(found - expected).max() <= 2e-7, number


def test_pieces_join_and_time_grows_with_length() -> None:
    """A click at the end of a piece of 2^18 samples rings into the next."""
    samples = np.zeros(1 << 20, np.float32)
    samples[(1 << 18) - 5 :: 1 << 18] = 1
    found = BandPass(300, 3400, 15)(samples, 8000)
    assert np.abs(found - butter_bandpass(samples, 8000, 300, 3400)).max() <= 2e-7
    begun = time.perf_counter()
    BandPass(300, 3400, 15)(np.zeros(1 << 22, np.float32), 8000)
    assert time.perf_counter() - begun < 30


@pytest.mark.parametrize("options", [(0, 100, 2), (200, 100, 2), (1, 2, 0), (1, 2, 31), (1, float("nan"), 2)])
def test_a_band_that_is_none(options: tuple[float, float, int]) -> None:
    with pytest.raises(DataError, match="a band-pass of order"):
        BandPass(*options)


def test_a_band_that_rings_for_hours() -> None:
    with pytest.raises(DataError, match="rings on and on"):
        BandPass(1e-4, 5000, 15)(np.zeros(9, np.float32), 8000)


def test_sound_without_the_band() -> None:
    with pytest.raises(DataError, match="sound at 8000 Hz has nothing above 4000 Hz"):
        BandPass(4000, 5000, 2)(np.zeros(9, np.float32), 8000)
