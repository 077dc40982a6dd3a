"""A small model and egs, and trainings that begin with it: what the tests of training/start.py share."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from egs_corpus import write_configs, write_small_egs
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_table, write_table
from timbre.egs.egs_writer import write_egs
from timbre.egs.options import EgsOptions
from timbre.nnet import checkpoint
from timbre.runtime.normalize import NormalizeOptions
from timbre.training.distributed import World
from timbre.training.interrupt import Interrupt
from timbre.training.loop import Trainer, train
from timbre.training.options import StartOptions, TrainOptions

OPTIONS = TrainOptions(
    batch_size=16,
    num_steps=8,
    warmup_steps=0,
    optimizer="sgd",
    lr=0.05,
    weight_decay=0.1,
    decay_all=True,
    log_interval=1,
    valid_interval=4,
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
        self.final = checkpoint.load(self.model / "final.pt")["network"]
        self.classes = checkpoint.average(checkpoint.list_checkpoints(self.model)[-2:], "objective")["weight"]
        self.numbers = {name: int(number) for name, number in read_table(self.model / "spk2int").items()}

    def trainer(
        self, name: str, egs: Path | None = None, objective: str = "", change: object = None, **start: object
    ) -> Trainer:
        """A Trainer into the model directory NAME, before its first step; CHANGE of OPTIONS."""
        path = None
        if objective:
            path = self.folder / f"{name}.yaml"
            path.write_text(objective)
        settings = dataclasses.replace(OPTIONS, **(change or {}))
        options = StartOptions(**({"init_model": self.model} | start))
        return Trainer(egs or self.egs, self.folder / name, None, path, settings, ALONE, start=options)

    def train(self, name: str, **others: object) -> Trainer:
        """The same, after its last step."""
        trainer = self.trainer(name, **others)
        with Interrupt() as interrupt:
            trainer.run(interrupt)
        return trainer

    def state(self, name: str) -> dict[str, dict[str, torch.Tensor]]:
        """The last checkpoint of NAME."""
        return checkpoint.load(checkpoint.list_checkpoints(self.folder / name)[-1])

    def egs_of(self, name: str, rename: Callable[[str], str]) -> Path:
        """Egs of the same features by speakers of other names; those named "" are left out."""
        data = DataDir.read(self.folder / "egs_data")
        target = self.folder / f"{name}_data"
        target.mkdir()
        utt2spk = {utt: rename(spk) for utt, spk in data.utt2spk.items() if rename(spk)}
        write_table(target / "utt2spk", utt2spk)
        for table in ("feats.scp", "vad.scp"):
            write_table(target / table, {utt: data.table(table)[utt] for utt in utt2spk})
        options = EgsOptions(20, 40, num_repeats=3.0, num_valid_speakers=0, num_valid_utts=0)
        write_egs(DataDir.read(target), self.folder / name, options, NormalizeOptions(), nj=1, seed=0)
        return self.folder / name
