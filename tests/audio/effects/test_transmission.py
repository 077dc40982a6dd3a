"""Clipping, automatic gain and lost packets, at 8 and 16 kHz."""

import numpy as np
import pytest

from timbre.audio.effects import AutomaticGain, Clip, Effect, PacketLoss, generator
from timbre.audio.effects.base import NotedRng
from timbre.utils.errors import DataError
from waves import noise, tone

RATES = pytest.mark.parametrize("rate", [8000, 16000])


@RATES
def test_what_is_louder_than_the_threshold_is_cut(rate: int) -> None:
    wave = tone(200, 1, rate, 0.8)
    hard, soft = (Clip(6, 6, soft)(wave, rate, generator(0, 0, "u")) for soft in (False, True))
    limit = 0.8 * 10 ** (-6 / 20)
    assert np.abs(hard).max() == pytest.approx(limit, rel=1e-3) and np.abs(soft).max() < limit
    below = np.abs(wave) < limit
    np.testing.assert_array_equal(hard[below], wave[below])
    assert np.abs(wave).max() == pytest.approx(0.8, rel=1e-3), "what was given stays as it was"
    assert not Clip()(np.zeros(100, np.float32), rate, generator(0, 0, "u")).any()


@RATES
def test_the_gain_goes_to_the_target_and_quickly_down(rate: int) -> None:
    """A quiet second, then a loud one: both come near the target, and the loud one soon."""
    wave = np.concatenate([tone(500, 3, rate, 0.01), tone(500, 1, rate, 0.9)])
    made = AutomaticGain(1, 1)(wave, rate, generator(0, 0, "u"))
    levels = [20 * np.log10(np.sqrt(np.mean(part**2))) for part in np.split(made, 40)]
    assert levels[29] == pytest.approx(-23, abs=0.5) and levels[-1] == pytest.approx(-23, abs=0.5)
    assert levels[31] == pytest.approx(-23, abs=2), "a tenth of a second after it became loud"
    unchanged = AutomaticGain(0, 0)(wave, rate, generator(0, 0, "u"))
    np.testing.assert_allclose(unchanged, wave, atol=1e-6)
    quiet = AutomaticGain(1, 1, max_gain=10)(wave[: 2 * rate], rate, generator(0, 0, "u"))
    assert np.abs(quiet).max() == pytest.approx(0.01 * 10 ** (10 / 20), rel=0.01)


@RATES
def test_as_many_packets_are_lost_as_asked_for(rate: int) -> None:
    wave = noise(200, rate=rate)
    rng = NotedRng(generator(0, 0, "u"))
    made = PacketLoss(0.1, 0.1, burst=2)(wave, rate, rng)
    size = rate // 50
    lost = (made != wave).reshape(-1, size).any(1)
    assert 100 * lost.mean() == pytest.approx(float(rng.notes["loss"]), abs=1e-3) == pytest.approx(10, abs=2)
    ends = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], lost, [0]]))))[::2]
    assert ends.mean() == pytest.approx(2, rel=0.15), "packets in a row"
    first = int(np.flatnonzero(lost[1:])[0]) + 1
    np.testing.assert_array_equal(
        made[first * size : (first + 1) * size], 0.5 * wave[(first - 1) * size : first * size]
    )
    row = next(start for start in range(len(lost) - 4) if lost[start : start + 3].all() and not lost[start - 1])
    assert not made[(row + 2) * size : (row + 3) * size].any(), "the third in a row is silence"


@pytest.mark.parametrize("effect", [Clip(), AutomaticGain(), PacketLoss(0.4, 0.5)])
@pytest.mark.parametrize("number", [1, 7, 163])
def test_a_few_samples_stay_as_many(effect: Effect, number: int) -> None:
    made = effect(noise(1)[:number], 8000, generator(0, 0, "u"))
    assert made.shape == (number,) and made.dtype == np.float32 and np.isfinite(made).all()


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Clip, {"low": -1}),
        (Clip, {"low": 3, "high": 2}),
        (AutomaticGain, {"high": 2}),
        (AutomaticGain, {"attack": 0}),
        (AutomaticGain, {"target": float("nan")}),
        (PacketLoss, {"high": 0.6}),
        (PacketLoss, {"burst": 0.5}),
        (PacketLoss, {"seconds": 0}),
    ],
)
def test_what_cannot_be_is_refused(kind: type[Effect], arguments: dict[str, float]) -> None:
    with pytest.raises(DataError, match=kind.__name__):
        kind(**arguments)
