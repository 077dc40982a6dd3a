"""Studies: a --config with sections is several runs, and a table of them."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

RUN = """#!/usr/bin/env bash
set -euo pipefail
caller=$PWD
cd "$(dirname "${{BASH_SOURCE[0]}}")"
. {root}/steps/stages/engine.sh
. {root}/steps/stages/study.sh
option letter a "the letter"
option model "" "directory: of a model"
option number 3 "number: how many"
option name "" "of the run"
option stage 0 "number: first"
option stop-stage "" "number: last"
option plan false "true/false: say"
option systems "" "names with commas: those to run"
option system "" "name: one alone"
main() {{
  [ "$plan" = false ] || return 0
  mkdir -p "exp/$name"
  echo "$letter $number $model" > "exp/$name/RESULTS.md"
  [ "$letter" != f ] || exit 1
}}
recipe
parse_options "$@"
check_files
if [ ${{#study_systems[@]}} != 0 ] && [ -z "$system" ]; then supervise run_study "$@"; fi
supervise main "$@"
"""
STUDY = """# what all have
name=toy
letter=b
[first]
[second]
letter=c
model={first}
[third]   # as the second
letter=d
model={second}
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(root: Path, tmp_path: Path) -> Run:
    (tmp_path / "steps").mkdir()
    (tmp_path / "path.sh").write_text("")
    (tmp_path / "run.sh").write_text(RUN.format(root=root))
    (tmp_path / "steps" / "compare_runs.py").write_text('#!/bin/bash\nmkdir -p exp/toy; echo "$*" > exp/toy/TABLE.md\n')
    for script in (tmp_path / "run.sh", tmp_path / "steps" / "compare_runs.py"):
        script.chmod(0o755)
    (tmp_path / "study.conf").write_text(STUDY)

    def start(*args: str, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
        command = [tmp_path / "run.sh", "--config", tmp_path / "study.conf", *args]
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)

    return start


def test_each_system_is_a_run_with_its_options_and_a_table_ends_it(run: Run, tmp_path: Path) -> None:
    done = run("--number", "5", cwd=Path("/"))
    assert (done.returncode, done.stderr) == (0, "")
    results = [(tmp_path / "exp" / "toy" / name / "RESULTS.md").read_text() for name in ("first", "second", "third")]
    assert results == ["b 5 \n", "c 5 exp/toy/first\n", "d 5 exp/toy/second\n"]
    table = (tmp_path / "exp" / "toy" / "TABLE.md").read_text()
    assert table == "exp/toy/first exp/toy/second exp/toy/third --grid exp/toy/TABLE.md\n"


def test_some_systems_and_the_table_has_those_that_were_run_before(run: Run, tmp_path: Path) -> None:
    table = tmp_path / "exp" / "toy" / "TABLE.md"
    assert run("--system", "first").returncode == 0 and not table.exists()
    assert run("--systems", "second").returncode == 0
    assert table.read_text() == "exp/toy/first exp/toy/second --grid exp/toy/TABLE.md\n"
    run("--systems", "first", "--letter", "x")  # the command line wins
    assert (tmp_path / "exp" / "toy" / "first" / "RESULTS.md").read_text() == "x 3 \n"


def test_a_plan_says_what_waits_for_what_and_makes_nothing(run: Run, tmp_path: Path) -> None:
    done = run("--plan")
    assert done.stdout.splitlines() == [
        "system first: exp/toy/first",
        "system second: would run after first",
        "system third: would run after second",
    ]
    assert not (tmp_path / "exp").exists()


@pytest.mark.parametrize(
    "args, study, message",
    [
        (
            ["--systems", "first,secnd"],
            STUDY,
            "no system secnd in the --config files, which have first second third; did",
        ),
        (["--system", "x"], "name=toy\n", "no system x in the --config files"),
        ([], "[first]\n", "a study needs a name"),
        ([], STUDY + "lettr=x\n", "study.conf:11: unknown option 'lettr'; did you mean letter?"),
        (["--systems", "third"], STUDY, "exp/toy/second: no such directory"),
        ([], STUDY + "number=x\n", "study.conf:11: number takes a number, not 'x'"),
    ],
)
def test_what_makes_no_sense_is_one_line(run: Run, tmp_path: Path, args: list[str], study: str, message: str) -> None:
    (tmp_path / "study.conf").write_text(study)
    done = run(*args)
    assert done.returncode == 1 and message in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "exp" / "toy" / "TABLE.md").exists()


def test_a_system_that_fails_ends_the_study(run: Run, tmp_path: Path) -> None:
    (tmp_path / "study.conf").write_text(STUDY.replace("letter=b", "letter=f"))
    assert run().returncode == 1
    assert not (tmp_path / "exp" / "toy" / "second").exists() and not (tmp_path / "exp" / "toy" / "TABLE.md").exists()
