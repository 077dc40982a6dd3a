"""Gain and loudness; the meter is that of BS.1770."""

import numpy as np
import pyloudnorm
import pytest

from timbre.audio.effects import Gain, Loudness, generator
from timbre.audio.loudness import _weighting, loudness
from timbre.utils.errors import DataError
from waves import RATE, noise, tone


def test_the_weighting_at_48_khz_is_that_of_the_standard() -> None:
    shelf, high_pass = _weighting(48000)
    standard = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585]
    np.testing.assert_allclose(shelf, standard, atol=1e-9)
    np.testing.assert_allclose(high_pass, [1, -2, 1, 1, -1.99004745483398, 0.99007225036621], atol=1e-9)


@pytest.mark.parametrize("rate", [8000, RATE, 48000])
def test_a_full_scale_sine_has_minus_3_lufs(rate: int) -> None:
    """0 dBFS at 997 Hz on one channel is -3.01 LKFS (BS.1770-4, annex 1)."""
    assert loudness(tone(997, 5, rate, amplitude=1.0), rate) == pytest.approx(-3.01, abs=0.05)


@pytest.mark.parametrize(("rate", "tolerance"), [(8000, 0.25), (RATE, 0.15), (44100, 0.05), (48000, 0.05)])
def test_it_measures_what_pyloudnorm_does(rate: int, tolerance: float) -> None:
    """Its shelf is another design: the two agree at 48 kHz, and differ the more the nearer the shelf is to rate / 2."""
    for seed in range(3):
        envelope = np.repeat(np.random.default_rng(seed).uniform(0, 1, 12) ** 4, rate // 2)
        wave = noise(6, seed, 0.2, rate) * envelope.astype(np.float32)
        oracle = pyloudnorm.Meter(rate).integrated_loudness(wave.astype(float))
        assert loudness(wave, rate) == pytest.approx(oracle, abs=tolerance)


def test_the_target_is_reached_and_pauses_do_not_count() -> None:
    speech = noise(2, 1, 0.01)
    with_pauses = np.concatenate([speech, np.zeros(6 * RATE, np.float32)])
    for wave in (speech, with_pauses, speech[:100]):
        heard = Loudness(-20)(wave, RATE, generator(0, 0, "u"))
        assert loudness(heard, RATE) == pytest.approx(-20, abs=0.01)
    assert loudness(with_pauses, RATE) == pytest.approx(loudness(speech, RATE), abs=0.7)


def test_silence_stays_silent() -> None:
    silence = np.zeros(RATE, np.float32)
    assert loudness(silence, RATE) == -np.inf
    assert not Loudness()(silence, RATE, generator(0, 0, "u")).any()


def test_gain_is_drawn_from_its_range() -> None:
    one = np.ones(1, np.float32)
    gains = [20 * np.log10(Gain(-6, 3)(one, RATE, generator(0, 0, str(utt)))[0]) for utt in range(99)]
    assert -6 <= min(gains) < -5 and 2 < max(gains) <= 3


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(DataError, match="Gain"):
        Gain(3, -3)
    with pytest.raises(DataError, match="Loudness"):
        Loudness(3)
