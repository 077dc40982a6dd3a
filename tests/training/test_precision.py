"""A network trained in several numerics: which a machine has, the same batches in each, figures, the page."""

import dataclasses
import functools
import json
import math
import os
import re
import runpy
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from egs_corpus import write_configs, write_small_egs
from step_calls import ROOT, call, files, refused, works
from timbre.training import precision_run
from timbre.training.options import TrainOptions
from timbre.training.plots import plot_modes
from timbre.training.precision_modes import MODES, Machine, choose, read_modes
from timbre.training.precision_page import COLUMNS, compared, largest_difference, markdown
from timbre.training.precision_run import Comparison, run_modes, times_of, train_mode
from timbre.training.train_log import read_log
from timbre.utils.errors import DataError

COMMAND = "steps/compare_precision.py"
OPTIONS = TrainOptions(batch_size=16, num_steps=10, warmup_steps=4, log_interval=1, tensorboard=False, device="cpu")
WORDS = [f"--train.{name}={getattr(OPTIONS, name)}" for name in ("batch_size", "num_steps", "warmup_steps", "device")]
PLAIN_CPU = Machine("cpu", "a CPU")
CPU = Machine("cpu", "a CPU", bf16=True, compiler=True)
VOLTA = Machine("cuda", "V100", (7, 0), compiler=True)
HOPPER = Machine("cuda", "H100", (9, 0), bf16=True, compiler=True)
FIGURES: dict[str, Any] = {"seconds_per_epoch": 60.0, "start_seconds": 2.0, "peak_bytes": 10**9, "loss": 1.5}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """egs/, network.yaml and objective.yaml."""
    folder = tmp_path_factory.mktemp("precision")
    write_small_egs(folder / "egs")
    write_configs(folder)
    return folder


@pytest.fixture(scope="module")
def made(home: Path) -> tuple[Path, list[str]]:
    """What the command makes of two modes that a CPU has and one that it has not, and its arguments."""
    words = [str(home / "egs"), str(home / "out"), f"--network={home}/network.yaml", "--modes", "none,tf32,bf16"]
    words += [f"--objective={home}/objective.yaml", *WORDS]
    works(home, COMMAND, *words)
    return home / "out", words


def comparison(home: Path, out_dir: Path, **options: object) -> Comparison:
    files = home / "network.yaml", home / "objective.yaml"
    return Comparison(home / "egs", out_dir, *files, dataclasses.replace(OPTIONS, **options))


def losses(folder: Path) -> list[float]:
    return [line["loss"] for line in read_log(folder / "log.jsonl")]


def test_names_of_modes() -> None:
    assert read_modes("bf16, none,bf16") == ["bf16", "none"]
    with pytest.raises(DataError, match=r"'bf61' is not one of none, .*; did you mean bf16\?"):
        read_modes("none,bf61")
    with pytest.raises(DataError, match="one or more of none, tf32"):
        read_modes(" , ")


@pytest.mark.parametrize(
    ("machine", "lacks"),
    [
        (CPU, {"tf32": "needs a GPU", "fp16": "needs a GPU"}),
        (PLAIN_CPU, {"tf32": "GPU", "fp16": "GPU", "compile": "a C.. compiler", "bf16.compile": "a C.. compiler"}),
        (VOLTA, {"tf32": "8.0, this one has 7.0", "bf16": "bfloat16", "bf16.compile": "bfloat16"}),
        (dataclasses.replace(HOPPER, compiler=False), {"compile": "triton", "bf16.compile": "triton"}),
        (HOPPER, {}),
    ],
)
def test_modes_that_a_machine_has(machine: Machine, lacks: dict[str, str]) -> None:
    chosen, lacking = choose([*MODES], machine)
    assert chosen == [name for name in MODES if name not in lacking]
    assert [name.replace("+", ".") for name in lacking] == [*lacks]
    for reason, (name, expected) in zip(lacking.values(), lacks.items(), strict=True):
        assert expected.replace("C..", "C++") in reason, name


def test_a_machine_that_has_none_of_them_says_so() -> None:
    with pytest.raises(DataError, match="none that this machine has: tf32: it needs a GPU; fp16: it needs a GPU"):
        choose(["tf32", "fp16"], CPU)


def test_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DataError, match="there is no GPU"):
        Machine.here("cuda")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    machine = Machine.here("auto")
    assert machine.device == "cpu" and machine.name and not machine.compiler
    (tmp_path / "g++").touch(0o755)
    assert Machine.here("auto").compiler


