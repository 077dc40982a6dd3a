"""Interrupted training goes on as if nothing had happened: the same losses to the bit, the same network."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import train_objectives
from egs_corpus import write_configs, write_small_egs
from timbre.nnet import checkpoint
from timbre.training.loop import Trainer, train
from timbre.training.options import TrainOptions
from timbre.training.resume import rng_state, set_rng_state
from timbre.training.train_log import read_log
from timbre.utils.errors import DataError

OPTIONS = TrainOptions(
    batch_size=32,
    num_steps=60,
    warmup_steps=5,
    log_interval=1,
    valid_interval=25,
    checkpoint_interval=7,
    tensorboard=False,
    amp="auto",
    device="cpu",
)
MEASURED = {"examples_per_s", "waiting"}  # the only figures that may differ


class Run:
    """Egs and configurations, and how to train with them."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.egs = directory, directory / "egs"
        write_small_egs(self.egs)
        self.network, self.objective = write_configs(directory / "conf")

    def train(self, name: str, objective: str = "", **options: object) -> None:
        """Trains into the model directory NAME with OBJECTIVE (YAML), and OPTIONS over those above."""
        settings = dataclasses.replace(OPTIONS, **options)
        path = self.objective
        if objective:
            path = self.directory / f"{name}.yaml"
            path.write_text(objective)
        train(self.egs, self.directory / name, self.network, path, settings)

    def lines(self, name: str) -> list[dict[str, float]]:
        """The log, without what is measured."""
        records = read_log(self.directory / name / "log.jsonl")
        return [{key: value for key, value in line.items() if key not in MEASURED} for line in records]

    def stop(self, name: str, step: int, number: int, objective: str = "", **options: object) -> int:
        """As train, but the process gets signal NUMBER twice in the middle of STEP; the exit status."""
        update = Trainer._update

        def update_and_signal(trainer: Trainer, *arguments: object) -> None:
            if trainer.step == step - 1:
                for _ in range(2):
                    os.kill(os.getpid(), number)
            update(trainer, *arguments)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
            patch.setattr(Trainer, "_update", update_and_signal)
            self.train(name, objective, **options)
        return int(str(stopped.value.code))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("resume"))
    run.train("whole")
    return run


def _same_network(one: Path, other: Path) -> bool:
    networks = [checkpoint.load(path / "final.pt")["network"] for path in (one, other)]
    return all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())


def test_shares_of_the_training_are_taken_up_where_they_were(run: Run) -> None:
    """The margin and the learning rate follow from the step and the number of all steps, stopped or not."""
    margin = "{class_path: AamSoftmax, init_args: {warmup: {start_share: 0.2, end_share: 0.9, shape: exponential}}}"
    options = {"num_steps": 20, "warmup_steps": 0, "warmup_share": 0.5}
    run.train("shares", margin, **options)
    assert run.stop("shares_stopped", 9, signal.SIGTERM, margin, **options) == 128 + signal.SIGTERM
    run.train("shares_stopped", margin, **options)
    assert run.lines("shares_stopped") == run.lines("shares")
    assert _same_network(run.directory / "shares_stopped", run.directory / "shares")
    lines = run.lines("shares")
    assert [line["lr"] for line in lines[:10]] == pytest.approx([0.0002 * step for step in range(1, 11)])
    assert lines[4]["margin"] == 0 and 0 < lines[8]["margin"] < lines[12]["margin"] < lines[19]["margin"]


def test_killed_at_any_moment(run: Run) -> None:
    words = ["--train.tensorboard=false", "--train.device=cpu", "--network", str(run.network), "--objective"]
    words += [str(run.objective)]
    for field in ("batch_size", "num_steps", "warmup_steps", "log_interval", "valid_interval", "checkpoint_interval"):
        words.append(f"--train.{field}={getattr(OPTIONS, field)}")
    command = [sys.executable, "steps/train.py", str(run.egs), str(run.directory / "killed"), *words]
    log = run.directory / "killed" / "log.jsonl"
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (log.is_file() and log.read_bytes().count(b"\n") > 30):
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    done = [line["step"] for line in run.lines("killed")]
    assert 31 <= len(done) < OPTIONS.num_steps
    run.train("killed")
    assert run.lines("killed") == run.lines("whole")
    assert _same_network(run.directory / "killed", run.directory / "whole")


