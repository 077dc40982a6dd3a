"""Bad input to the steps as a user calls them: a failing exit, one clear line, nothing half-written, nothing executed.

Input that is only strange (Unicode, shell characters, ids of 10 kB, an hour of audio) has to work.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RATE = 8000
FBANK = ("--fbank.sample_frequency", str(RATE), "--nj", "1")
TABLES = {"wav.scp": "a1 a1.wav\na2 a2.wav\nb1 b1.wav\n", "utt2spk": "a1 a\na2 a\nb1 b\n", "spk2utt": "a a1 a2\nb b1\n"}
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Done:
    """How a step ended: its last line on stderr, the lines before it, and its memory at most."""

    status: int
    out: str
    line: str
    notes: list[str]
    megabytes: float


@dataclass(frozen=True)
class Place:
    """A folder that steps are called in."""

    path: Path

    def call(self, script: str, *args: object, on: str = "") -> Done:
        """SCRIPT of steps/ or local/; ON mounts something first, in a mount namespace that ends with the step."""
        script = script if "/" in script else f"steps/{script}"
        command = [sys.executable, str(ROOT / script), *map(str, args)]
        if on:
            command = ["unshare", "-rm", "sh", "-ec", f'{on}\n"$@" && status=0 || status=$?\n{LIST}', "sh", *command]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=self.path, env=ENVIRONMENT, **streams) as process:
            out, error = process.communicate(timeout=100)
            usage = process.rusage if hasattr(process, "rusage") else None
        assert "Traceback" not in error, error
        *notes, line = error.splitlines() or [""]
        return Done(process.returncode, out, line, notes, usage or 0)
