"""Rate and pitch of speech: each changes by what was drawn, and the formants stay where they were."""

import numpy as np
import pytest
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from timbre.audio.effects import Manner, generator
from timbre.audio.effects.base import NotedRng
from timbre.audio.effects.manner import move_envelope, stretch
from timbre.utils.errors import DataError
from waves import Wave, noise, tone

FORMANTS = (700.0, 1200.0, 2600.0)
RATES = pytest.mark.parametrize("rate", [8000, 16000])


def vowel(pitch: float, rate: int, seconds: float = 1.5) -> Wave:
    """Pulses through three resonances."""
    wave = np.zeros(round(seconds * rate))
    wave[np.arange(0, len(wave), rate / pitch).astype(int)] = 1
    for frequency, width in zip(FORMANTS, (90, 110, 160), strict=True):
        radius = np.exp(-np.pi * width / rate)
        wave = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * frequency / rate), radius**2], wave)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def middle(wave: Wave) -> np.ndarray:
    quarter = len(wave) // 4
    return wave[quarter:-quarter].astype(float)


def pitch_of(wave: Wave, rate: int, near: float) -> float:
    """By the highest peak of the autocorrelation near a pitch, interpolated."""
    part = middle(wave)
    likeness = np.fft.irfft(np.abs(np.fft.rfft(part, 2 * len(part))) ** 2, 16 * len(part))
    lags = np.arange(round(8 * rate / near / 1.2), round(8 * rate / near * 1.2))
    return float(8 * rate / lags[np.argmax(likeness[lags])])


def formants_of(wave: Wave, rate: int) -> np.ndarray:
    """By linear prediction: the resonance nearest to each of FORMANTS."""
    part = middle(wave)
    part = part * np.hanning(len(part))
    likeness = np.correlate(part, part, "full")[len(part) - 1 :][: rate // 1000 + 3]
    roots = np.roots(np.concatenate([[1], -solve_toeplitz(likeness[:-1], likeness[1:])]))
    roots = roots[roots.imag > 0]
    frequencies, widths = np.angle(roots) * rate / 2 / np.pi, -np.log(np.abs(roots)) * rate / np.pi
    found = frequencies[widths < 500]
    return np.array([found[np.argmin(np.abs(found - formant))] for formant in FORMANTS])


@RATES
@pytest.mark.parametrize("pitch", [110, 170])
def test_pitch_and_rate_change_and_formants_do_not(pitch: float, rate: int) -> None:
    wave = vowel(pitch, rate)
    for utt in "abcd":
        rng = NotedRng(generator(0, 0, utt))
        made = Manner(0.08, 2)(wave, rate, rng)
        assert len(made) == pytest.approx(len(wave) / float(rng.notes["rate"]), abs=10)
        wanted = pitch * 2 ** (float(rng.notes["pitch"]) / 12)
        assert pitch_of(made, rate, wanted) == pytest.approx(wanted, rel=0.01)
        same_voice = vowel(wanted, rate)  # prediction hears harmonics: those of this pitch, not of the one before
        assert formants_of(made, rate) == pytest.approx(formants_of(same_voice, rate), rel=0.07)
        assert np.std(made) == pytest.approx(np.std(wave), rel=0.15)
    resampled = formants_of(np.interp(np.arange(0, len(wave) - 1, 1.15), np.arange(len(wave)), wave), rate)
    assert resampled[0] > 1.1 * formants_of(wave, rate)[0], "of what Speed does"


@RATES
def test_without_a_change_speech_stays_as_it_is(rate: int) -> None:
    wave = vowel(150, rate)
    np.testing.assert_allclose(Manner(0, 0)(wave, rate, generator(0, 0, "u")), wave, atol=1e-5)
    np.testing.assert_allclose(move_envelope(wave, rate, 1), wave, atol=1e-5)


@RATES
@pytest.mark.parametrize("speed", [0.8, 1.25])
def test_a_stretched_tone_is_as_high_and_as_even(rate: int, speed: float) -> None:
    made = stretch(tone(250, 2, rate), rate, speed)
    assert len(made) == round(2 * rate / speed)
    part = middle(made)
    assert np.argmax(np.abs(np.fft.rfft(part * np.hanning(len(part))))) / len(part) * rate == pytest.approx(250, abs=1)
    envelope = np.abs(part).reshape(-1, len(part) // 20)[:, : len(part) // 20].max(1)
    assert envelope.min() > 0.45, "frames continue each other"


@pytest.mark.parametrize("number", [1, 50, 700, 2000])
def test_a_few_samples_have_the_length_that_was_drawn(number: int) -> None:
    rng = NotedRng(generator(0, 0, "u"))
    made = Manner(0.2, 2)(noise(1)[:number], 16000, rng)
    assert abs(len(made) - number / float(rng.notes["rate"])) < 2 and np.isfinite(made).all()
    assert Manner(0.2).input_length(1000) == 1201
    with pytest.raises(DataError, match="Manner"):
        Manner(0.6)
