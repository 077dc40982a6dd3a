"""A recipe of two stages, which are what run.sh is made of, and how its lines are read."""

import subprocess
import time
from pathlib import Path

RECIPE = """
set -euo pipefail
caller=$PWD
cd "$(dirname "${{BASH_SOURCE[0]}}")"
. {root}/steps/stages/engine.sh
option letter a "the letter"
option number 3 "number: how many"
option missing 0 "some: how many may be missing"
option folder exp "where"
option paper "" "file: to write on"
option papers "" "files: more of them"
option corpus-dir "" "path: of a corpus"
option others "" "corpora: {help}"
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
main() {{
  make_plan
  start_run "$@"
  for stage_name in "${{stage_names[@]}}"; do run_stage "$stage_name"; done
}}
supervise main "$@"
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
    [ "$letter" != t ] || python3 saving.py
    echo "to the log"
  fi
}
"""

SAVING = """import os, signal, sys, time

def save(number, frame):
    signal.signal(signal.SIGTERM, lambda *_: open("again", "w").close())
    time.sleep(2)
    open("saved", "w").close()
    sys.exit(143)

signal.signal(signal.SIGTERM, save)
print(os.getpid(), file=open("step.tmp", "w"), flush=True)
os.rename("step.tmp", "step")
time.sleep(30)
"""


def stages(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return [line.split(" ", 1)[1] for line in done.stdout.splitlines()]


def start_saving(tmp_path: Path) -> tuple[subprocess.Popen[str], int]:
    """A run whose step takes two seconds to save when it is told to end, and the process of that step."""
    command = ["bash", "toy.sh", "--letter", "t"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not (tmp_path / "step").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process, int((tmp_path / "step").read_text())
