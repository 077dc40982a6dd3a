"""Augmentation on the device gives what the effects give one example at a time."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from egs_corpus import write_configs
from timbre.egs.batch_effects import DeviceChanges, make_changes
from timbre.egs.crop_effects import Augmentation, Augmenter
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import EgsReader
from timbre.training.front_end import FrontEnd
from timbre.training.loop import train
from timbre.training.options import TrainOptions
from timbre.training.train_log import read_log
from wave_corpus import FBANK, RATE, write_noise, write_wave_egs

BAND = {"class_path": "BandPass", "init_args": {"low": 200, "high": 3000, "order": 4}}
NOISE = {"class_path": "AddNoise", "init_args": {"min_count": 2, "max_count": 3}}
ROOM = {"class_path": "Reverberate"}
SPEED = {"class_path": "Speed", "init_args": {"factors": [0.9, 1.1]}}
LOUD = {"class_path": "Gain", "init_args": {"low": 20, "high": 30}}


def some(*effects: object, probability: float = 0.5) -> dict[str, object]:
    return {"class_path": "Sometimes", "init_args": {"effects": list(effects), "probability": probability}}


ANY = {"class_path": "OneOf", "init_args": {"effects": [ROOM, NOISE, BAND, {"class_path": "Gain"}]}}
MIXED = [some(NOISE), some(SPEED), some(ROOM, BAND), some({"class_path": "MuLaw"}, probability=0.3), some(LOUD)]
CHAINS = {  # and what is left to the device
    "noise": ([NOISE], {"add"}),
    "foreground": ([{"class_path": "AddForegroundNoise", "init_args": {"gap": 0.05}}], {"add"}),
    "babble": ([{"class_path": "Babble", "init_args": {"min_count": 1, "max_count": 2}}], {"add"}),
    "gaussian": ([{"class_path": "GaussianNoise"}], {"add"}),
    "gain": ([{"class_path": "Gain"}], {"scale"}),
    "room": ([ROOM], {"convolve"}),
    "dry room": ([{"class_path": "Reverberate", "init_args": {"keep_power": False}}], {"convolve"}),
    "band": ([BAND], {"convolve"}),
    "zero phase": ([{"class_path": "BandPass", "init_args": {"low": 200, "high": 3000, "zero_phase": True}}], set()),
    "too loud": ([NOISE, LOUD], {"add", "scale"}),
    "one of": ([ANY, some(ROOM)], {"add", "convolve", "scale"}),
    "mixed": (MIXED, {"convolve", "scale"}),  # what is before Speed, with more samples, cannot wait
    "none": ([], set()),
}


class Places:
    """Egs of waveforms, and noise, rooms and speech for them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.egs = folder, folder / "egs"
        self.manifest: Manifest = write_wave_egs(self.egs)
        (folder / "rir").mkdir()
        for number, taps in enumerate((2000, 3100, 900)):
            rng = np.random.default_rng(number)
            room = 0.2 * rng.standard_normal(taps) * np.exp(-np.arange(taps) / 400)
            room[50 * number] = 0.9
            soundfile.write(folder / "rir" / f"{number}.wav", room, RATE, subtype="FLOAT")
        self.sources = {"noise": (write_noise(folder / "noise", 20),), "rir": (folder / "rir",)}
        self.sources["speech"] = (folder / "egs_data",)

    def augmenter(self, chain: str, defers: bool) -> Augmenter:
        augmentation = Augmentation(CHAINS[chain][0], self.sources)
        return Augmenter(self.egs, self.manifest, augmentation, 5, defers=defers)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Places:
    return Places(tmp_path_factory.mktemp("device"))


@pytest.mark.parametrize("chain", CHAINS)
def test_the_device_makes_what_the_effects_make(places: Places, chain: str) -> None:
    examples, starts, shape = np.arange(0, 96, 3), np.zeros(32, np.int64), (32, 24, FBANK.shift)
    wanted, given = np.empty(shape, np.int16), np.empty(shape, np.int16)
    assert places.augmenter(chain, False).fill(2, examples, starts, wanted) == []
    changes = places.augmenter(chain, True).fill(2, examples, starts, given)
    assert {group.kind for group in changes} == CHAINS[chain][1]
    waves = torch.from_numpy(given.reshape(32, -1))
    made = make_changes(waves, [DeviceChanges.of(group, pinned=False) for group in changes])
    assert made.dtype == torch.int16
    difference = np.abs(made.numpy().astype(np.int32) - wanted.reshape(32, -1))
    assert difference.max() <= 2 and difference.mean() < 0.25, "steps of 16 bits; 2 are 6e-5"
    left = np.abs(wanted.reshape(32, -1) - given.reshape(32, -1).astype(np.int32)).max(1) > 3
    assert set(np.flatnonzero(left)) <= {place for group in changes for place in group.examples}
    assert left.mean() > 0.3 or not changes


def test_batches_give_the_same_features(places: Places) -> None:
    feats = []
    for defers in (False, True):
        reader = EgsReader(places.egs, places.manifest, 16, 1, augmenter=places.augmenter("mixed", defers))
        batch = next(iter(reader))
        assert bool(batch.changes) == defers
        feats.append(FrontEnd(places.manifest, None, torch.device("cpu"))(batch).feats)
    assert feats[0].shape == feats[1].shape
    # log energies: a step of 16 bits is seen where there is next to nothing
    difference = (feats[0] - feats[1]).abs()
    assert float(difference.mean()) < 1e-3 and float(difference.quantile(0.999)) < 0.05


def test_training_is_the_same_wherever_the_effects_are_computed(places: Places) -> None:
    network, objective = write_configs(places.folder / "conf")
    options = TrainOptions(
        batch_size=32, num_steps=4, warmup_steps=2, log_interval=1, valid_interval=4, tensorboard=False, device="cpu"
    )
    losses = []
    for where in ("device", "processes"):
        chosen = dataclasses.replace(options, augment_on=where)
        train(places.egs, places.folder / where, network, objective, chosen, Augmentation(MIXED, places.sources))
        losses.append([line["loss"] for line in read_log(places.folder / where / "log.jsonl")])
    assert len(losses[0]) == 4 and losses[0] == pytest.approx(losses[1], rel=0.02)
