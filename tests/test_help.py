"""Every script of steps/ and local/ explains itself, and says in one line what is wrong with its options."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(
    str(path.relative_to(ROOT))
    for folder in ("steps", "local")
    for path in (ROOT / folder).glob("*.py")
    if path.read_text(encoding="utf-8").startswith("#!")
)
NEEDS_NOTHING = {"steps/show_network.py"}  # every option has a default
CALLS = [["--help"], [], ["--no-such-option", "1"]]
# Every call of every script, one after the other in one Python: most of a call of its own is the start of it.
MANY = """
import contextlib, io, json, runpy, sys, traceback
calls, ended = json.load(sys.stdin), []
for path, words in calls:
    sys.argv, sys.path[0] = [path, *words], path.rpartition("/")[0]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as error:
        try:
            runpy.run_path(path, run_name="__main__")
            status = 0
        except SystemExit as exit:
            status = exit.code or 0
        except Exception:
            status = traceback.print_exc() or 1
    ended.append((status, out.getvalue(), error.getvalue()))
json.dump(ended, sys.stdout)
"""

Ended = tuple[int, str, str]  # status, output and errors


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return os.environ | {"COLUMNS": "120"}


@pytest.fixture(scope="module")
def ended(environment: dict[str, str]) -> dict[tuple[str, ...], Ended]:
    """(script, its words) -> how it ended."""
    calls = [(script, words) for script in SCRIPTS for words in CALLS if words or script not in NEEDS_NOTHING]
    asked = json.dumps([(str(ROOT / script), words) for script, words in calls])
    done = subprocess.run([sys.executable, "-c", MANY], env=environment, input=asked, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    answers = (tuple(answer) for answer in json.loads(done.stdout))
    return {(script, *words): answer for (script, words), answer in zip(calls, answers, strict=True)}


@pytest.mark.parametrize("words", CALLS, ids=["help", "nothing", "wrong option"])
@pytest.mark.parametrize("script", ["steps/make_fbank.py", "steps/train.py", "local/prepare_folder.py"])
def test_a_script_of_its_own_says_the_same(
    script: str, words: list[str], ended: dict[tuple[str, ...], Ended], environment: dict[str, str]
) -> None:
    done = subprocess.run([ROOT / script, *words], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == ended[script, *words]


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_what_it_does_and_describes_every_option(script: str, ended: dict[tuple[str, ...], Ended]) -> None:
    status, help_, errors = ended[script, "--help"]
    assert status == 0 and not errors
    usage, what, *rest = re.split(r"\n\n", help_)
    assert usage.startswith(f"usage: {Path(script).name}")
    assert re.match(r"[A-Z][a-z]+ .*[.:]", what)  # "Write OUT_DIR ..."
    text = "\n".join(rest)
    arguments = re.findall(r"^  (?:-\S.*?|[a-z]\w*)(?:  +|\n +)(.*)", text, re.MULTILINE)
    assert len(arguments) >= 3
    assert not [said for said in arguments if re.match(r"\((required|type|default)", said)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_wrong_options_are_one_line(script: str, ended: dict[tuple[str, ...], Ended]) -> None:
    for words in CALLS[1:]:
        if not words and script in NEEDS_NOTHING:
            continue
        status, said, errors = ended[script, *words]
        assert status == 2 and not said
        assert re.fullmatch(f"{Path(script).name}: error: .*\n", errors), errors
        assert words or "required" in errors


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_run_by_name(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert (ROOT / script).read_text(encoding="utf-8").startswith("#!/usr/bin/env python3\n")
