"""The small recipe on a Slurm of this machine, with losses at chosen moments: it makes what a run without it makes.

    . tests/cluster/slurm.sh start /tmp/slurm
    python tests/cluster/check_slurm.py               # about five minutes on two cores
    . tests/cluster/slurm.sh stop /tmp/slurm

Not part of the test run. The jobs of --nj are on Slurm by --cluster, training and extraction by --batch. A worker is
killed in stage 2, a worker's batch job cancelled in stage 3; training is requeued at step 40, as when it is preempted,
and at step 100 it is sent what Slurm sends before the time limit. Every file is compared to the bit, but those that
tests/kill_matrix.py passes over.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from kill_matrix import ROOT, Made, Round, alive_after, differences

DRAW = random.Random(0)
SMOKE = ROOT / "conf" / "run" / "smoke.conf"


class Watched:
    """A run on Slurm, and when what was done to it."""

    def __init__(self, clone: Round) -> None:
        self.clone = clone
        self.log = clone.place / "exp" / "smoke" / "log"
        self.process = clone.start()

    def wait_for(self, name: str, text: str, seconds: float = 300) -> None:
        """Until the log NAME of the run has TEXT."""
        end = time.monotonic() + seconds
        while not (self.log / name).is_file() or text not in (self.log / name).read_text():
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(f"no '{text}' in {self.log / name}\n{(self.clone.place / 'output').read_text()}")
            time.sleep(0.05)

    def do(self, what: str, action: Callable[[], object]) -> None:
        """ACTION, and a line that says so."""
        action()
        print(f"  {what}, at: {self.clone.running()}", flush=True)


def of_training(state: str = "RUNNING") -> str:
    """The id of the batch job that is no worker."""
    command = ["squeue", "-h", "-t", state, "-o", "%i %j"]
    jobs = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return next(job.split()[0] for job in jobs if job.split()[1].startswith("timbre-"))


def start_now(job: str) -> None:
    """Slurm has what was requeued wait for two minutes."""
    while subprocess.run(["squeue", "-h", "-o", "%T", "-j", job], capture_output=True, text=True).stdout != "PENDING\n":
        time.sleep(0.2)
    time.sleep(5)  # it must have ended on its node
    call("scontrol", "update", f"JobId={job}", "StartTime=now")


def call(*command: str) -> None:
    subprocess.run(command, check=True)


def site_files(folder: Path) -> tuple[Path, Path]:
    """A cluster's YAML and a batch script for this machine."""
    cluster, batch = folder / "slurm.yaml", folder / "slurm.sh"
    text = (ROOT / "conf" / "cluster" / "slurm.yaml").read_text().replace("4 GB", "500 MB")
    cluster.write_text(text + "  interface: lo\n")
    text = (ROOT / "conf" / "cluster" / "batch" / "slurm.sh").read_text()
    batch.write_text(text.replace("--cpus-per-task=8", "--cpus-per-task=1"))
    return cluster, batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave the folder of what has been run")
    keep = parser.parse_args().keep
    folder = Path(tempfile.mkdtemp(prefix="check-slurm-"))
    cluster, batch = site_files(folder)
    place, whole = folder / "clone", folder / "whole"
    if Round(place, SMOKE, 2).start().wait(900):
        sys.exit(f"the run without a cluster fails\n{(place / 'output').read_text()}")
    place.rename(whole)  # the same place again, for paths are in the files
    clone = Round(place, SMOKE, 2, cluster)
    clone.command += ["--batch", str(batch), "--stage-egs-to", str(folder / "local disk")]
    began, run = time.monotonic(), Watched(clone)
    run.wait_for("run.log", "stage 2 features: running")
    time.sleep(5)
    run.do("a worker is killed", lambda: clone.lose("a worker", DRAW))
    run.wait_for("run.log", "stage 3 egs: running")
    time.sleep(3)
    run.do("a worker's job is cancelled", lambda: clone.lose("a batch job", DRAW))
    run.wait_for("4-train.job.log", "step 40 ")
    job = of_training()
    run.do("training is requeued", lambda: call("scontrol", "requeue", job))
    start_now(job)
    run.wait_for("4-train.job.log", "step 100 ")
    run.do("the time limit nears", lambda: call("scancel", "--signal=USR1", "--batch", job))
    start_now(job)
    status = run.process.wait(900)
    log = (run.log / "4-train.job.log").read_text()
    resumed = [line for line in log.splitlines() if "steps are done" in line or "saved" in line]
    print(f"  exit status {status} after {time.monotonic() - began:.0f} s", *resumed, sep="\n  ")
    wrong = [] if status == 0 and sum("steps are done" in line for line in resumed) == 2 else ["not as planned"]
    wrong += [f"left: {left}" for left in alive_after(clone, 5)]
    wrong += differences(Made(whole), Made(place))
    print(f"{len(Made(whole).files)} files: {'the same' if not wrong else 'WRONG'}", *wrong[:30], sep="\n  ")
    if not keep and not wrong:
        shutil.rmtree(folder)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
