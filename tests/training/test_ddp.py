"""Two ranks with half a batch each do what one does with the whole of it."""

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import train_objectives
from egs_corpus import write_configs, write_small_egs
from timbre.nnet import checkpoint
from timbre.nnet.options import SegmentOptions
from timbre.training.loop import train
from timbre.training.options import StartOptions, TeacherOptions, TrainOptions
from timbre.training.train_log import read_log

OPTIONS = TrainOptions(
    batch_size=32,
    num_steps=20,
    warmup_steps=5,
    optimizer="sgd",  # Adam makes much of differences in rounding
    lr=0.05,
    log_interval=1,
    valid_interval=20,
    checkpoint_interval=10,
    keep=2,
    average=2,
    tensorboard=False,
    amp="none",
    device="cpu",
)
CASES: dict[str, tuple[str, dict[str, Any]]] = {  # objective, options
    "classes": ("{class_path: AamSoftmax, init_args: {margin: 0.1}}", {"batch_size": 64, "accumulation": 2}),
    # each speaker is compared with those of both ranks
    "speakers": (
        "class_path: AngularPrototypical",
        {"min_frames": 16, "max_frames": 30, "utts_per_speaker": 4, "max_utts_per_speaker": 8, "compile": True},
    ),
    "pairs": ("class_path: Contrastive", {"accumulation": 2}),
    # centres follow the embeddings of both ranks
    "centers": (
        "{class_path: WeightedSum, init_args: {terms: [{class_path: Softmax}, {weight: 0.1, class_path: CenterLoss, "
        "init_args: {alpha: 0.5}}]}}",
        {},
    ),
    # each rank has the weights of half of the speakers
    "shards": ("{class_path: AamSoftmax, init_args: {margin: 0.1}}", {"shard_classes": True, "grad_clip": 0.5}),
    "schedule": ("class_path: Tempered", {"compile": True}),
    # each rank has half of the classes that a model begins with, and they stay
    "frozen": ("{class_path: AamSoftmax, init_args: {margin: 0.1}}", {"shard_classes": True}),
    # what is drawn is drawn for both ranks; a head and a map of their own
    "taught": (
        "{class_path: AamSoftmax, init_args: {margin: 0.1}}",
        {
            "teacher": TeacherOptions(Path("teacher"), level="both", student_frames=19, map="always"),
            "segments": SegmentOptions(15, 17, starts="random", heads=2, agg_ce=False),
            "accumulation": 2,
            "lr": 0.02,
        },
    ),
}
FROZEN = {"freeze": ("objective", "trunk"), "lr_scale": {"segment": 0.5}}  # of what "classes" has made
OUT_OF_USE = {"out of use": ("class_path: Unopinionated", {})}
# BatchNorm sees the examples of its own rank alone; without it, the gradients are the same
SCRIPT = """
import functools, sys
from pathlib import Path, PosixPath
from torch import nn
import train_objectives
nn.Module.compile = functools.partialmethod(nn.Module.compile, backend="eager")
from timbre.nnet import checkpoint
from timbre.training.distributed import join_world
from timbre.training.interrupt import Interrupt
from timbre.nnet.options import SegmentOptions
from timbre.training.options import StartOptions, TeacherOptions, TrainOptions
from timbre.training.loop import Trainer
nn.BatchNorm1d = lambda *args, **kwargs: nn.Identity()
directory, network = Path(sys.argv[1]), Path(sys.argv[2])
with join_world("cpu") as world, Interrupt() as interrupt:
    for name, options, start in {runs}:
        arguments = directory / "egs", directory / "two" / name, network, directory / f"{{name}}.yaml", options
        Trainer(*arguments, world, start=start).run(interrupt)
    if world.rank:  # which does not see the newest checkpoint of the last run yet
        seen = checkpoint.list_checkpoints
        checkpoint.list_checkpoints = lambda model_dir: seen(model_dir)[:-1]
    (directory / f"step.{{world.rank}}").write_text(str(Trainer(*arguments, world).step))
"""


