"""run.sh killed at random moments and run again, until it has made what an undisturbed run makes, to the bit.

    python tests/kill_matrix.py                    # 10 kills, about ten minutes on two cores
    python tests/kill_matrix.py --kills 50 --seed 1
    python tests/kill_matrix.py --kills 20 --cluster conf/cluster/slurm.yaml   # see tests/cluster/
    python tests/kill_matrix.py --kills 20 --config tests/data/kill/study.conf   # stage 5, teachers, segments

Not part of the test run. Each round begins with nothing, runs the small recipe (conf/run/smoke.conf) or another, is
killed some times and then left alone. Kills: SIGKILL, SIGTERM or SIGINT, to run.sh alone, to its process group or to
all that it started. With --cluster, a process of a worker is killed as often, or a batch job cancelled, and run.sh must
get over it; the undisturbed run is without a cluster. A round fails when a file differs from the undisturbed run or
should not be there, when a process goes on, or when run.sh exits with another status than it should.
"""

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
CLONED = ("run.sh", "path.sh", "pyproject.toml", ".venv", "steps", "local", "conf", "tests")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
TARGETS = ("run.sh", "its group", "all")
LOSSES = ("a worker", "a batch job")  # that a run on a cluster gets over
MARK = "TIMBRE_KILL_MATRIX"  # in the environment of all that is started
# what depends on the time, the machine or the number of tries
PASSED_OVER = ("log", ".done", "tensorboard", "checkpoints", "plots", "__pycache__")  # folders
PASSED_OVER_FILES = (".lock", ".making", "command", "environment.json", "log.jsonl", "report.html", "README.md")
PASSED_OVER_FILES += ("part.json", "epochs.jsonl", "TEST_SETS.md", "training.png", "training.svg")  # with speeds


class Round:
    """A clone that the recipe is run in."""

    def __init__(self, place: Path, config: Path, nj: int, cluster: Path | None = None) -> None:
        self.place, self.mark, self.cluster = place, uuid.uuid4().hex, cluster
        self.command = ["./run.sh", "--config", str(config), "--nj", str(nj)]
        self.command += [] if cluster is None else ["--cluster", str(cluster)]
        place.mkdir()
        for name in CLONED:
            (place / name).symlink_to(ROOT / name)

    def start(self) -> "subprocess.Popen[str]":
        environment = os.environ | {MARK: self.mark, "OMP_NUM_THREADS": "1"}
        output = (self.place / "output").open("a")
        return subprocess.Popen(
            self.command,
            cwd=self.place,
            env=environment,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )

    def processes(self) -> Iterator[int]:
        """All that were started here and are alive."""
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    yield int(folder.name)
            except OSError:
                pass

    def kill(self, process: "subprocess.Popen[str]", number: int, target: str) -> None:
        """Sends the signal NUMBER to TARGET, one of TARGETS."""
        if target == "all":
            for one in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(one, number)
        elif target == "run.sh":
            process.send_signal(number)
        else:
            os.killpg(process.pid, number)

    def lose(self, what: str, draw: random.Random) -> None:
        """Kills one of LOSSES, if there is one."""
        if what == "a batch job":
            if jobs := batch_jobs():
                subprocess.run(["scancel", draw.choice(jobs)], check=True)
            return
        workers = [one for one in self.processes() if b"dask_worker" in read(one) or is_worker(one)]
        if workers:
            with suppress(ProcessLookupError):
                os.kill(draw.choice(sorted(workers)), signal.SIGKILL)

    def running(self) -> str:
        """The last line of its log."""
        logs = [log for log in (self.place / "exp").rglob("log/run.log") if log.stat().st_size]
        newest = max(logs, key=lambda log: log.stat().st_mtime, default=None)
        return newest.read_text().splitlines()[-1] if newest else "(nothing yet)"


