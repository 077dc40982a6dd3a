"""Steps called as a user calls them."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parent.parent


def call(folder: Path, script: str, *args: object, under: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Runs SCRIPT of the project in FOLDER, UNDER another command; it must not end in a traceback."""
    command = [*under, sys.executable, str(ROOT / script), *map(str, args)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def works(folder: Path, script: str, *args: object) -> subprocess.CompletedProcess[str]:
    """As `call`, and all must go well."""
    done = call(folder, script, *args)
    assert done.returncode == 0, done.stderr
    return done


def refused(folder: Path, script: str, *args: object, under: Sequence[str] = ()) -> tuple[str, list[str]]:
    """The error of a step that must fail and leave every file as it was, and the lines before it."""
    before = files(folder)
    done = call(folder, script, *args, under=under)
    assert done.returncode == 1, done.stdout + done.stderr
    assert files(folder) == before
    *notes, line = done.stderr.splitlines()
    name = f"{Path(script).name}: error: "
    assert line.startswith(name) and not any("error:" in note for note in notes), done.stderr
    return line.removeprefix(name), notes


def files(folder: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of change of every file below FOLDER but parts, which are kept, and tables of what is missing."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".missing"]
    kept = [path for path in paths if path.name in (".lock", ".timbre") or (path.parent / "part.json").exists()]
    found = {path: path.stat() for path in set(paths) - set(kept)}
    return {path: (status.st_size, status.st_mtime_ns) for path, status in found.items()}


def write_wav(path: Path, seconds: float = 0.5, rate: int = 8000, channels: int = 1) -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, (int(seconds * rate), channels))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)


def write_files(folder: Path, contents: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
