"""Kaldi's "command |" in wav.scp: what it writes, within a time and a size, whatever the command does.

Both bounds are of the environment, as the steps that read audio are many and run in processes of their own:
TIMBRE_COMMAND_SECONDS (600) and TIMBRE_COMMAND_MB (4096), for each command.
"""

import os
import signal
import subprocess
import tempfile
import threading
from contextlib import suppress
from typing import IO

from timbre.utils.errors import DataError
from timbre.utils.number_text import to_float

_SAID = 3  # last lines of stderr that are told
_TAIL = 2000  # bytes of it
_BLOCK = 1 << 20


def command_output(rxfilename: str) -> bytes:
    """Standard output of "command |", which runs in a shell as in Kaldi.

    Raises:
        DataError: the command fails, writes nothing or without end, or takes too long
    """
    seconds, megabytes = _bound("TIMBRE_COMMAND_SECONDS", 600), _bound("TIMBRE_COMMAND_MB", 4096)
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            rxfilename.rstrip("|"),
            shell=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # what it starts is ended with it
        )
        late = threading.Event()

        def end() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            assert process.stdout is not None
            output = _read(process.stdout, int(megabytes * 2**20))
            if output is None:
                text = f"the command has written more than {megabytes:g} MB and was stopped"
                raise DataError(f"{text} (TIMBRE_COMMAND_MB sets the bound)", rxfilename)
            status = process.wait()
        finally:
            timer.cancel()
            _kill(process)
            process.stdout.close()  # type: ignore[union-attr]
            process.wait()
        if late.is_set():
            text = f"the command took more than {seconds:g} s and was stopped{_said(errors, ': ')}"
            raise DataError(f"{text} (TIMBRE_COMMAND_SECONDS sets the bound)", rxfilename)
        if status != 0:
            raise DataError(
                f"the command failed with exit status {status}: {_said(errors) or '(no message)'}", rxfilename
            )
    if not output:
        raise DataError("the command has written nothing", rxfilename)
    return output


def _bound(name: str, default: float) -> float:
    text = os.environ.get(name, "")
    try:
        value = to_float(text) if text else default
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise DataError(f"{name} is '{text}'; it must be a number above 0")
    return value


def _read(stream: IO[bytes], most: int) -> bytes | None:
    """All of STREAM; None where it is more than MOST bytes."""
    blocks, size = [], 0
    while block := stream.read(_BLOCK):
        blocks.append(block)
        size += len(block)
        if size > most:
            return None
    return b"".join(blocks)


def _said(errors: IO[bytes], before: str = "") -> str:
    """The last lines of what the command said, on one line."""
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _TAIL))
    lines = errors.read().decode(errors="replace").split("\n")[-_SAID - 1 :]
    said = " / ".join(lines).strip(" /")
    return before + said if said else ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