def read(process: int) -> bytes:
    """The command line of a process."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def is_worker(process: int) -> bool:
    """Whether it is what a nanny of dask has started, and nothing that a job has."""
    with suppress(OSError):
        parent = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        return b"spawn_main" in read(process) and any(
            name in read(parent) for name in (b"dask_worker", b"cluster_server")
        )
    return False


def batch_jobs() -> list[str]:
    """The jobs of workers that Slurm has."""
    if shutil.which("squeue") is None:
        return []
    listed = subprocess.run(["squeue", "-h", "-o", "%i", "-n", "timbre"], capture_output=True, text=True)
    return listed.stdout.split()


class Made:
    """The files of a round that are compared, by path in its PLACE.

    Folders of parts (arks/feats/<hash>, .xvector.parts/<hash>) are named after what they were made of and when; here,
    after what they hold.
    """

    def __init__(self, place: Path) -> None:
        self.parts = {path.parent.name.encode(): self._digest(path.parent) for path in place.rglob("part.json")}
        self.files = {}
        for top in ("data", "exp"):
            for path in (place / top).rglob("*"):
                name = path.relative_to(place)
                if path.is_file() and not set(name.parts) & {*PASSED_OVER, *PASSED_OVER_FILES}:
                    self.files[self._renamed(str(name).encode()).decode()] = path

    @staticmethod
    def _digest(folder: Path) -> bytes:
        contents = b"".join(path.read_bytes() for path in sorted(folder.glob("*.ark")))
        return hashlib.sha256(contents).hexdigest()[:16].encode()

    def _renamed(self, text: bytes) -> bytes:
        text = re.sub(rb"(?<=/)[0-9a-f]{16}(?=/)", lambda found: self.parts.get(found[0], found[0]), text)
        return re.sub(rb"/[.][0-9a-f]{16}[.]tmp[0-9]+-[0-9a-f]{8}/", b"/", text)  # what it was called when it was made

    def content(self, name: str) -> object:
        """What must be the same: the bytes, but for names of parts; of a model, its tensors."""
        path = self.files[name]
        if path.suffix == ".pt":
            network = torch.load(path, weights_only=True)["network"]
            return {key: (tensor.dtype, tensor.shape, tensor.numpy().tobytes()) for key, tensor in network.items()}
        if path.name == "settings.conf":
            lines = path.read_text().splitlines()
            return [line for line in lines if line.partition("=")[0] not in ("cluster", "batch", "stage-egs-to")]
        return self._renamed(path.read_bytes()) if path.suffix == ".scp" else path.read_bytes()


def differences(whole: Made, killed: Made) -> list[str]:
    """What is wrong with the files of a round."""
    wrong = [f"{name} is missing" for name in sorted(whole.files.keys() - killed.files.keys())]
    wrong += [f"{name} was left over" for name in sorted(killed.files.keys() - whole.files.keys())]
    both = sorted(whole.files.keys() & killed.files)
    return wrong + [f"{name} differs" for name in both if whole.content(name) != killed.content(name)]


def play(clone: Round, draw: random.Random, kills: int, seconds: float) -> tuple[int, list[str]]:
    """A round: at most KILLS kills, then a run to the end; how many, and what is wrong with how its processes ended."""
    wrong: list[str] = []
    process = None
    targets = TARGETS if clone.cluster is None else TARGETS + LOSSES * 2
    for done in range(kills):
        process = process or clone.start()
        number, target, wait = draw.choice(SIGNALS), draw.choice(targets), draw.uniform(0, seconds)
        try:
            process.wait(wait)
            return done, [*wrong, f"exit status {process.returncode}"] if process.returncode else wrong
        except subprocess.TimeoutExpired:
            told = f"{number.name} to {target} after {wait:.2f} s, at: {clone.running()}"
        if target in LOSSES:
            print(f"  {target} after {wait:.2f} s, at: {clone.running()}", flush=True)
            clone.lose(target, draw)
            continue
        clone.kill(process, number, target)
        status = process.wait(120)
        process = None
        print(f"  {told}: {status}", flush=True)
        expected = -number if number == signal.SIGKILL or wait < 0.1 else 128 + number
        if status not in (0, expected, 128 + number):
            wrong.append(f"{told}: exit status {status}")
        if number != signal.SIGKILL and (left := alive_after(clone, 5)):
            wrong.append(f"{told}: goes on: {left}")
    if status := (process or clone.start()).wait(900):
        wrong.append(f"the last run: exit status {status}")
    return kills, wrong


def alive_after(clone: Round, seconds: float) -> list[int]:
    """The processes, and batch jobs, that are alive after SECONDS, or earlier if there are none."""
    end = time.monotonic() + seconds
    while (left := [*clone.processes(), *(map(int, batch_jobs()) if clone.cluster else ())]) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="in all")
    parser.add_argument("--per-round", type=int, default=5, help="kills before a round is left alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--config", type=Path, default=ROOT / "conf" / "run" / "smoke.conf", help="of run.sh")
    parser.add_argument("--nj", type=int, default=2)
    parser.add_argument("--cluster", type=Path, help="YAML of --cluster of run.sh")
    parser.add_argument("--keep", action="store_true", help="leave the folder of what has been run")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # not ignored, as it is in the background
    recipe, cluster = given.config.resolve(), given.cluster and given.cluster.resolve()
    draw, folder = random.Random(given.seed), Path(tempfile.mkdtemp(prefix="kill-matrix-"))
    began, failures = time.monotonic(), 0
    place, whole = folder / "clone", folder / "whole"
    if status := Round(place, recipe, given.nj).start().wait(900):
        sys.exit(f"the undisturbed run: exit status {status}\n{(place / 'output').read_text()}")
    seconds = time.monotonic() - began
    place.rename(whole)  # the rounds run in the same place, for paths are in the files
    expected = Made(whole)
    print(f"undisturbed: {seconds:.0f} s, {len(expected.files)} files, in {folder}", flush=True)
    number, left = -1, given.kills
    while left > 0:
        number += 1
        clone = Round(place, recipe, given.nj, cluster)
        kills = min(given.per_round, left)
        made, wrong = play(clone, draw, kills, seconds * 2 / kills)
        left -= made
        wrong += [f"process {left} goes on" for left in alive_after(clone, 5)]
        wrong += differences(expected, Made(place))
        failures += bool(wrong)
        print(f"round {number}: {'the same' if not wrong else 'WRONG'}", *wrong[:30], sep="\n  ", flush=True)
        if wrong and given.keep:
            place.rename(folder / f"round-{number}")
        else:
            shutil.rmtree(place)
    if not given.keep:
        shutil.rmtree(folder)
    print(f"{given.kills} kills, {failures} of {number + 1} rounds failed; {time.monotonic() - began:.0f} s")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
