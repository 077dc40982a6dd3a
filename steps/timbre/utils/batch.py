"""A command as a batch job of Slurm on several nodes: submitted, waited for, cancelled; steps/launch.py calls it."""

import hashlib
import logging
import re
import shlex
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

log = logging.getLogger(__name__)

_LOOK = 3.0  # seconds between questions how the job is
_SILENCE = 600.0  # seconds that Slurm may not answer
_END = 150.0  # seconds that a job may take to save and end when it is cancelled
_ENDED = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL", "")


def run_batch_job(
    template: Path, command: Sequence[str], log_file: Path, nodes: int, gpus: int, max_restarts: int
) -> None:
    """Runs COMMAND by torchrun as a batch job, until it has ended well; preempted, the job goes on by itself.

    What this leaves behind when it is killed, the next one with the same LOG_FILE ends first. On an exception, Ctrl-C
    too, the job is cancelled and waited for.

    Args:
        template: a batch script with @folder@, @procs@, @max_restarts@, @command@ and @status@
        command: a script and its arguments
        log_file: gets the output of the job; beside it lie the script and, at the end, the exit status
        nodes: number of nodes
        gpus: on each of them, with a process each; 0: one process without
        max_restarts: how often torchrun starts its processes again that have failed

    Raises:
        DataError: it cannot be submitted, or fails
    """
    log_file = log_file.resolve()
    script, status = log_file.with_suffix(".sh"), log_file.with_suffix(".status")
    name = f"timbre-{hashlib.sha256(str(log_file).encode()).hexdigest()[:12]}"
    fields = {"folder": str(Path.cwd()), "status": str(status)}
    filled = {key: shlex.quote(value) for key, value in fields.items()}
    filled |= {"procs": str(max(gpus, 1)), "max_restarts": str(max_restarts), "command": shlex.join(command)}
    text = template.read_text(encoding="utf-8")
    if unknown := set(re.findall(r"@(\w+)@", text)) - filled.keys():
        raise DataError(f"@{min(unknown)}@ stands for nothing; there are @{'@, @'.join(filled)}@", template)
    if missing := [f"@{key}@" for key in ("command", "status") if f"@{key}@" not in text]:
        raise DataError(f"it has no {' and no '.join(missing)}, so it would not run the command", template)
    for job in _slurm("squeue", "-h", "-o", "%i", "-n", name).split():
        log.info("batch job %s, which was left, is cancelled", job)
        _cancel(job)
    with atomic_write(script) as file:
        file.write(re.sub(r"@(\w+)@", lambda found: filled[found[1]], text))
    status.unlink(missing_ok=True)
    resources = ["--nodes", str(nodes), *(["--gpus-per-node", str(gpus)] if gpus else [])]
    job = _slurm("sbatch", "--parsable", "-J", name, "-o", str(log_file), *resources, str(script)).strip().split(";")[0]
    log.info("batch job %s: %s; its output: %s", job, shlex.join(command), log_file)
    try:
        state = _wait(job)
    except BaseException:
        _cancel(job)
        raise
    ended = status.read_text(encoding="utf-8").strip() if status.is_file() else ""
    if ended != "0":
        what = f"with exit status {ended}" if ended else f"as {state or 'one that Slurm knows no more'}"
        raise DataError(f"batch job {job} has ended {what}", log_file)


def _wait(job: str, most: float = float("inf")) -> str:
    """The state that JOB ends in, "" when Slurm knows it no more; after MOST seconds, the one that it is in."""
    before, answered, began = None, time.monotonic(), time.monotonic()
    while True:
        asked = subprocess.run(["squeue", "-h", "-t", "all", "-o", "%T", "-j", job], capture_output=True, text=True)
        state, now = asked.stdout.strip(), time.monotonic()
        if asked.returncode == 0 or "Invalid job id" in asked.stderr:
            answered = now
            if (state in _ENDED and state == before) or now - began > most:  # on its way back to the queue it seems so
                return state
            if state != before:
                log.info("batch job %s: %s", job, state or "gone")
                before = state
        elif now - answered > _SILENCE:
            raise DataError(f"Slurm does not answer: {asked.stderr.strip()}")
        time.sleep(_LOOK)


def _cancel(job: str) -> None:
    with suppress(DataError):
        _slurm("scancel", job)
        _wait(job, _END)


def _slurm(*command: str) -> str:
    """What a command of Slurm's answers.

    Raises:
        DataError: it is not there, or fails
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise DataError(f"there is no {command[0]} here: is this machine part of a Slurm cluster?") from error
    if done.returncode:
        raise DataError(f"{command[0]}: {' / '.join(done.stderr.split(chr(10))).strip(' /')}")
    return done.stdout
