"""The --nj jobs of a step on a cluster, through the dask scheduler that run.sh --cluster has started; for run_jobs.

TIMBRE_CLUSTER holds the scheduler's address. What starts it is cluster_server.py; dask is imported here only.
"""

import os
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import dask
from distributed import CancelledError, Client, KilledWorker, Status, Worker, as_completed, get_worker

from timbre.utils.errors import DataError

Job = TypeVar("Job")
Result = TypeVar("Result")

_CONNECT = 30  # seconds that a scheduler may take to answer
_LOOK = 0.2  # seconds between a worker's looks whether its job is still wanted
_END = 15  # seconds that jobs may take to end when they are not


def run_on_cluster(
    address: str,
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    nj: int,
    title: str,
    advance: Callable[[], object],
) -> list[Result]:
    """FUNCTION of each of JOBS on the workers of the scheduler at ADDRESS, at most NJ at a time; see `run_jobs`.

    A job whose worker is lost is done again by another one; but one that loses worker after worker is an error. When an
    exception is raised here, Ctrl-C too, no job runs any more.

    Args:
        address: of the dask scheduler
        function: a module-level function that the workers can import
        jobs: its arguments, one each
        nj: number of jobs that are with the scheduler at a time
        title: what errors call the jobs
        advance: called after each job

    Raises:
        DataError: what a job raises; no scheduler answers; workers are lost again and again
    """
    name = f"{''.join(letter if letter.isalnum() else '_' for letter in title)}-{uuid.uuid4().hex}"
    results: dict[int, Result] = {}
    with _connected(address) as client:
        running: dict[Any, int] = {}
        finished = as_completed(loop=client.loop)
        left = iter(enumerate(jobs))

        def start(number: int) -> None:
            for _, (index, job) in zip(range(number), left, strict=False):
                future = client.submit(_work, function, os.getcwd(), job, key=f"{name}-{index}", pure=False)
                running[future] = index
                finished.add(future)

        try:
            start(nj)
            while running:
                future = next(finished)
                results[running.pop(future)] = future.result()
                advance()
                start(1)
        except BaseException as error:
            _end(client, list(running), name)
            if isinstance(error, KilledWorker):
                raise DataError(f"{title}: a job lost worker after worker (killed, or out of memory?)") from error
            if isinstance(error, CancelledError | OSError | TimeoutError) and client.status != "running":
                raise DataError(f"{title}: the cluster's scheduler at {address} is gone") from error
            raise
    return [results[index] for index in range(len(jobs))]


@contextmanager
def _connected(address: str) -> Iterator[Client]:
    settings = {
        "distributed.comm.timeouts.connect": f"{_CONNECT}s",
        "distributed.admin.large-graph-warning-threshold": 0,
    }
    with dask.config.set(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            client = Client(address, timeout=_CONNECT, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise DataError(f"no dask scheduler answers at {address} (TIMBRE_CLUSTER)") from error
        try:
            yield client
        finally:
            with suppress(Exception):
                client.close(timeout=2)


def _end(client: Client, futures: list[Any], name: str) -> None:
    """Cancels FUTURES, and waits until no worker runs a job whose key begins with NAME."""
    deadline, quiet = time.monotonic() + _END, 0
    with suppress(Exception):
        client.cancel(futures, force=True)
    while quiet < 2 and time.monotonic() < deadline and client.status == "running":
        with suppress(Exception):  # a worker that is ending
            answers = client.sync(client._run, _runs, name, on_error="ignore", callback_timeout=_END)
            quiet = 0 if True in answers.values() else quiet + 1  # twice: one may have been on its way to a worker
        time.sleep(_LOOK)


def _runs(name: str, dask_worker: Worker) -> bool:
    return any(str(task.key).startswith(name) for task in dask_worker.state.all_running_tasks)


def _work(function: Callable[[Job], Result], folder: str, job: Job) -> Result:
    """On a worker: FUNCTION of JOB in FOLDER. The process ends when nobody waits for the result any more.

    So a job does not go on when a step has been stopped or killed, or the scheduler is gone, and writes into what the
    next one makes; dask alone lets it. A worker's nanny starts another process, unless it is to end too.
    """
    worker, done = get_worker(), threading.Event()
    key = worker.get_current_task()
    threading.Thread(target=_watch, args=(worker, key, done), daemon=True).start()
    try:
        os.chdir(folder)  # jobs name files as the step does
        return function(job)
    finally:
        done.set()


def _watch(worker: Worker, key: str, done: threading.Event) -> None:
    while not done.wait(_LOOK):
        task = worker.state.tasks.get(key)
        wanted = task is not None and task.state in ("executing", "resumed")
        at_work = worker.status in (Status.running, Status.paused, Status.closing_gracefully)
        if not (wanted and at_work) and not done.is_set():
            os._exit(1)
