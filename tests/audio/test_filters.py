"""The Butterworth band-pass: gain in and outside its band, stability, refused bands."""

import numpy as np
import pytest
from numpy.typing import NDArray

from timbre.audio.filters import BandpassOptions, butter_bandpass
from timbre.utils.errors import DataError

RATE = 16000


def gain(frequency: float, **options: float | bool) -> float:
    """Gain in dB of a tone, after the filter has settled."""
    tone = np.sin(2 * np.pi * frequency * np.arange(4 * RATE) / RATE).astype(np.float32)
    band = {"low": 300, "high": 3400} | options
    filtered = butter_bandpass(tone, RATE, **band)  # type: ignore[arg-type]
    return float(20 * np.log10(np.sqrt(2) * filtered[RATE:-RATE].std() + 1e-12))


def test_gain_of_the_telephone_band() -> None:
    assert gain(1000) == pytest.approx(0, abs=0.01)
    assert gain(400) == pytest.approx(0, abs=0.1)
    assert gain(300) == pytest.approx(-3, abs=0.1), "the edge of a Butterworth filter is where half the power is left"
    assert gain(3400) == pytest.approx(-3, abs=0.1)
    assert gain(150) < -40, "one octave below"
    assert gain(6800) < -40, "one octave above"


def test_zero_phase_has_no_delay_and_twice_the_attenuation() -> None:
    assert gain(300, zero_phase=True) == pytest.approx(-6, abs=0.1)
    click = np.zeros(RATE, np.float32)
    click[RATE // 2] = 1
    assert np.abs(butter_bandpass(click, RATE, 300, 3400, zero_phase=True)).argmax() == RATE // 2


@pytest.mark.parametrize("zero_phase", [False, True])
def test_a_high_order_stays_finite(zero_phase: bool) -> None:
    noise = np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32)
    filtered = butter_bandpass(noise, RATE, 50, 7900, order=15, zero_phase=zero_phase)
    assert np.isfinite(filtered).all()
    assert 0.5 < filtered.std() < 1.1


@pytest.mark.parametrize("length", [1, 2, 50])
def test_short_signals(length: int) -> None:
    wave: NDArray[np.float32] = np.ones(length, np.float32)
    assert butter_bandpass(wave, RATE, 300, 3400, zero_phase=True).shape == (length,)


@pytest.mark.parametrize(("low", "high"), [(0, 3400), (-1, 3400), (3400, 300), (300, 300), (8000, 9000)])
def test_impossible_bands_are_refused(low: float, high: float) -> None:
    with pytest.raises(DataError, match="band-pass"):
        butter_bandpass(np.zeros(10, np.float32), RATE, low, high)


@pytest.mark.parametrize("high", [8000, 9000])
@pytest.mark.parametrize("zero_phase", [False, True])
def test_an_upper_edge_that_the_audio_cannot_have_is_none(high: float, zero_phase: bool) -> None:
    assert gain(7900, high=high, zero_phase=zero_phase) == pytest.approx(0, abs=0.01)
    assert gain(300, high=high, zero_phase=zero_phase) == pytest.approx(-6 if zero_phase else -3, abs=0.1)
    assert gain(150, high=high) < -40


def test_impossible_orders_are_refused() -> None:
    with pytest.raises(DataError, match="order is 0"):
        BandpassOptions(order=0)
