"""The small recipe in a folder of its own: what the tests of run.sh share, made once for each file of them."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def place(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a clone's, whose data/ and exp/ are its own, and a training for what needs no good network."""
    place = tmp_path_factory.mktemp("clone with a space")
    for name in ("run.sh", "path.sh", "pyproject.toml", ".venv", "steps", "local", "conf"):
        (place / name).symlink_to(root / name)
    (place / "brief.yaml").write_text("{batch_size: 64, num_steps: 20, lr: 0.004, warmup_steps: 5}")
    return place


@pytest.fixture(scope="module")
def run(place: Path) -> Run:
    def call(*args: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["./run.sh", "--config", "conf/run/smoke.conf", "--nj", "1", *args]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=500)
        assert not ok or done.returncode == 0, done.stdout + done.stderr
        return done

    return call


@pytest.fixture(scope="module")
def finished(run: Run, place: Path) -> Path:
    """exp/smoke after a whole run."""
    run("--nj", "2")
    return place / "exp" / "smoke"


@pytest.fixture
def altered(finished: Path, tmp_path: Path) -> Iterator[Path]:
    """exp/smoke for a test that runs it with other options: it is given back as it was."""
    shutil.copytree(finished, tmp_path / "kept", symlinks=True)
    yield finished
    shutil.rmtree(finished)
    shutil.move(tmp_path / "kept", finished)
