"""The rooms of what runs without torch need nothing of training, and nothing that one operating system alone has."""

import ast
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("runtime", "people", "serve")
MODULES = sorted(path for room in ROOMS for path in (ROOT / "steps" / "timbre" / room).rglob("*.py"))
ALLOWED = {"numpy", "onnxruntime", "soundfile", "soxr", "timbre"}
SERVING = {"starlette", "uvicorn", "anyio"}  # of the page alone
POSIX = {"fcntl", "pwd", "grp", "resource", "termios", "pty", "tty", "syslog", "crypt"}
CALLS = {"fork", "forkpty", "sysconf", "uname", "getuid", "geteuid", "mkfifo", "killpg", "setsid", "pread", "nice"}

BLOCKED = """
import importlib, pkgutil, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCK:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
BLOCK = set(
    "torch torchaudio scipy yaml kaldiio sklearn matplotlib tqdm jsonargparse av dask distributed threadpoolctl"
    " silero_vad onnx fcntl pwd grp resource termios starlette uvicorn anyio".split()
)
sys.meta_path.insert(0, Finder())
"""
USE_ALL = (
    BLOCKED
    + """
import timbre.runtime, timbre.people
names = [
    one.name
    for room in (timbre.runtime, timbre.people)
    for one in pkgutil.walk_packages(room.__path__, f"{room.__name__}.")
]
for name in names:
    importlib.import_module(name)
assert len(names) > 30, names
import timbre
assert callable(timbre.load)
"""
)


def run(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "steps")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_room_imports_with_all_else_blocked() -> None:
    run(USE_ALL)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_what_a_module_names(path: Path) -> None:
    """By its source: what is imported, in functions too, and calls that Windows does not have."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tried = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and any("ImportError" in ast.unparse(one) for one in node.handlers)
        for inner in node.body
    }
    for node in ast.walk(tree):
        if id(node) in tried:  # it does without
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = str(node.module)
            found.add(module.partition(".")[0])
            if module.startswith("timbre.") and module.split(".")[1] not in ROOMS:
                assert module in ("timbre.utils.errors", "timbre.utils.escape"), module
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
            assert node.attr not in CALLS, f"os.{node.attr}"
    allowed = ALLOWED | (SERVING if path.parent.name == "serve" else set())
    assert found <= allowed | (set(sys.stdlib_module_names) - POSIX)


def test_importing_is_quick_and_heavy_things_come_when_asked_for() -> None:
    """`import timbre` brings none of them, the API's modules neither onnxruntime nor SQLite nor soxr."""
    code = "import sys, {}; print([name for name in ('numpy', 'onnxruntime', 'sqlite3', 'soxr', 'torch', 'soundfile') "
    code += "if name in sys.modules])"
    assert run(code.format("timbre")).strip() == "[]"
    assert run(code.format("timbre.runtime.encoder")).strip() == "['numpy']"
    assert run(code.format("timbre.people.main")).strip() == "[]"
    begun = time.monotonic()
    run("pass")
    bare = time.monotonic() - begun
    begun = time.monotonic()
    run("import timbre")
    assert time.monotonic() - begun < bare + 0.3
