"""Chains, probabilities and generators; how effects are named in YAML."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from timbre.audio.effects import Sources, build_chain, generator
from timbre.utils.errors import DataError
from waves import RATE, noise

Config = dict[str, Any]


def hiss(amplitude: float) -> Config:
    return {"class_path": "GaussianNoise", "init_args": {"min_amplitude": amplitude, "max_amplitude": amplitude}}


def test_a_generator_depends_on_seed_epoch_and_utterance_alone() -> None:
    draws = {(s, e, u): generator(s, e, u).random() for s in range(3) for e in range(3) for u in ("a", "b", "1 a")}
    assert len(set(draws.values())) == len(draws)
    assert generator(1, 2, "a").random() == draws[1, 2, "a"]
    assert generator(0, 0, "utt").random() == pytest.approx(0.31669, abs=1e-5), "in any process and version"


def test_sometimes_and_one_of_keep_their_probabilities() -> None:
    sometimes = {"class_path": "Sometimes", "init_args": {"effects": [hiss(0.1)], "probability": 0.3}}
    chain = build_chain([sometimes], Sources())
    silence = np.zeros(1000, np.float32)
    applied = sum(chain(silence, RATE, generator(0, 0, str(utt))).any() for utt in range(1000))
    assert 250 < applied < 350
    none: Config = {"class_path": "Chain", "init_args": {"effects": []}}
    choice = {"class_path": "OneOf", "init_args": {"effects": [none, hiss(0.1), hiss(0.5)], "weights": [2, 1, 1]}}
    chain = build_chain([choice], Sources())
    levels = Counter(round(float(chain(silence, RATE, generator(0, 0, str(utt))).std()), 1) for utt in range(1000))
    assert set(levels) == {0.0, 0.1, 0.5} and 450 < levels[0.0] < 550 and 200 < levels[0.1] < 300


def test_effects_come_in_their_order() -> None:
    band = {"class_path": "BandPass", "init_args": {"low": 300, "high": 3400}}
    silence = np.zeros(RATE, np.float32)
    last = build_chain([hiss(0.1), band], Sources())(silence, RATE, generator(0, 0, "u"))
    first = build_chain([band, hiss(0.1)], Sources())(silence, RATE, generator(0, 0, "u"))
    assert last.std() < 0.08 < 0.09 < first.std()


def test_at_another_rate_the_length_stays() -> None:
    speech = noise(1.00006, 1)
    chain = build_chain([{"class_path": "AtRate", "init_args": {"rate": 8000, "effects": []}}], Sources())
    narrow = chain(speech, RATE, generator(0, 0, "u"))
    assert len(narrow) == len(speech)
    spectrum, before = np.abs(np.fft.rfft(narrow)), np.abs(np.fft.rfft(speech))
    assert spectrum[4200:].mean() < 5e-3 * before[4200:].mean()
    assert spectrum[100:3400].mean() == pytest.approx(before[100:3400].mean(), rel=0.01)
    assert len(chain(np.ones(1, np.float32), RATE, generator(0, 0, "u"))) == 1


@pytest.mark.parametrize(
    ("effects", "message"),
    [
        (["NoSuchEffect"], "effect 'NoSuchEffect' is unknown; there are ALaw, AddForegroundNoise"),
        ([{"class_path": "BandPass", "init_args": {"lo": 3}}], "BandPass: .*lo"),
        ([{"class_path": "BandPass", "init_args": {"low": "x"}}], "BandPass: .*low"),
        ([{"class_path": "BandPass", "init_args": {"low": 400, "high": 300}}], "0 < low < high"),
        ([{"class_path": "Chain", "init_args": {"effects": [{"class_path": "Nope"}]}}], "'Nope' is unknown"),
        ([{"class_path": "AddNoise", "init_args": {"sources": 1}}], "AddNoise: .*sources"),
        ([{"class_path": "OneOf", "init_args": {"effects": []}}], "OneOf: 0 effects"),
        ([{"class_path": "Sometimes", "init_args": {"effects": [], "probability": 2}}], "probability is 2"),
        ([{"class_path": "GaussianNoise", "init_args": {"min_amplitude": 2}}], "min_amplitude"),
        ({"class_path": "BandPass"}, "must be a list"),
        ([7], "must hold class_path"),
    ],
)
def test_wrong_configurations_are_refused(effects: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_chain(effects, Sources())


def test_nothing_but_effects_is_made_of_a_class_path() -> None:
    """jsonargparse by itself makes an object of any class that a value of type Any names."""
    trap = {"class_path": "pathlib.Path", "init_args": {"args": ["/"]}}
    with pytest.raises(DataError, match=r"effect 'pathlib\.Path' is unknown"):
        build_chain([{"class_path": "Chain", "init_args": {"effects": [trap]}}], Sources())
    hidden = {"class_path": "OneOf", "init_args": {"effects": [{"class_path": "Chain", "more": trap}]}}
    with pytest.raises(DataError, match=r"'class_path': 'pathlib\.Path'"):
        build_chain([hidden], Sources())
