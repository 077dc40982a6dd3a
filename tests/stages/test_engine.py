"""The shell that run.sh is written in: options, and stages that run, skip, plan, fail and exclude each other."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

RECIPE = """
set -euo pipefail
. {root}/steps/stages/engine.sh
option letter a "the letter"
option number 3 "number: how many"
option missing 0 "some: how many may be missing"
option folder exp "where"
option paper "" "file: to write on"
option name toy "name of the run"
option stage 0 "number: first"
option stop-stage 9 "number: last"
option force false "true/false: again"
option plan false "true/false: say"
usage() {{ echo "Usage: toy"; }}
recipe make join
parse_options "$@"
check_files
make_plan() {{ # instead of that of timbre.recipe
  exp=$folder/$name data=data roots=(data) says=()
  local x="0 make make x - - - - - source - data/x" y="0 make make y - - - - - source - data/y"
  plan_rows=("${{x// /$'\\t'}}" "${{y// /$'\\t'}}")
}}
make_plan
start_run "$@"
for stage_name in "${{stage_names[@]}}"; do run_stage "$stage_name"; done
"""
MAKE = """# shellcheck shell=bash
# Stage 0, make: writes the letter.
# It does nothing else.

option quick false "true/false: hurry"

stage_make() {
  if unit make "$data" in "{from}" out "{output}/file" with "letter $letter"; then
    while next_row; do
      mkdir -p "$output"
      echo "$letter" > "$output/file"
    done 9< <(rows make)
  fi
}
"""
JOIN = """# shellcheck shell=bash
# Stage 1, join: puts the letters together.

