"""run.sh --cluster: a scheduler beside the run, from the first unit that runs until the run ends in whatever way."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

RECIPE = """
set -euo pipefail
caller=$PWD
. {root}/steps/stages/engine.sh
option cluster "" "file: YAML"
option nj 2 "number: jobs"
option name toy "name of the run"
option stage 0 "number: first"
option stop-stage 9 "number: last"
option force false "true/false: again"
option plan false "true/false: say"
recipe make
parse_options "$@"
main() {{
  exp=exp/toy roots=(data) says=() plan_rows=()
  start_run "$@"
  for stage_name in "${{stage_names[@]}}"; do run_stage "$stage_name"; done
}}
supervise main "$@"
"""
MAKE = """# shellcheck shell=bash
stage_make() {
  if unit make "$exp" out "$exp/made"; then
    python -c 'import os, timbre.utils.jobs as j; print(j.run_jobs(hex, range(20), 2, "hex")[-1])' > "$exp/made.tmp"
    echo "$TIMBRE_CLUSTER" > "$exp/address"
    [ ! -e wait ] || sleep 60
    mv "$exp/made.tmp" "$exp/made"
  fi
}
"""


@pytest.fixture
def toy(root: Path, tmp_path: Path) -> Path:
    (tmp_path / "toy.sh").write_text(RECIPE.format(root=root))
    (tmp_path / "steps" / "stages").mkdir(parents=True)
    (tmp_path / "steps" / "stages" / "00_make.sh").write_text(MAKE)
    (tmp_path / "local.yaml").write_text("kind: local\n")
    return tmp_path


def start(toy: Path, cluster: str = "local.yaml") -> "subprocess.Popen[str]":
    command = ["bash", "toy.sh", "--cluster", cluster]
    environment = os.environ | {"TIMBRE_TEST_CLUSTER": str(toy)}
    return subprocess.Popen(command, cwd=toy, env=environment, stdout=-1, stderr=-2, text=True)


def left(toy: Path) -> list[str]:
    """The processes that a run has started and that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TIMBRE_TEST_CLUSTER={toy}".encode() in path.read_bytes().split(b"\0"):
                found.append(path.parent.name)
        except OSError:
            pass
    return found


def wait_until_none_is_left(toy: Path, seconds: float) -> None:
    end = time.monotonic() + seconds
    while left(toy):
        assert time.monotonic() < end, left(toy)
        time.sleep(0.1)


def test_steps_find_the_cluster_and_it_ends_with_the_run(toy: Path) -> None:
    run = start(toy)
    assert run.wait(60) == 0, run.communicate()
    wait_until_none_is_left(toy, 5)
    assert (toy / "exp" / "toy" / "made").read_text() == "0x13\n"
    assert (toy / "exp" / "toy" / "address").read_text().startswith("tcp://127.0.0.1:")
    log = toy / "exp" / "toy" / "log" / "cluster" / "server.log"
    log.unlink()
    assert start(toy).wait(60) == 0 and not log.exists()  # nothing had to be done


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_nothing(number: int, toy: Path) -> None:
    (toy / "wait").touch()
    run = start(toy)
    while not (toy / "exp" / "toy" / "address").exists():
        assert run.poll() is None
        time.sleep(0.05)
    assert len(left(toy)) > 4  # run.sh, the step, the server and its workers
    run.send_signal(number)
    assert run.wait(30) in (143, -9)
    wait_until_none_is_left(toy, 5 if number == signal.SIGTERM else 20)


def test_a_cluster_that_does_not_start_is_told(toy: Path) -> None:
    (toy / "nomad.yaml").write_text("kind: nomad\n")
    run = start(toy, "nomad.yaml")
    assert run.wait(60) == 1
    assert "run.sh: error: the cluster did not start: nomad.yaml: " in run.communicate()[0]
