"""What a run was made with: what is on this machine, by other ways of asking."""

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from timbre.utils import environment
from timbre.utils.names import natural_key

ROOT = Path(__file__).resolve().parents[2]


def test_record_is_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "exp" / "environment.json"
    subprocess.run([sys.executable, "-m", "timbre.utils.environment", path], cwd=ROOT, check=True)
    found = json.loads(path.read_text())
    assert found["Python"] == platform.python_version() and found["torch"] == version("torch")
    assert found["CPU cores"] == subprocess.run(["nproc"], env={}, capture_output=True, text=True).stdout.strip()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert abs(float(found["memory"].split()[0]) * 2**30 / memory - 1) < 0.01
    assert all(isinstance(value, str) and value for value in found.values())


def test_source_is_the_commit_and_whether_files_differ_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    monkeypatch.setattr(environment, "_ROOT", tmp_path)
    assert "source" not in environment.describe_environment()
    git("init", "-q")
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "-qm", "first")
    commit = git("rev-parse", "HEAD")
    assert environment.describe_environment()["source"] == f"commit {commit}"
    (tmp_path / "file").write_text("two")
    assert environment.describe_environment()["source"] == f"commit {commit}, with changes in 1 file"


def test_numbers_in_names_are_sorted_as_numbers() -> None:
    names = ["noise10", "noise5", "gsm", "5x", "noise", "eval_2_10", "eval_2_9"]
    assert sorted(names, key=natural_key) == ["5x", "eval_2_9", "eval_2_10", "gsm", "noise", "noise5", "noise10"]
