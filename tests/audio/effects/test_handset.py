"""Drawn handsets: the band is there, at any rate, without delay; another draw is another handset."""

import numpy as np
import pytest

from timbre.audio.effects import Handset, generator
from timbre.audio.effects.base import NotedRng
from timbre.audio.effects.handset import minimum_phase
from timbre.utils.errors import DataError
from waves import noise


def response(effect: Handset, rate: int, utt: str) -> np.ndarray:
    impulse = np.zeros(rate // 10, np.float32)
    impulse[0] = 1
    return np.asarray(effect(impulse, rate, generator(0, 0, utt)))


@pytest.mark.parametrize("rate", [8000, 16000])
def test_the_band_is_the_one_that_was_drawn(rate: int) -> None:
    """-3 dB at both edges, 12 dB an octave below the lower one, 24 above the upper one; what is noted is what is."""
    effect = Handset(low=(200, 300), high=(1500, 2000), tilt=(0, 0), height=0)
    for utt in "abc":
        rng = NotedRng(generator(0, 0, utt))
        effect(noise(0.1, rate=rate), rate, rng)
        low, high = float(rng.notes["handset_low"]), float(rng.notes["handset_high"])
        assert 200 <= low <= 300 and 1500 <= high <= 2000
        gains = np.abs(np.fft.rfft(response(effect, rate, utt), 8 * rate))
        decibel = {at: 20 * np.log10(gains[round(8 * at)]) for at in (low / 2, low, 700, high, 1.8 * high)}
        assert decibel[low] == pytest.approx(-3, abs=0.6) and decibel[high] == pytest.approx(-3, abs=0.3)
        assert decibel[700] == pytest.approx(0, abs=0.4)
        assert decibel[low / 2] == pytest.approx(-12.3, abs=2.5)
        assert decibel[1.8 * high] == pytest.approx(-10 * np.log10(1 + 1.8**8), abs=1)


@pytest.mark.parametrize("rate", [8000, 16000])
def test_every_draw_is_another_one_and_the_same_draw_the_same(rate: int) -> None:
    effect = Handset()
    one, again, other = (response(effect, rate, utt) for utt in ("a", "a", "b"))
    np.testing.assert_array_equal(one, again)
    gains = [20 * np.log10(np.abs(np.fft.rfft(wave))[30:200] + 1e-9) for wave in (one, other)]
    assert np.std(gains[0] - gains[1]) > 1, "in dB"
    assert np.argmax(np.abs(one)) < 0.001 * rate, "sound comes at once"
    made = effect.draw(1000, rate, generator(0, 0, "a"), "")
    np.testing.assert_allclose(made.parts(1000).values, one[: len(made.parts(1000).values)], atol=1e-6)


def test_minimum_phase_of_a_known_filter() -> None:
    """A zero inside the unit circle is its own minimum phase; one outside is mirrored in."""
    for taps in ([1.0, -0.5], [-0.5, 1.0]):
        gains = np.abs(np.fft.rfft(taps, 512))
        np.testing.assert_allclose(np.abs(minimum_phase(gains, 64)[:4]), [1, 0.5, 0, 0], atol=1e-6)


@pytest.mark.parametrize(
    "arguments", [{"low": (300, 200)}, {"high": (100, 200)}, {"low": (0, 100)}, {"peaks": 21}, {"height": -1}]
)
def test_what_cannot_be_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(DataError, match="Handset"):
        Handset(**arguments)  # type: ignore[arg-type]
