"""LMS and NLMS: they are the textbook's recursion, find a filter, and survive signals without energy."""

import numpy as np
import pytest
from numpy.typing import NDArray

from timbre.audio.effects import Lms, Nlms, generator
from timbre.audio.least_mean_squares import lms, nlms
from timbre.utils.errors import DataError
from waves import RATE, noise, tone

Floats = NDArray[np.float64]


def loop(source: Floats, desired: Floats, taps: int, step: float, epsilon: float | None) -> tuple[Floats, Floats]:
    """(prediction, weights) of the recursion, sample by sample; plain LMS where EPSILON is None."""
    weights, window = np.zeros(taps), np.zeros(taps)
    prediction = np.empty(len(source))
    for k, sample in enumerate(source):
        window = np.concatenate([[sample], window[:-1]])
        prediction[k] = weights @ window
        gain = 2 * step if epsilon is None else step / (epsilon + window @ window)
        weights = weights + gain * (desired[k] - prediction[k]) * window
    return prediction, weights


@pytest.mark.parametrize("length", [1, 31, 64, 65, 1000])
def test_blocks_are_the_loop(length: int) -> None:
    source, desired = noise(1, 1)[:length].astype(float), noise(1, 2)[:length].astype(float)
    for filtered, (prediction, weights) in (
        (nlms(source, desired, 32, 0.5), loop(source, desired, 32, 0.5, 1e-6)),
        (lms(source, desired, 32, 0.05), loop(source, desired, 32, 0.05, None)),
    ):
        np.testing.assert_allclose(filtered.prediction, prediction, atol=1e-10)
        np.testing.assert_allclose(filtered.weights, weights, atol=1e-10)
        np.testing.assert_allclose(filtered.error, desired - prediction, atol=1e-10)


def test_they_identify_a_known_filter() -> None:
    source = noise(2, 1).astype(float)
    known = np.random.default_rng(3).standard_normal(32) * np.exp(-np.arange(32) / 8)
    desired = np.convolve(source, known)[: len(source)]
    for filtered in (nlms(source, desired, 32, 0.5), lms(source, desired, 32, 0.2)):
        assert np.abs(filtered.weights - known).max() < 1e-3
        assert np.abs(filtered.error[-1000:]).max() < 1e-3


@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, 1e-20, 1e6])
def test_constant_input_gives_numbers(value: float) -> None:
    wave = np.full(5000, value, np.float32)
    for output in ("prediction", "error"):
        heard = Nlms(output=output)(wave, RATE, generator(0, 0, "u"))  # type: ignore[arg-type]
        assert heard.shape == wave.shape and np.isfinite(heard).all()


def test_the_line_enhancer_keeps_the_tone_and_drops_the_noise() -> None:
    clean = tone(440, 4, amplitude=0.1)
    noisy = clean + noise(4, 1, 0.05)
    for effect in (Nlms(step=0.01), Lms(step=0.02)):
        heard = effect(noisy, RATE, generator(0, 0, "u"))
        np.testing.assert_array_equal(heard[:32], noisy[:32])
        before, after = (10 * np.log10(((wave - clean)[-RATE:] ** 2).mean()) for wave in (noisy, heard))
        assert after < before - 6
    hiss = Nlms(step=0.01, output="error")(noisy, RATE, generator(0, 0, "u"))[-RATE:]
    assert np.abs(np.fft.rfft(hiss))[440] < 0.3 * np.abs(np.fft.rfft(noisy[-RATE:]))[440]


def test_a_step_that_diverges_is_told() -> None:
    loud = noise(1, 1, 100.0).astype(float)
    with pytest.raises(DataError, match=r"LMS diverges with step 0\.5; for this signal it must be well below"):
        lms(loud, loud, 32, 0.5)


@pytest.mark.parametrize("settings", [{"step": 0.0}, {"step": 2.0}, {"taps": 0}, {"delay": 0}, {"epsilon": 0.0}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(DataError, match="Nlms"):
        Nlms(**settings)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="desired"):
        nlms(np.zeros(3), np.zeros(4))


def test_shorter_than_the_filter() -> None:
    assert Nlms()(np.ones(1, np.float32), RATE, generator(0, 0, "u")).tolist() == [1.0]
    assert Nlms(delay=50)(np.ones(9, np.float32), RATE, generator(0, 0, "u")).tolist() == [1.0] * 9
