"""Runs exclude each other where they must, and nowhere else."""

import fcntl
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from toy_recipe import stages, start_saving


def test_killed_stage_runs_again_and_the_second_run_waits_its_turn(toy, tmp_path: Path) -> None:
    process = subprocess.Popen(
        ["bash", "toy.sh", "--letter", "s"], cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "exp/toy/joined").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = toy()
    assert second.returncode == 1
    assert f"exp/toy is in use by another run.sh (process {process.pid})" in second.stderr
    assert "would run" in toy("--plan").stdout  # a plan may always be asked for
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert stages(toy())[0] == "stage 0 make: running (options changed: letter a, letter s)"


def test_lock_names_the_living(toy, tmp_path: Path) -> None:
    saving = (tmp_path / "saving.py").read_text()
    (tmp_path / "saving.py").write_text(saving.replace("sleep(2)", "sleep(6)"))
    process, step = start_saving(tmp_path)
    group = os.getpgid(step)  # the shell that called it
    process.kill()
    done = toy()
    process.wait()
    (holder,) = re.findall(r"waiting for process (\d+), which a run.sh that was killed has left running", done.stderr)
    assert int(holder) in (step, group)
    assert "stage 1 join: done" in done.stdout


def test_runs_that_read_data_go_side_by_side_and_one_that_writes_waits(toy, tmp_path: Path) -> None:
    toy("--stop-stage", "0")
    command = ["bash", "toy.sh", "--letter", "s", "--name", "slow"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 20
    while not (tmp_path / "exp/slow/joined").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    reader = toy("--letter", "s", "--name", "reader", "--stop-stage", "0")  # nothing to write
    assert stages(reader) == ["stage 0 make: up to date"]
    writer = subprocess.Popen(["bash", "toy.sh", "--name", "writer"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None and "waiting for other runs that use data" in writer.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert "stage 1 join: done" in writer.communicate(timeout=30)[0]


def test_runs_add_to_data_beside_those_that_use_it_and_one_at_a_time(toy, tmp_path: Path) -> None:
    command = ["bash", "toy.sh", "--letter", "s", "--name"]
    process = subprocess.Popen([*command, "slow"], cwd=tmp_path, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 20
    while not (tmp_path / "exp/slow/joined").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stamp = (tmp_path / "data/.done/make").read_text()
    (tmp_path / "data/.done/make").unlink()  # as of what no run has made yet
    added = toy("--letter", "s", "--name", "adds", "--stop-stage", "0")
    assert stages(added)[0] == "stage 0 make: running (it has not run to its end)"
    (tmp_path / "data/.done/make").unlink()
    with (tmp_path / "data/.making").open("a") as making:
        fcntl.flock(making, fcntl.LOCK_EX)
        run = [*command, "second", "--stop-stage", "0"]
        second = subprocess.Popen(run, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        assert "waiting for another run.sh that prepares data" in second.stdout.readline()
        (tmp_path / "data/.done/make").write_text(stamp)
    assert "stage 0 make: up to date" in second.communicate(timeout=30)[0]
    assert process.poll() is None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
