"""audiomentations as effects: repeatable by utterance, without a trace in the global generators."""

import random
from pathlib import Path

import numpy as np
import pytest

from timbre.audio.effects import Audiomentations, Sources, build_chain, generator
from timbre.utils.configure import read_config
from timbre.utils.errors import DataError
from waves import RATE, Make, noise, tone

NAMES = ["AddGaussianNoise", "TimeStretch", "PitchShift", "Shift", "Reverse"]


@pytest.mark.parametrize("name", NAMES)
def test_a_run_repeats_and_leaves_the_global_generators_alone(name: str) -> None:
    effect, wave = Audiomentations(name), tone(300, 1) + noise(1)
    before = wave.copy()
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.random(), np.random.rand()  # noqa: NPY002
    first, other = effect(wave, RATE, generator(0, 0, "a")), effect(wave, RATE, generator(0, 0, "b"))
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    again = Audiomentations(name)(wave, RATE, generator(0, 0, "a"))
    assert (random.random(), np.random.rand()) == expected  # noqa: NPY002
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(wave, before)
    assert first.dtype == np.float32 and len(first) == len(wave) and not np.array_equal(first, wave)
    assert name == "Reverse" or not np.array_equal(first, other)


def test_they_do_what_they_say() -> None:
    wave = tone(1000, 1)
    higher = Audiomentations("PitchShift", {"min_semitones": 4, "max_semitones": 4})(wave, RATE, generator(0, 0, "u"))
    spectrum = np.abs(np.fft.rfft(higher * np.hanning(len(higher))))
    assert spectrum.argmax() == pytest.approx(1000 * 2 ** (4 / 12), abs=3)
    np.testing.assert_array_equal(Audiomentations("Reverse")(wave, RATE, generator(0, 0, "u")), wave[::-1])


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("NoSuch", {}, "no transform 'NoSuch'"),
        ("Compose", {}, "no transform 'Compose'"),
        ("PitchShift", {"semitones": 3}, "PitchShift: .*semitones"),
        ("PitchShift", {"min_semitones": 99, "max_semitones": 99}, "PitchShift: "),
    ],
)
def test_wrong_transforms_are_refused(name: str, arguments: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Audiomentations(name, arguments)


@pytest.mark.parametrize("name", ["online", "online_wide", "online_mix"])
def test_the_confs_for_training_depend_on_seed_epoch_and_utterance(name: str, root: Path, make: Make) -> None:
    response = np.zeros(400, np.float32)
    response[[20, 300]] = [0.9, 0.4]
    speech = {f"s{number}-a": noise(1, number) for number in range(8)}
    made = {"noise": make("noise", {"n": noise(3, 1)}), "music": make("music", {"m": noise(3, 2)})}
    made |= {"speech": make("speech", speech), "rir": make("rir", {"r": response})}
    sources = Sources({kind: [data.path] for kind, data in made.items()})
    effects = read_config(root / "conf" / "augment" / f"{name}.yaml")["effects"]
    keys = [(epoch, utt) for epoch in range(2) for utt in speech]
    waves = {}
    for order in (keys, keys[::-1]):
        chain = build_chain(effects, sources)
        for epoch, utt in order:
            heard = chain(speech[utt], RATE, generator(7, epoch, utt), utt[:2])
            assert np.isfinite(heard).all() and 0.8 * RATE < len(heard) < 1.2 * RATE
            np.testing.assert_array_equal(heard, waves.setdefault((epoch, utt), heard))
    assert len({wave.tobytes() for wave in waves.values()}) > 8, "epochs differ"
