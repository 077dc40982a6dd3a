"""Commands outside the environment, and commands that are interrupted while they begin, end in one line."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted(str(path.relative_to(ROOT)) for folder in ("steps", "local") for path in (ROOT / folder).glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_outside_the_environment(script: str) -> None:
    """As the system's Python is: without what is installed in .venv, timbre included."""
    command = [sys.executable, "-S", "-E", ROOT / script, "--help"]
    done = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True)
    assert done.returncode == 1
    line = f"{Path(script).name}: error: {sys.executable} has no module [a-z]+: first `. ./path.sh`, .*\n"
    assert re.fullmatch(line, done.stderr), done.stderr


def test_old_python(tmp_path: Path) -> None:
    program = "import sys; sys.argv = ['steps/train.py']; sys.version_info = (3, 9); import timbre"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert re.fullmatch(r"train.py: error: \S+ is not Python 3.11 or newer: first `. ./path.sh`, .*\n", done.stderr), (
        done.stderr
    )


def test_other_programs_that_import_the_library_keep_their_own_ways() -> None:
    program = (
        "import signal, sys, timbre\n"
        "assert sys.excepthook is sys.__excepthook__\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT / "steps").returncode == 0


@pytest.mark.parametrize("library", ["numpy/_core", "torch/lib"])
@pytest.mark.parametrize("script", ["steps/train.py", "local/prepare_synth.py"])
def test_interrupted_while_it_imports(script: str, library: str, tmp_path: Path) -> None:
    if (script, library) == ("local/prepare_synth.py", "torch/lib"):
        pytest.skip("it needs none")
    (tmp_path / "egs").mkdir()
    command = [ROOT / script, "egs", "model"] if "train" in script else [ROOT / script, "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while library not in Path(f"/proc/{process.pid}/maps").read_text():
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == f"{Path(script).name}: error: interrupted\n"
    assert process.returncode == 130


PROGRAM = '''
import os, sys, time
from pathlib import Path
from timbre.utils.cli import run_step
from timbre.utils.files import atomic_path
from timbre.utils.jobs import run_jobs

def work(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(60)

def step(folder: Path, nj: int = 1) -> None:
    """Works.

    Args:
        folder: where
        nj: number of jobs
    """
    with atomic_path(folder / "file") as temporary:
        try:
            temporary.touch()
            run_jobs(work, [folder] * nj, nj, "")
        except KeyboardInterrupt:
            time.sleep(0.5)  # something is tidied up
            raise

if __name__ == "__main__":
    run_step(step)
'''


@pytest.mark.parametrize("nj", [1, 2])
@pytest.mark.parametrize("name, status", [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signalled_step_tidies_up(tmp_path: Path, name: str, status: int, nj: int) -> None:
    (tmp_path / "step.py").write_text(PROGRAM)
    (tmp_path / "out").mkdir()
    command = [sys.executable, tmp_path / "step.py", tmp_path / "out", "--nj", str(nj)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while len(working := [name for name in os.listdir(tmp_path / "out") if name.isdigit()]) < nj:
        assert process.poll() is None
        time.sleep(0.01)
    for _ in range(2):
        process.send_signal(signal.Signals[name])
        time.sleep(0.1)
    assert process.communicate(timeout=20)[1] == "step.py: error: interrupted\n"
    assert process.returncode == status
    assert sorted(os.listdir(tmp_path / "out")) == sorted(working), "no temporary is left"
    assert not [process for process in working if Path(f"/proc/{process}").exists()]


def test_nohup_is_respected(tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text(PROGRAM.replace("time.sleep(60)", "time.sleep(1)"))
    (tmp_path / "out").mkdir()
    command = f"trap '' HUP; exec {sys.executable} step.py out"
    process = subprocess.Popen(["bash", "-c", command], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not os.listdir(tmp_path / "out"):
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=20)
    assert process.returncode == 0 and (tmp_path / "out" / "file").exists()