@pytest.mark.parametrize(("number", "step"), [(signal.SIGTERM, 1), (signal.SIGINT, 57), (signal.SIGHUP, 12)])
def test_asked_to_stop(run: Run, number: int, step: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    name = signal.Signals(number).name
    assert run.stop(name, step, number, log_interval=3) == 128 + number
    assert f"{name} after step {step}: saved" in caplog.text
    assert checkpoint.list_checkpoints(run.directory / name)[-1].stem == f"step-{step:07d}"
    assert not (run.directory / name / "final.pt").exists()
    run.train(name, log_interval=3)
    run.train("coarse", log_interval=3)
    assert run.lines(name) == run.lines("coarse")
    assert f"{step} steps are done" in caplog.text
    assert _same_network(run.directory / name, run.directory / "whole")


KINDS = {
    "cut": {"min_frames": 15, "max_frames": 30},
    "speakers": {"objective": "class_path: AngularPrototypical", "utts_per_speaker": 4, "max_utts_per_speaker": 9},
    "pairs": {"objective": "class_path: Contrastive", "min_frames": 15, "max_frames": 20},
}


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_every_kind_go_on(run: Run, kind: str) -> None:
    options = {"num_steps": 40, **KINDS[kind]}
    run.train(f"{kind}-whole", **options)
    for step in (5, 31):
        run.stop(f"{kind}-{step}", step, signal.SIGTERM, **options)
        run.train(f"{kind}-{step}", **options)
        assert run.lines(f"{kind}-{step}") == run.lines(f"{kind}-whole")
        assert _same_network(run.directory / f"{kind}-{step}", run.directory / f"{kind}-whole")
    assert run.lines(f"{kind}-whole")[-1]["epoch"] > 1.5  # so one stop is in the first, and one in another


def test_schedules_go_on(run: Run) -> None:
    """What an update sets is a buffer; the calls are those of the steps that were still to be done."""
    options = {"objective": "class_path: Tempered", "num_steps": 24}
    run.train("tempered-whole", **options)
    run.stop("tempered", 13, signal.SIGTERM, **options)
    saved = checkpoint.load(checkpoint.list_checkpoints(run.directory / "tempered")[-1])["objective"]
    assert float(saved["scale"]) == pytest.approx(1 + 9 * 12 / 24)
    run.train("tempered", **options)
    calls = train_objectives.Tempered.calls
    assert calls == [(what, step) for step in range(13, 24) for what in ("update", "constrain")]
    assert run.lines("tempered") == run.lines("tempered-whole")
    last = [checkpoint.list_checkpoints(run.directory / name)[-1] for name in ("tempered", "tempered-whole")]
    one, other = (checkpoint.load(path)["objective"] for path in last)
    assert {*one} == {"weight", "scale"} and all(torch.equal(one[name], other[name]) for name in one)


def test_stopped_between_two_lines_of_the_log(run: Run) -> None:
    run.stop("between", 33, signal.SIGTERM, log_interval=20)
    run.train("between", log_interval=20)
    run.train("coarser", log_interval=20)
    assert run.lines("between") == run.lines("coarser")


def test_a_damaged_checkpoint_is_passed_over(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.stop("damaged", 58, signal.SIGTERM)
    newest = checkpoint.list_checkpoints(run.directory / "damaged")[-1]
    newest.write_bytes(newest.read_bytes()[:-1000])
    run.train("damaged")
    assert f"{newest}: " in caplog.text and "put aside" in caplog.text
    assert run.lines("damaged") == run.lines("whole")
    assert _same_network(run.directory / "damaged", run.directory / "whole")


def test_other_options_start_anew_and_are_named(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.train("changed", num_steps=20, lr=0.001)
    run.train("changed", num_steps=20, lr=0.001, log_interval=2, keep=5, num_threads=1)
    assert "anew" not in caplog.text
    run.train("changed", num_steps=14)
    assert "train.lr 0.001 -> 0.002; train.num_steps 20 -> 14" in caplog.text
    assert [line["step"] for line in run.lines("changed")] == list(range(1, 15))
    names = [path.stem for path in checkpoint.list_checkpoints(run.directory / "changed")]
    assert names == ["step-0000007", "step-0000014"]


def test_options_that_there_were_not_yet_are_as_by_default(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    run.train("older", num_steps=7)
    path = run.directory / "older" / "config.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "keep_best" not in line))
    run.train("older", num_steps=7)
    assert "anew" not in caplog.text
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "momentum" not in line))
    run.train("older", num_steps=7, momentum=0.5)
    assert "anew" in caplog.text and "train.momentum 0.9 -> 0.5" in caplog.text


def test_options_that_cannot_be_remove_nothing(run: Run) -> None:
    run.train("kept", num_steps=7)
    for options in (
        {"batch_size": 5000},
        {"min_frames": 500, "max_frames": 500},
        {"batches": "speakers", "batch_size": 80},
    ):
        with pytest.raises(DataError):
            run.train("kept", num_steps=7, **options)
    assert (run.directory / "kept" / "final.pt").exists() and len(run.lines("kept")) == 7


def test_what_a_kill_left_in_the_log_and_in_checkpoints_goes(run: Run) -> None:
    run.train("stale", num_steps=7)
    model = run.directory / "stale"
    with (model / "log.jsonl").open("a") as log:
        log.write('{"step": 8, "loss": 1}\n{"step": 9, "lo')
    (model / "checkpoints" / ".step-0000008.pt.tmp99999999").write_bytes(b"half")
    (model / "checkpoints" / "step-0000007.pt").unlink()
    run.train("stale", num_steps=7)
    assert [line["step"] for line in run.lines("stale")] == list(range(1, 8))
    assert [path.name for path in (model / "checkpoints").iterdir()] == ["step-0000007.pt"]


def test_a_malicious_checkpoint_stops_nothing_and_runs_nothing(run: Run) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(run.directory / "owned"),)

    run.train("malicious", num_steps=7)
    torch.save({"step": 3, "network": Payload()}, run.directory / "malicious" / "checkpoints" / "step-0000009.pt")
    run.train("malicious", num_steps=7)
    assert not (run.directory / "owned").exists()


def test_a_read_only_place_is_one_line(run: Run) -> None:
    (run.directory / "file").write_text("in the way")
    with pytest.raises((DataError, OSError)):
        run.train("file")


def test_generators_go_on_where_they_were(tmp_path: Path) -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    draw()
    checkpoint.save({"rng": rng_state(torch.device("cpu"))}, tmp_path / "a.pt")
    after = [draw() for _ in range(700)]
    set_rng_state(checkpoint.load(tmp_path / "a.pt")["rng"], torch.device("cpu"))
    assert [draw() for _ in range(700)] == after
