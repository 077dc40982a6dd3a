"""The dask scheduler of a run and its workers, for as long as run.sh --cluster lives; run.sh calls it.

    python -m timbre.utils.cluster_server CONF NJ FOLDER

prints the scheduler's address, asks for workers as there are jobs, and ends with them when its standard input does.
"""

import os
import random
import select
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from timbre.utils.configure import check, read_config
from timbre.utils.errors import DataError

_LOOK = 1.0  # seconds between looks at how many jobs there are
_ALIVE = 30.0  # seconds between questions whether a batch job that has no worker is still there
_MOST_ASKED = 20  # of them at a time
_MOST_DEAD = 5  # batch jobs that may end before their worker has come, one after the other

# is batch job ID queued or running? A line that says so, or none
_STATUS = {"slurm": "squeue -h -j", "pbs": "qstat", "sge": "qstat -j", "lsf": "bjobs -noheader -p -r"}
_CLASSES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster", "lsf": "LSFCluster"}


@dataclass(frozen=True)
class ClusterOptions:
    """Where the jobs of --nj run; see conf/cluster/README.md.

    Args:
        kind: local, worker processes on this machine; slurm, pbs, sge or lsf, workers as batch jobs; address, a dask
            scheduler that is there already, with workers
        address: of that scheduler, tcp://HOST:PORT
        options: of the batch jobs, as dask-jobqueue's class for the kind takes them: queue, account, walltime, memory
        retries: workers that one job may lose
        idle: seconds without jobs after which workers are given back
    """

    kind: Literal["local", "slurm", "pbs", "sge", "lsf", "address"]
    address: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    retries: int = 3
    idle: int = 60

    def __post_init__(self) -> None:
        if (self.kind == "address") != bool(self.address):
            raise DataError("kind address needs an address, and no other kind takes one")
        if self.retries < 0 or self.idle < 0:
            raise DataError("retries and idle must be 0 or more")

    @classmethod
    def read(cls, path: Path) -> "ClusterOptions":
        """From a YAML file."""
        content = read_config(path)
        try:
            options = check(cls, content, set())()
        except DataError as error:
            raise DataError(str(error), path) from error
        assert isinstance(options, cls)
        return options


def _was_refused(worker: Any) -> bool:
    """Whether it is a batch job that could not be submitted."""
    return getattr(worker, "job_id", "") is None


class Served:
    """A dask cluster of at most NJ workers of one thread each, whose logs go to FOLDER."""

    def __init__(self, options: ClusterOptions, nj: int, folder: Path) -> None:
        self.options, self.nj = options, nj
        self.per_job = int(options.options.get("processes", 1))
        self._cluster = self._open(folder)
        # A job waits in the scheduler until a worker is free, and not with a worker that is busy.
        self._cluster.scheduler.is_rootish = lambda task: True
        self._busy = self._asked = time.monotonic()
        self._dead = 0

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return str(self._cluster.scheduler_address)

    def _open(self, folder: Path) -> Any:
        import dask

        dask.config.set(
            {
                "distributed.scheduler.allowed-failures": self.options.retries,
                "distributed.scheduler.worker-saturation": 1.0,  # jobs wait for a free worker, not behind a long one
                "distributed.deploy.lost-worker-timeout": "5s",
                "distributed.worker.daemon": False,  # a job may start processes
            }
        )
        at = {"dashboard_address": ":0"}
        if self.options.kind == "local":
            from distributed import LocalCluster

            return LocalCluster(
                n_workers=0, threads_per_worker=1, memory_limit=0, host="127.0.0.1", dashboard_address=None
            )
        import dask_jobqueue

        given = dict(self.options.options)
        given["scheduler_options"] = at | given.get("scheduler_options", {})
        given["worker_extra_args"] = ["--memory-limit", "0", *given.get("worker_extra_args", [])]  # no spilling
        given = {
            "cores": self.per_job,
            "processes": self.per_job,
            "python": sys.executable,
            "log_directory": str(folder),
            "job_name": "timbre",
            "death_timeout": 60,  # what starts when the scheduler is gone ends
            "job_script_prologue": ["export DASK_DISTRIBUTED__WORKER__DAEMON=False"],
        } | given
        try:
            return getattr(dask_jobqueue, _CLASSES[self.options.kind])(**given)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"options: {error}") from error

    def tend(self) -> None:
        """Asks for workers, replaces those that are lost, gives back those that are idle; called again and again.

        Raises:
            DataError: batch jobs cannot be submitted, or end without having begun
        """
        cluster, now = self._cluster, time.monotonic()
        open_states = ("waiting", "no-worker", "queued", "processing")
        wanted = sum(task.state in open_states for task in list(cluster.scheduler.tasks.values()))
        if wanted:
            self._busy = now
            self._forget_dead(now)
            jobs = max(len(cluster.worker_spec), -(-min(wanted, self.nj) // self.per_job))
            self._scale(jobs)
        elif cluster.worker_spec and now - self._busy > self.options.idle:
            self._scale(0)

    def _scale(self, jobs: int) -> None:
        if len(self._cluster.worker_spec) != jobs or self._cluster.workers.keys() != self._cluster.worker_spec.keys():
            self._cluster.scale(**({"n": jobs} if self.options.kind == "local" else {"jobs": jobs}))

    def _forget_dead(self, now: float) -> None:
        """Workers that did not start, and batch jobs that are gone and have none: others take their place."""
        here = {str(worker.name) for worker in list(self._cluster.scheduler.workers.values())}
        here |= {name.rpartition("-")[0] for name in here}  # one of several processes of a job
        unborn = {name: one for name, one in self._cluster.workers.items() if str(name) not in here}
        dead = [name for name, one in unborn.items() if one.status.name == "failed" or _was_refused(one)]
        if self.options.kind != "local" and now - self._asked > _ALIVE:
            self._asked = now
            some = random.sample(sorted(unborn.keys() - {*dead}), min(_MOST_ASKED, len(unborn) - len(dead)))
            dead += [name for name in some if self._is_gone(unborn[name].job_id)]
        for name in dead:
            print(f"worker {name} is gone before it had begun", file=sys.stderr, flush=True)
            del self._cluster.workers[name]
        self._dead = 0 if here else self._dead + len(dead)
        if self._dead >= _MOST_DEAD:
            raise DataError(
                f"{_MOST_DEAD} workers or more ended before they had begun; what they say is in this log and beside it"
            )

    def _is_gone(self, job_id: str) -> bool:
        command = [*shlex.split(_STATUS[self.options.kind]), str(job_id)]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=60)
        unreachable = any(word in asked.stderr.lower() for word in ("connect", "contact", "timed out", "communication"))
        return not asked.stdout.strip() and not unreachable

    def close(self) -> None:
        """Ends the workers, and cancels batch jobs that wait."""
        with suppress(AssertionError):  # there is a worker that was not born
            self._cluster.close(timeout=30)


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)
    sys.exit(0)


def main() -> None:
    """See above."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    conf, nj, folder = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    try:
        options = ClusterOptions.read(conf)
        if options.kind == "address":
            print(options.address, flush=True)
            return
        folder.mkdir(parents=True, exist_ok=True)
        served = Served(options, nj, folder)
        try:
            print(served.address, flush=True)
            while not select.select([sys.stdin], [], [], _LOOK)[0]:  # it is never written to
                served.tend()
        finally:
            served.close()
    except DataError as error:
        print(f"{conf}: {error.message}", file=sys.stderr, flush=True)
        os._exit(1)  # dask would wait for workers that were never born


if __name__ == "__main__":
    main()