def test_times_are_those_of_the_log_without_the_start() -> None:
    rates = [
        (4, 2.0),
        (8, 40.0),
        (10, 40.0),
        (12, 10.0),
        (16, 40.0),
    ]  # examples/s; 10 a batch: 20 s, then 0.25 s a step
    records = [{"step": step, "examples_per_s": rate, "loss": float(step)} for step, rate in rates]
    found = times_of(records, 10, 5)
    assert found == {"seconds_per_epoch": 1.25, "start_seconds": 19.0, "loss": 14.0}  # steps 12 and 16
    records[-1]["loss"] = math.nan  # fp16 has skipped them
    assert times_of(records, 10, 5)["loss"] == 12


def test_differences_to_the_first_that_was_trained() -> None:
    assert largest_difference({1: 2.0, 2: 3.0, 3: math.nan}, {2: 3.5, 3: 1.0, 4: 9.0}) == (0.5, 2)
    found = {"none": {"failed": "out of memory"}, "tf32": FIGURES, "bf16": FIGURES | {"seconds_per_epoch": 15.0}}
    rows = compared(found, {"tf32": {1: 2.0, 2: 1.0}, "bf16": {1: 2.0, 2: 1.25}})
    assert rows["none"] == {"failed": "out of memory"} and rows["tf32"]["speed_up"] == 1
    assert rows["bf16"]["speed_up"] == 4 and rows["bf16"]["memory_ratio"] == 1
    assert (rows["bf16"]["loss_difference"], rows["bf16"]["loss_difference_step"]) == (0.25, 2)


def test_the_page() -> None:
    more = {"accuracy": 0.5, "eer": 0.0123, "eer_threshold": 0.25, "min_dcf.0.01": 0.5, "min_dcf.0.001": 1.0}
    found = {"none": FIGURES, "bf16": FIGURES | more, "compile": {"failed": "no | compiler"}}
    rows = compared(found, {"none": {1: 2.0}, "bf16": {1: 2.5}})
    page = markdown("Of X", HOPPER, rows, {"fp16": "it needs a GPU"}).splitlines()
    head, _, none, bf16, failed = (line.strip("| ").split(" | ") for line in page[4:9])
    assert head == list(COLUMNS) and len(none) == len(bf16) == len(failed) == len(COLUMNS)
    assert none[:8] == ["none", "1", "1.00", "1", "1.00", "2.0", "-", "-"] and none[10:] == ["-"] * 4 + ["0"]
    assert bf16[6:] == ["50.00", "-", "1.500", "-", "1.23", "0.250", "0.500", "1.000", "0.5 (1)"]
    assert failed[:3] == ["compile", "failed", "-"]
    assert "Failed: compile: no &#124; compiler" in page and "Left out: fp16 (it needs a GPU)" in page


def test_the_plot_leaves_out_what_does_not_differ(tmp_path: Path) -> None:
    bf16, tf32 = {1: 2.0, 2: 1.5, 3: 1.25}, {1: 2.0, 2: 1.0, 3: 1.0}
    for name, curves in {"one": {"bf16": bf16}, "same": {"tf32": tf32}}.items():
        plot_modes({"none": {1: 2.0, 2: 1.0, 3: 1.0}} | curves, [tmp_path / f"{name}.svg"])
    one, same = ((tmp_path / f"{name}.svg").read_text() for name in ("one", "same"))
    assert [text.count(">none</text>") for text in (one, same)] == [1, 2]  # in the legend; for the second, no distance


