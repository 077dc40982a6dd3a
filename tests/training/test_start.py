"""Training that begins with a model: classes by the names of speakers, centroids, frozen parts, rates of their own."""

import dataclasses
from pathlib import Path

import pytest
import torch

from egs_corpus import write_configs, write_small_egs
from timbre.nnet import checkpoint
from timbre.nnet.model import read_config
from timbre.training.distributed import World
from timbre.training.loop import Trainer, train
from timbre.training.options import StartOptions, TrainOptions

OPTIONS = TrainOptions(
    batch_size=16,
    num_steps=6,
    warmup_steps=0,
    optimizer="sgd",
    lr=0.05,
    weight_decay=0.1,
    log_interval=1,
    valid_interval=100,
    checkpoint_interval=3,
    keep=2,
    average=2,
    tensorboard=False,
    amp="none",
    device="cpu",
)
ALONE = World(0, 1, torch.device("cpu"))


class Place:
    """Egs, a model that was trained on them, and how to go on from it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.egs, self.model = folder, folder / "egs", folder / "model"
        write_small_egs(self.egs)
        self.network, self.objective = write_configs(folder / "conf")
        train(self.egs, self.model, self.network, self.objective, OPTIONS)

    def trainer(self, name: str, egs: Path | None = None, objective: str = "", **start: object) -> Trainer:
        """A Trainer into the model directory NAME, before its first step."""
        options = dataclasses.replace(OPTIONS, **start.pop("train", {}))
        path = None
        if objective:
            path = self.folder / f"{name}.yaml"
            path.write_text(objective)
        options = egs or self.egs, self.folder / name, None, path, options, ALONE, None
        return Trainer(*options, StartOptions(**({"init_model": self.model} | start)))

    def train(self, name: str, egs: Path | None = None, objective: str = "", **start: object) -> Trainer:
        from timbre.training.interrupt import Interrupt

        trainer = self.trainer(name, egs, objective, **start)
        with Interrupt() as interrupt:
            trainer.run(interrupt)
        return trainer


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("start"))


def test_begin(place: Place) -> None:
    trainer = place.trainer("begin")
    final = checkpoint.load(place.model / "final.pt")["network"]
    assert all(torch.equal(value, final[name]) for name, value in trainer.network.state_dict().items())
    trainer = place.train("frozen", freeze=("trunk", "objective", "norms"))
    print(read_config(place.folder / "frozen")["start"])
