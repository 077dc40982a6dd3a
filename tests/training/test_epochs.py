"""The line of each epoch: what it says is that of the steps of the epoch, however the log, stops and parts fall."""

import dataclasses
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.amp.grad_scaler import GradScaler

from egs_corpus import write_configs, write_small_egs
from timbre.evaluation.metrics import roc
from timbre.training.distributed import World
from timbre.training.loop import Trainer, train
from timbre.training.options import TrainOptions
from timbre.training.step_figures import StepFigures
from timbre.training.train_log import read_log
from timbre.training.validation import COSTS, THRESHOLD, costs
from timbre.utils.errors import DataError

OPTIONS = TrainOptions(
    batch_size=64,
    num_epochs=2.4,
    warmup_steps=0,
    log_interval=1,
    valid_interval=0,
    checkpoint_interval=3,
    tensorboard=False,
    amp="none",
    device="cpu",
)
MEASURED = {"minutes", "peak_resident_bytes"}


class Place:
    """Egs, and how to train on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_small_egs(folder / "egs")
        self.network, self.objective = write_configs(folder / "conf")

    def train(self, name: str, **options: object) -> list[dict[str, Any]]:
        """The lines of the epochs, without what is measured."""
        train(
            self.folder / "egs",
            self.folder / name,
            self.network,
            self.objective,
            dataclasses.replace(OPTIONS, **options),
        )
        lines = read_log(self.folder / name / "epochs.jsonl")
        return [{key: value for key, value in line.items() if key not in MEASURED} for line in lines]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("epochs"))


def test_an_epoch_has_the_figures_of_its_steps(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """Of all its parts with accumulation, and the validation at its end, which valid_interval 0 asks for."""
    caplog.set_level("INFO")
    epochs = place.train("whole", accumulation=2)
    steps = read_log(place.folder / "whole" / "log.jsonl")
    length = epochs[0]["step"]
    assert length > 3 and len(steps) == math.ceil(2.4 * length)
    assert [(line["epoch"], line["step"], line["steps"]) for line in epochs] == [
        (1, length, length),
        (2, 2 * length, length),
    ]
    assert [line["step"] for line in steps if "valid_eer" in line] == [length, 2 * length, len(steps)]
    for epoch, line in enumerate(epochs):
        part = steps[epoch * length : (epoch + 1) * length]
        for name in ("loss", "accuracy"):
            assert line[name] == pytest.approx(np.mean([step[name] for step in part]), rel=1e-6)
        valid = {name: value for name, value in part[-1].items() if name.startswith("valid_")}
        assert valid.items() <= line.items() and line["valid_step"] == part[-1]["step"]
        assert {"valid_accuracy", "valid_eer", THRESHOLD, *COSTS} <= valid.keys()
    assert epochs[0]["loss"] != epochs[1]["loss"]
    for line in read_log(place.folder / "whole" / "epochs.jsonl"):
        assert line["minutes"] > 0 and line["peak_resident_bytes"] > 10e6
        words = (
            rf"epoch {line['epoch']}: {line['minutes']:.2f} min, peak resident memory "
            rf"{line['peak_resident_bytes'] / 2**20:,.0f} MiB, train accuracy {line['accuracy']:.1%}, "
            rf"valid accuracy {line['valid_accuracy']:.1%}, loss {line['loss']:.3f}, valid EER {line['valid_eer']:.2%} "
            rf"at {line[THRESHOLD]:.4f}, minDCF 0.01 {line['valid_min_dcf_0.01']:.3f}, "
            rf"minDCF 0.001 {line['valid_min_dcf_0.001']:.3f}"
        )
        assert words in caplog.text


def test_the_lines_of_the_log_do_not_matter_nor_does_a_stop(place: Place) -> None:
    whole = place.train("fine")
    length = whole[0]["step"]
    coarse = place.train("coarse", log_interval=length - 1)
    assert len(coarse) == 2
    for one, other in zip(whole, coarse, strict=True):
        assert one == pytest.approx(other, rel=1e-12)
    update = Trainer._update

    for stop in (2, length, length + 2):  # in an epoch, at its end, in the next

        def update_and_signal(trainer: Trainer, *arguments: object, stop: int = stop) -> None:
            if trainer.step == stop - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            update(trainer, *arguments)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr(Trainer, "_update", update_and_signal)
            place.train(f"stopped{stop}")
        assert place.train(f"stopped{stop}") == whole


def test_lines_after_the_checkpoint_are_taken_back(place: Place) -> None:
    whole = place.train("undisturbed", valid_interval=4)
    length = whole[0]["step"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        update = Trainer._update

        def update_and_die(trainer: Trainer, *arguments: object) -> None:
            if trainer.step == length:
                raise KeyboardInterrupt
            update(trainer, *arguments)

        patch.setattr(Trainer, "_update", update_and_die)
        place.train("died", valid_interval=4, checkpoint_interval=length - 1)
    assert [line["epoch"] for line in read_log(place.folder / "died" / "epochs.jsonl")] == [1]
    assert place.train("died", valid_interval=4, checkpoint_interval=length - 1) == whole
    assert [line["valid_step"] for line in whole] == [length - length % 4, 2 * length - 2 * length % 4]


def test_without_a_whole_epoch_or_a_validation(place: Place) -> None:
    assert place.train("short", num_steps=2) == []
    (line,) = place.train("unlooked", num_epochs=1.2, valid_interval=1000)
    assert {*line} == {"step", "epoch", "steps", "loss", "accuracy"}


def test_an_epoch_of_before_there_were_any() -> None:
    """A checkpoint of then does not have its sums: the line is that of the steps since."""
    figures = StepFigures(World(0, 1, torch.device("cpu")), GradScaler("cpu", enabled=False))
    figures.resume({"losses": torch.ones(2), "accuracies": torch.ones(2)})
    figures.add(torch.tensor(3.0), torch.tensor(0.5))
    assert figures.take(3) == pytest.approx({"loss": 5 / 3, "accuracy": 2.5 / 3})
    assert figures.end_epoch(3) == {"steps": 1, "loss": 3.0, "accuracy": 0.5}


def test_what_is_no_number_does_not_count() -> None:
    figures = StepFigures(World(0, 1, torch.device("cpu")), GradScaler("cpu", enabled=True))
    for loss in (1.0, math.inf, 3.0):  # a step that fp16 has skipped
        figures.add(torch.tensor(loss), torch.tensor(math.nan))
    assert figures.end_epoch(3) == {"steps": 3, "loss": 2.0}, "an objective without opinion has no accuracy"
    strict = StepFigures(World(0, 1, torch.device("cpu")), GradScaler("cpu", enabled=False))
    strict.add(torch.tensor(math.nan), torch.tensor(0.0))
    with pytest.raises(DataError, match="the loss of step 7 is nan"):
        strict.end_epoch(7)


def test_costs_are_those_of_the_results() -> None:
    rng = np.random.default_rng(0)
    target = rng.random(300) < 0.3
    scores = (rng.normal(size=300) + 2 * target).astype(np.float32)
    curve = roc(np.float64(scores[target]), np.float64(scores[~target]))
    assert costs(scores, target) == {
        THRESHOLD: curve.eer_threshold(),
        "valid_min_dcf_0.01": curve.min_dcf(0.01),
        "valid_min_dcf_0.001": curve.min_dcf(0.001),
    }
    assert costs(scores, np.zeros(300, bool)) == costs(scores, np.ones(300, bool)) == {}
    assert costs(np.where(target, np.nan, scores), target) == {}


def test_an_interval_below_zero() -> None:
    with pytest.raises(DataError, match="valid_interval is -1; it must not be below 0"):
        dataclasses.replace(OPTIONS, valid_interval=-1)
