"""The small steps around training: averaging its checkpoints, plotting its log."""

import dataclasses
from pathlib import Path

import pytest
import torch

from egs_corpus import write_configs, write_small_egs
from steps.average_checkpoints import average_checkpoints
from steps.plot_training import plot_training
from timbre.nnet import checkpoint
from timbre.training.loop import train
from timbre.training.options import TrainOptions
from timbre.utils.errors import DataError

OPTIONS = TrainOptions(
    num_steps=6, batch_size=16, log_interval=2, valid_interval=3, checkpoint_interval=2, device="cpu"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("steps")
    write_small_egs(path / "egs")
    train(path / "egs", path / "model", *write_configs(path / "conf"), dataclasses.replace(OPTIONS, tensorboard=False))
    return path / "model"


def test_other_averages_can_be_had_afterwards(model: Path) -> None:
    average_checkpoints(model, last=1)
    final, last = checkpoint.load(model / "final.pt"), checkpoint.load(checkpoint.list_checkpoints(model)[-1])
    assert final["steps"] == [6]
    assert all(torch.equal(value, last["network"][name]) for name, value in final["network"].items())
    average_checkpoints(model, last=2)
    assert checkpoint.load(model / "final.pt")["steps"] == [4, 6]
    for number in (0, 9):
        with pytest.raises(DataError, match=f"{number} checkpoints are asked for, 3 are kept"):
            average_checkpoints(model, last=number)


def test_curves_are_drawn_without_an_accuracy(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2, "lr": 0.1}\n{"step": 2, "loss": 1, "lr": 0.1}\n')
    plot_training(tmp_path)
    svg = (tmp_path / "training.svg").read_text()
    for text in ("loss", "accuracy (%)", "the objective has none", "none held out"):
        assert text in svg


def test_curves_are_drawn_in_both_formats(model: Path, tmp_path: Path) -> None:
    plot_training(model)
    assert (model / "training.png").read_bytes().startswith(b"\x89PNG")
    svg = (model / "training.svg").read_text()
    for text in ("loss", "accuracy (%)", "EER (%)", "learning rate", "held-out speakers"):
        assert text in svg
    plot_training(model)
    assert (model / "training.svg").read_text() == svg
    assert "the objective has none" not in svg
    plot_training(model, tmp_path / "curves.pdf")
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")
    with pytest.raises(DataError, match="nothing has been logged"):
        plot_training(tmp_path)
    with pytest.raises(DataError, match=r"curves\.txt: a plot is"):
        plot_training(model, tmp_path / "curves.txt")
