"""Reverberation: time, length and power stay, and the room is the one of the impulse response."""

import numpy as np
import pytest

from timbre.audio.effects import Reverberate, Sources, generator
from timbre.audio.effects.reverb import direct_path, reverberate
from timbre.utils.errors import DataError
from waves import RATE, Make, Wave, noise


def room(delay: int = 200, seed: int = 0) -> Wave:
    """A direct path after DELAY samples and a tail that decays."""
    tail = np.random.default_rng(seed).standard_normal(4000) * 0.1 * np.exp(-np.arange(4000) / 800)
    response = np.concatenate([np.zeros(delay), tail])
    response[delay] = -1.0  # the polarity does not matter
    return response.astype(np.float32)


def test_the_direct_path_keeps_its_time_and_the_length_stays() -> None:
    click = np.zeros(RATE, np.float32)
    click[5000] = 0.5
    heard = reverberate(click, room())
    assert len(heard) == RATE and np.abs(heard).argmax() == 5000
    assert np.abs(heard[:5000]).max() < 1e-6 < np.abs(heard[5001:6000]).max()


def test_it_is_the_convolution() -> None:
    speech, response = noise(0.3, 1), room(50)
    plain = np.convolve(speech.astype(float), response / np.sqrt((response.astype(float) ** 2).sum()))
    expected = plain[50 : 50 + len(speech)]
    np.testing.assert_allclose(reverberate(speech, response, keep_power=False), expected, atol=1e-6)
    kaldi = expected * np.sqrt((speech.astype(float) ** 2).mean() / (plain**2).mean())
    np.testing.assert_allclose(reverberate(speech, response), kaldi, atol=1e-6)


def test_a_single_peak_changes_nothing() -> None:
    speech = noise(0.5, 1)
    unit = np.zeros(300, np.float32)
    unit[100] = 0.01
    np.testing.assert_allclose(reverberate(speech, unit, keep_power=False), speech, atol=1e-6)


def test_an_echo_may_be_higher_than_the_direct_path() -> None:
    response = room(200)
    response[300] = 1.5
    assert direct_path(response) == 200
    response[120] = 0.2  # noise before it
    assert direct_path(response) == 200


def test_silence_and_single_samples() -> None:
    assert not reverberate(np.zeros(100, np.float32), room()).any()
    assert reverberate(np.ones(1, np.float32), room()).shape == (1,)


def test_responses_come_from_a_data_directory(make: Make) -> None:
    data = make("rir", {"a": room(10, 1), "b": room(20, 2)})
    effect = Reverberate(Sources({"rir": [data.path]}))
    speech = noise(1, 3)
    results = [effect(speech, RATE, generator(seed, 0, "u")) for seed in range(8)]
    assert len({result.tobytes() for result in results}) == 2
    at_8k = effect(speech[: RATE // 2], 8000, generator(0, 0, "u"))
    assert len(at_8k) == RATE // 2 and np.isfinite(at_8k).all()


def test_what_is_no_response_is_refused(make: Make) -> None:
    with pytest.raises(DataError, match="all zero"):
        reverberate(noise(1), np.zeros(10, np.float32))
    long = Reverberate(Sources({"rir": [make("music", {"m": noise(11)}).path]}))
    with pytest.raises(DataError, match=r"m\.wav: 11\.0 s long; at most 10 s"):
        long(noise(1), RATE, generator(0, 0, "u"))