def test_the_command_trains_each_mode_on_the_same_batches(made: tuple[Path, list[str]], home: Path) -> None:
    out, words = made
    page = (out / "PRECISION.md").read_text()
    assert "Left out: tf32 (it needs a GPU)" in page and "\n| none | " in page and "\n| bf16 | " in page
    content = json.loads((out / "precision.json").read_text())
    assert [*content["modes"]] == ["none", "bf16"] and content["left_out"] == {"tf32": "it needs a GPU"}
    for row in content["modes"].values():
        assert row["seconds_per_epoch"] > 0 and 0 <= row["eer"] <= 1 and row["peak_bytes"] > row["peak_bytes_before"]
        assert {"accuracy", "valid_accuracy", "valid_loss", "eer_threshold", "min_dcf.0.01", "start_seconds"} <= {*row}
    assert (out / "precision.png").stat().st_size > 10_000
    plain, bf16 = losses(out / "none"), losses(out / "bf16")
    assert len(plain) == 10 and bf16[0] == pytest.approx(plain[0], rel=0.01) and bf16 != plain
    before = {path: path.stat().st_mtime_ns for path in out.glob("*/*")}
    page_before = (out / "PRECISION.md").stat().st_mtime_ns
    works(home, COMMAND, *words)
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/*")} == before
    assert (out / "PRECISION.md").read_text() == page and (out / "PRECISION.md").stat().st_mtime_ns != page_before


def test_the_same_mode_is_the_same_to_the_bit_and_compiled_nearly(
    made: tuple[Path, list[str]], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = losses(made[0] / "none")
    figures = train_mode(comparison(home, tmp_path), "none")
    assert losses(tmp_path / "none") == plain
    known = json.loads((made[0] / "none" / "figures.json").read_text())
    assert {name: figures[name] for name in known if "seconds" not in name and "bytes" not in name} == {
        name: value for name, value in known.items() if "seconds" not in name and "bytes" not in name
    }
    monkeypatch.setattr(nn.Module, "compile", functools.partialmethod(nn.Module.compile, backend="eager"))
    train_mode(comparison(home, tmp_path), "compile")
    assert losses(tmp_path / "compile") == pytest.approx(plain, rel=1e-4)


def test_float32_is_without_tensor_float(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[bool] = []
    monkeypatch.setattr(precision_run, "allow_tf32", allowed.append)
    for name in ("none", "bf16"):
        train_mode(comparison(home, tmp_path, num_steps=1), name)
    assert allowed == [False, True]


def test_what_was_made_otherwise_is_made_anew(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []

    def train(given: Comparison, name: str) -> str:
        trained.append(name)
        (given.out_dir / name / "figures.json").write_text("{}")
        return ""

    monkeypatch.setattr(precision_run, "_in_a_process", train)
    assert run_modes(comparison(home, tmp_path / "out"), ["none", "bf16"], CPU) == {"none": {}, "bf16": {}}
    run_modes(comparison(home, tmp_path / "out"), ["none", "bf16"], CPU)
    assert trained == ["none", "bf16"]
    (tmp_path / "out" / "none" / "old").touch()
    run_modes(comparison(home, tmp_path / "out", lr=0.1), ["none"], CPU)
    run_modes(comparison(home, tmp_path / "out"), ["bf16"], HOPPER)
    assert trained == ["none", "bf16", "none", "bf16"] and not (tmp_path / "out" / "none" / "old").exists()


def killed(given: Comparison, name: str, sender: Connection) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_process_that_is_killed_is_a_mode_that_failed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision_run, "_work", killed)
    found = run_modes(comparison(home, tmp_path / "out"), ["none"], CPU)
    assert found == {"none": {"failed": "its process ended by signal 9 (out of memory?)"}}


def test_a_mode_that_fails_has_a_row_and_the_others_go_on(made: tuple[Path, list[str]], home: Path) -> None:
    out, words = made
    (out / "bf16+compile").mkdir()
    (out / "bf16+compile" / "config.yaml").write_text("none of a model\n")
    settings = json.loads((out / "none" / "settings.json").read_text())
    settings["mode"] = dataclasses.asdict(MODES["bf16+compile"])
    (out / "bf16+compile" / "settings.json").write_text(json.dumps(settings))
    done = call(home, COMMAND, *words, "--modes", "bf16+compile,none")
    *_, error = done.stderr.splitlines()
    assert done.returncode == 1 and "1 of 2 modes failed: bf16+compile: " in error and "not of a training" in error
    page = (out / "PRECISION.md").read_text()
    assert "| bf16+compile | failed | - |" in page and "\n| none | " in page and "Failed: bf16+compile: " in page


def test_an_unknown_mode_is_one_line(home: Path) -> None:
    error, _ = refused(home, COMMAND, "egs", "new", "--modes", "none,fp61")
    assert error.startswith("modes: 'fp61' is not one of none, ") and error.endswith("; did you mean fp16?")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modes": "tf32"}, "modes: none that this machine has: tf32: it needs a GPU"),
        ({"network": Path("no.yaml")}, "no.yaml: "),
        ({"egs_dir": Path("nowhere")}, "manifest.json: no such file: not an egs directory"),
        ({"out_dir": Path("file")}, "file: is a file; a comparison of precisions is a folder"),
        ({"out_dir": Path("egs")}, "egs: is or holds an input"),
        ({"out_dir": Path("full")}, "full: exists, and is no comparison of precisions"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(home)
    (home / "file").touch()
    (home / "full").mkdir(exist_ok=True)
    (home / "full" / "mine").touch()
    before = files(home)
    given = {"egs_dir": Path("egs"), "out_dir": Path("new"), "network": Path("network.yaml"), "modes": "none"}
    given |= {"objective": Path("objective.yaml"), "train": OPTIONS}
    with pytest.raises(DataError, match=re.escape(message)):
        runpy.run_path(str(ROOT / COMMAND))["compare_precision"](**given | changes)
    assert files(home) == before