stage_join() {
  if unit join "$exp" in "$data/x/file" "$data/y/file" out "$exp/joined"; then
    cat "$data"/*/file > "$exp/joined"
    [ "$letter" != f ] || false
    [ "$letter" != s ] || sleep 30
    echo "to the log"
  fi
}
"""


@pytest.fixture
def toy(root: Path, tmp_path: Path):
    (tmp_path / "toy.sh").write_text(RECIPE.format(root=root))
    (tmp_path / "steps" / "stages").mkdir(parents=True)
    (tmp_path / "steps" / "stages" / "00_make.sh").write_text(MAKE)
    (tmp_path / "steps" / "stages" / "01_join.sh").write_text(JOIN)
    (tmp_path / "source").write_text("1")

    def run(*args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["bash", "toy.sh", *args], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    return run


def stages(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [line.split(" ", 1)[1] for line in done.stdout.splitlines()]


def test_runs_then_skips_then_runs_what_changed(toy, tmp_path: Path) -> None:
    assert [line.split(":")[1].split("(")[0] for line in stages(toy())] == [
        " running ",
        " done in 0",
        " running ",
        " done in 0",
    ]
    assert (tmp_path / "exp/toy/joined").read_text() == "a\na\n"
    assert (tmp_path / "exp/toy/log/1-join.log").read_text() == "to the log\n"
    up_to_date = ["stage 0 make: up to date", "stage 1 join: up to date"]
    assert stages(toy()) == up_to_date
    (tmp_path / "source").write_text("2")  # stage 0 makes the same again, so stage 1 has nothing to do
    assert stages(toy())[0] == "stage 0 make: running (source changed)"
    assert stages(toy()) == up_to_date
    assert stages(toy("--letter", "b"))[2] == "stage 1 join: running (data/x/file changed)"
    assert (tmp_path / "exp/toy/joined").read_text() == "b\nb\n"


def test_plan_changes_nothing(toy, tmp_path: Path) -> None:
    assert stages(toy("--plan")) == [
        "stage 0 make: would run (data/x/file does not exist)",
        "stage 1 join: would run (data/x/file would be made again)",
    ]
    assert sorted(os.listdir(tmp_path)) == ["source", "steps", "toy.sh"]
    toy()
    assert stages(toy("--plan", "--letter", "c")) == [
        "stage 0 make: would run (options changed: letter a, letter c)",
        "stage 1 join: would run (data/x/file would be made again)",
    ]
    assert (tmp_path / "exp/toy/joined").read_text() == "a\na\n"


def test_failure_names_stage_and_log_and_is_not_taken_for_done(toy) -> None:
    done = toy("--letter", "f")
    assert done.returncode == 1
    assert "stage 1 join failed (exit status 1); its log: exp/toy/log/1-join.log" in done.stderr
    assert stages(toy("--letter", "f", "--stop-stage", "0")) == ["stage 0 make: up to date"]
    assert "running (it has not run to its end)" in toy("--letter", "f").stdout


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


def test_missing_input_and_force(toy, tmp_path: Path) -> None:
    done = toy("--stage", "1")
    assert done.returncode == 1 and "needs data/x/file, which does not exist: run the stages before it" in done.stderr
    toy()
    assert "running (--force)" in stages(toy("--force", "--stage", "1"))[0]


@pytest.mark.parametrize(
    "args, message",
    [
        (["--letters", "b"], "unknown option '--letters'"),
        (["--number", "x"], "number takes a number, not 'x'"),
        (["--missing", "2.5"], "missing takes a number or a share such as 2%, not '2.5'"),
        (["--missing", "two%"], "missing takes a number or a share such as 2%, not 'two%'"),
        (["--letter"], "option --letter needs a value"),
        (["--quick=maybe"], "quick takes true or false, not 'maybe'"),
        (["stray"], "'stray' is not an option"),
        (["--config", "absent.conf"], "absent.conf: no such file"),
        (["--config", "bad.conf"], "bad.conf:2: unknown option 'lettre'"),
        (["--paper", "absent.txt"], "absent.txt: no such file"),
        (["--config", "evil.conf"], "evil.conf:1: expected some-option=value"),
    ],
)
def test_wrong_options_are_errors(toy, tmp_path: Path, args: list[str], message: str) -> None:
    (tmp_path / "bad.conf").write_text("letter=b\nlettre=c\n")
    (tmp_path / "evil.conf").write_text("touch owned\n")
    done = toy(*args)
    assert done.returncode == 1 and message in done.stderr
    assert not (tmp_path / "owned").exists() and not (tmp_path / "exp").exists()


def test_config_sets_and_command_line_wins(toy, tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text("# a comment\nletter=$(touch owned)  # taken as it is\nname=other\n")
    toy("--name", "mine", "--quick", "--config", "a.conf")
    assert "letter=$(touch owned)\n" in (tmp_path / "exp/mine/settings.conf").read_text()
    assert "quick=true\n" in (tmp_path / "exp/mine/settings.conf").read_text()
    assert not (tmp_path / "owned").exists()
    assert "toy.sh" not in (tmp_path / "exp/mine/command").read_text()
    assert "--name mine --quick --config a.conf" in (tmp_path / "exp/mine/command").read_text()
    again = toy("--config", "exp/mine/settings.conf")
    assert stages(again) == ["stage 0 make: up to date", "stage 1 join: up to date"]


def test_help_lists_options_by_stage_with_their_defaults(toy) -> None:
    text = toy("--help").stdout
    assert text.startswith("Usage: toy") and "  --letter             the letter [a]" in text
    assert "stage 0, make:\n  --quick              hurry [false]\n\nstage 1, join:\n" in text


@pytest.mark.parametrize("name", ["make", "0"])
def test_help_of_one_stage_says_what_it_does(toy, name: str) -> None:
    text = toy("--help", name).stdout
    assert text == (
        "Stage 0, make: writes the letter.\nIt does nothing else.\n\n  --quick              hurry [false]\n"
    )
    assert "--help mak: the stages are make join" in toy("--help", "mak").stderr


def test_plan_is_kept_as_a_table(toy, tmp_path: Path) -> None:
    toy()
    lines = (tmp_path / "exp/toy/plan.tsv").read_text().splitlines()
    assert lines[0].split("\t")[:4] == ["stage", "unit", "task", "set"]
    assert [line.split("\t")[11] for line in lines[1:]] == ["data/x", "data/y"]


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


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_read_only_exp(toy, tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir(mode=0o555)
    done = toy()
    assert done.returncode == 1 and "cannot make exp/toy" in done.stderr


def test_exp_that_is_a_file(toy, tmp_path: Path) -> None:
    (tmp_path / "exp").write_text("")
    done = toy()
    assert done.returncode == 1 and "cannot make exp/toy" in done.stderr
