"""Every script of steps/ and local/ explains itself, and says in one line what is wrong with its options."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("steps", "local")
    for path in (ROOT / folder).glob("*.py")
    if path.read_text(encoding="utf-8").startswith("#!")
)
CALLS = {"help": ["--help"], "nothing": [], "wrong option": ["--no-such-option", "1"]}
NEEDS_NOTHING = {"steps/show_network.py"}  # every option has a default
CALLS_MADE = [
    (script, name) for script in SCRIPTS for name in CALLS if script not in NEEDS_NOTHING or name != "nothing"
]

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def done() -> dict[tuple[str, str], Done]:
    """(script, name of a call) -> how it ended; two at a time, since most of it is the start of Python."""

    def run(script: str, words: list[str]) -> Done:
        environment = os.environ | {"COLUMNS": "120", "OMP_NUM_THREADS": "1"}
        return subprocess.run([sys.executable, ROOT / script, *words], env=environment, capture_output=True, text=True)

    with ThreadPoolExecutor(2) as pool:
        futures = {(script, name): pool.submit(run, script, CALLS[name]) for script, name in CALLS_MADE}
    return {key: future.result() for key, future in futures.items()}


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_what_it_does_and_describes_every_option(script: str, done: dict[tuple[str, str], Done]) -> None:
    help_ = done[script, "help"]
    assert help_.returncode == 0 and not help_.stderr
    usage, what, *rest = re.split(r"\n\n", help_.stdout)
    assert usage.startswith(f"usage: {Path(script).name}")
    assert re.match(r"[A-Z][a-z]+ .*[.:]", what)  # "Write OUT_DIR ..."
    text = "\n".join(rest)
    arguments = re.findall(r"^  (?:-\S.*?|[a-z]\w*)(?:  +|\n +)(.*)", text, re.MULTILINE)
    assert len(arguments) >= 3
    assert not [said for said in arguments if re.match(r"\((required|type|default)", said)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_wrong_options_are_one_line(script: str, done: dict[tuple[str, str], Done]) -> None:
    for name in ("nothing", "wrong option"):
        if (script, name) not in CALLS_MADE:
            continue
        wrong = done[script, name]
        assert wrong.returncode == 2 and not wrong.stdout
        assert re.fullmatch(f"{Path(script).name}: error: .*\n", wrong.stderr), wrong.stderr
        assert name != "nothing" or "required" in wrong.stderr


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_run_by_name(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert (ROOT / script).read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")
