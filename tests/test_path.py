"""path.sh: the environment that it enters runs the code of this clone."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def clone(root: Path, tmp_path: Path) -> Path:
    for name in ("path.sh", "pyproject.toml"):
        shutil.copy(root / name, tmp_path)
    return tmp_path


def enter(clone: Path) -> subprocess.CompletedProcess[str]:
    command = '. ./path.sh && python -c "import timbre; print(timbre.__file__)"'
    return subprocess.run(["bash", "-c", command], cwd=clone, capture_output=True, text=True)


def test_a_linked_environment_of_another_clone_is_refused(clone: Path, root: Path) -> None:
    (clone / ".venv").symlink_to(root / ".venv")
    (clone / "steps" / "timbre").mkdir(parents=True)
    done = enter(clone)
    assert done.returncode == 1 and not done.stdout
    assert f".venv runs the code in {root}/steps, not that of this clone: rm -r .venv" in done.stderr
    shutil.rmtree(clone / "steps")
    (clone / "steps").symlink_to(root / "steps")
    assert enter(clone).stdout == f"{root}/steps/timbre/__init__.py\n"


def test_a_copied_environment_of_another_clone_is_refused(
    clone: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other") / "steps"
    packages = clone / ".venv" / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (packages / "__editable__.timbre-0.1.0.pth").write_text(f"{other}\n")
    checksum = hashlib.sha256((clone / "pyproject.toml").read_bytes()).hexdigest()
    (clone / ".venv" / ".complete").write_text(checksum + "\n")
    done = enter(clone)
    assert done.returncode == 1 and f".venv runs the code in {other}" in done.stderr


def test_a_set_up_that_fails_is_said_and_tried_again(clone: Path) -> None:
    programs = clone / ".venv" / "bin"
    programs.mkdir(parents=True)
    (clone / ".venv" / ".complete").write_text("of another pyproject.toml\n")
    (programs / "uv").write_text("#!/bin/sh\necho 'no such index' >&2\nexit 2\n")
    (programs / "uv").chmod(0o755)
    (programs / "activate").write_text("")
    done = enter(clone)
    assert done.returncode == 1 and not done.stdout
    assert "no such index\npath.sh: setting up .venv failed; mend what is said above and run this again" in done.stderr
    assert not (clone / ".venv" / ".complete").exists()
