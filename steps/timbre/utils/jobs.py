"""Running the --nj jobs of a step, as local processes or on a cluster: every step with --nj calls run_jobs, no more.

Training, which wants results all the time, keeps processes of its own: start_workers.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing.connection import wait
from typing import TypeVar

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from timbre.utils.errors import DataError

Job = TypeVar("Job")
Result = TypeVar("Result")


def split_jobs(items: Sequence[Job], num_jobs: int) -> list[Sequence[Job]]:
    """ITEMS in at most NUM_JOBS contiguous parts whose sizes differ by one at most; no part is empty."""
    num_jobs = min(max(num_jobs, 1), len(items))
    bounds = [len(items) * job // num_jobs for job in range(num_jobs + 1)] if num_jobs else []
    return [items[start:end] for start, end in pairwise(bounds)]


def on_cluster() -> bool:
    """Whether jobs go to a cluster."""
    return bool(os.environ.get("TIMBRE_CLUSTER"))


def run_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], nj: int, title: str, unit: str = "job"
) -> list[Result]:
    """FUNCTION of each of JOBS, at most NJ at a time in processes of one thread each; results in the order of JOBS.

    A progress bar counts finished jobs (give more jobs than nj for a finer bar and a better balance). The first
    exception, Ctrl-C too, ends the processes at once and is raised here when they are gone: what the caller then
    cleans up stays clean. With nj 1, or a single job, everything runs in this process. Where TIMBRE_CLUSTER is set, as
    run.sh --cluster does, the processes are those of the dask scheduler at that address.

    Args:
        function: a module-level function (it is pickled)
        jobs: its arguments, one each
        nj: number of processes
        title: what the progress bar says
        unit: what one job is called in the progress bar
    """
    if nj < 1:
        raise DataError(f"nj is {nj}; it must be at least 1")
    progress = tqdm(total=len(jobs), desc=title, unit=unit, disable=None, mininterval=0.5)
    if nj == 1 or len(jobs) <= 1:
        with progress:
            results = []
            for job in jobs:
                results.append(function(job))
                progress.update()
            return results
    if address := os.environ.get("TIMBRE_CLUSTER"):
        from timbre.utils.cluster import run_on_cluster  # dask is for those who have a cluster

        with progress:
            return run_on_cluster(address, function, jobs, nj, title, progress.update)
    # spawn, not fork: a forked child of a process that has used torch's threads can hang
    context = multiprocessing.get_context("spawn")
    others = multiprocessing.active_children()
    with (
        progress,
        _one_thread(),
        ProcessPoolExecutor(min(nj, len(jobs)), context, initializer=follow_parent) as pool,
    ):
        futures = {pool.submit(function, job): index for index, job in enumerate(jobs)}
        done: dict[int, Result] = {}
        try:
            for future in as_completed(futures):
                done[futures[future]] = future.result()
                progress.update()
        except BaseException as error:
            for worker in multiprocessing.active_children():
                if worker not in others:
                    worker.kill()
            pool.shutdown(cancel_futures=True)  # and waits for them
            if isinstance(error, BrokenProcessPool):
                raise DataError(f"{title}: a job died without a word (killed, or out of memory?)") from error
            raise
    return [done[index] for index in range(len(jobs))]


def start_workers(number: int, prepare: Callable[[Job], None], argument: Job) -> ProcessPoolExecutor:
    """NUMBER processes of one thread each that have called PREPARE with ARGUMENT, for as long as the pool is open.

    They leave signals to this process, and end with it however it ends.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(number, context, initializer=_prepare_worker, initargs=(prepare, argument))


def _prepare_worker(prepare: Callable[[Job], None], argument: Job) -> None:
    follow_parent()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a scheduler may send it to all processes of a run
    threadpool_limits(1)
    prepare(argument)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The environment that children inherit: they import numpy and torch before any code of ours runs in them."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def follow_parent() -> None:
    """For a worker: leaves Ctrl-C to the parent, which stops the pool, and ends with a parent that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