def _start(directory: Path, case: str) -> StartOptions:
    return StartOptions(directory / "two" / "classes", **FROZEN) if case == "frozen" else StartOptions()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Egs, and what two ranks have trained on them: one start of Python for all cases."""
    path = tmp_path_factory.mktemp("ddp")
    write_small_egs(path / "egs")
    network, _ = write_configs(path / "conf")
    for name, (objective, _) in (CASES | OUT_OF_USE).items():
        (path / f"{name}.yaml").write_text(objective)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nn, "BatchNorm1d", lambda *_, **__: nn.Identity())
        train(path / "egs", path / "teacher", network, path / "classes.yaml", OPTIONS)
    runs = [
        (name, dataclasses.replace(OPTIONS, **options), _start(path, name))
        for name, (_, options) in (CASES | OUT_OF_USE).items()
    ]
    (path / "script.py").write_text(SCRIPT.format(runs=runs))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join((os.getcwd(), str(Path(train_objectives.__file__).parent)))
    }
    arguments = [str(path / "script.py"), str(path), str(network)]
    subprocess.run([*command, *arguments], check=True, timeout=120, env=environment, cwd=path)
    return path


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_are_one(directory: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, options = CASES[case]
    monkeypatch.setattr(nn, "BatchNorm1d", lambda *_, **__: nn.Identity())
    monkeypatch.chdir(directory)
    settings = dataclasses.replace(OPTIONS, **options | {"compile": False})
    arguments = directory / "conf" / "network.yaml", directory / f"{case}.yaml", settings
    train(directory / "egs", directory / "one" / case, *arguments, start=_start(directory, case))
    one, two = (read_log(directory / name / case / "log.jsonl") for name in ("one", "two"))
    assert len(one) == len(two) == 20
    for key in ("loss", "accuracy", "lr"):
        assert [line.get(key) for line in two] == pytest.approx([line.get(key) for line in one], rel=1e-4, abs=1e-4)
    if "shard_classes" not in options:  # validation has one rank, which does not know all classes
        assert two[-1].get("valid_loss") == pytest.approx(one[-1].get("valid_loss"), abs=1e-3)
    one_epochs, two_epochs = (read_log(directory / name / case / "epochs.jsonl") for name in ("one", "two"))
    assert len(one_epochs) == len(two_epochs) >= (case in ("classes", "speakers"))
    for key in ("epoch", "steps", "loss", "accuracy"):
        assert [line.get(key) for line in two_epochs] == pytest.approx(
            [line.get(key) for line in one_epochs], rel=1e-4, abs=1e-4
        ), key
    states = [checkpoint.load(checkpoint.list_checkpoints(directory / name / case)[-1]) for name in ("one", "two")]
    for part in ("network", "objective", "extras"):
        for name, value in states[0][part].items():
            assert states[1][part][name].numpy() == pytest.approx(value.numpy(), abs=1e-4), name
    for one_of, other in zip(*(state["optimizer"]["state"].values() for state in states), strict=True):
        for name, value in one_of.items():
            assert other[name].numpy() == pytest.approx(value.numpy(), abs=2e-3), name
    if case == "frozen":
        began = checkpoint.load(directory / "two" / "classes" / "final.pt")["network"]
        ended = states[1]["network"]
        assert all(torch.equal(ended[name], value) == name.startswith("trunk") for name, value in began.items())
        was = checkpoint.average(checkpoint.list_checkpoints(directory / "two" / "classes"), "objective")["weight"]
        assert torch.equal(states[1]["objective"]["weight"], was)
    assert case != "classes" or one[-1]["loss"] < one[0]["loss"] - 0.5
    assert (directory / "two" / case / "final.pt").is_file()


def test_ranks_go_on_from_one_step(directory: Path) -> None:
    """Though one of them does not see the newest checkpoint where it looks for it."""
    assert [(directory / f"step.{rank}").read_text() for rank in range(2)] == ["20", "20"]


def test_a_parameter_may_have_no_gradient_on_a_rank(directory: Path) -> None:
    """On one rank at a time the length is in no graph, and on every third step nothing is, on both."""
    lines = read_log(directory / "two" / "out of use" / "log.jsonl")
    assert len(lines) == 20
    assert [line["loss"] == 0 for line in lines] == [step % 3 == 2 for step in range(20)]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert (directory / "two" / "out of use" / "final.pt").is_file()


def test_one_rank_goes_on_from_what_two_ranks_with_shards_have_done(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn, "BatchNorm1d", lambda *_, **__: nn.Identity())
    shutil.copytree(directory / "two" / "shards", tmp_path / "model")
    checkpoint.list_checkpoints(tmp_path / "model")[-1].unlink()  # back to the one before it
    (tmp_path / "model" / "final.pt").unlink()
    settings = dataclasses.replace(OPTIONS, **CASES["shards"][1])
    arguments = directory / "conf" / "network.yaml", directory / "shards.yaml", settings
    train(directory / "egs", tmp_path / "model", *arguments)
    one, two = (read_log(path / "log.jsonl") for path in (tmp_path / "model", directory / "two" / "shards"))
    assert [line["loss"] for line in one] == pytest.approx([line["loss"] for line in two], abs=1e-4)
