"""Uploads become samples in processes of their own, bounded in memory and time; one that dies is replaced."""

import json
import multiprocessing
import queue
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import numpy as np
from numpy.typing import NDArray

from timbre.serve.decoder_process import run
from timbre.serve.guard import Refused

_START = 60.0  # seconds in which a process must be ready
_MOST_JOBS = 1000  # of a process, before another takes its place: what a library leaks is given back


@dataclass
class _Process:
    process: BaseProcess
    connection: Connection
    jobs: int = 0

    def stop(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()


class Decoders:
    """NUMBER processes that decode, each one file at a time; `decode` waits for one. It may be called by threads."""

    def __init__(self, number: int, seconds: float) -> None:
        """SECONDS: in which a file must be decoded."""
        self._seconds = seconds
        self._free: queue.Queue[_Process | None] = queue.Queue()  # None: one is to be started
        self._number, self._closed = number, False
        for _ in range(number):
            self._free.put(None)

    def decode(self, name: str, data: bytes, most_seconds: float) -> tuple[NDArray[np.float32], int]:
        """Samples (N,) and rate of the file DATA called NAME, at most MOST_SECONDS long.

        Raises:
            Refused: it is not audio that can be taken, in one line
        """
        if not data:  # costs nobody anything
            raise Refused(422, f"{name}: the file is empty")
        worker = self._free.get()
        keep = False
        try:
            worker = worker or self._start()
            found = self._ask(worker, name, data, most_seconds)
            keep = True
            return found
        except Refused:
            keep = True
            raise
        except TimeoutError:
            raise Refused(422, f"{name}: it was not decoded within {self._seconds:g} s") from None
        except (EOFError, OSError):  # it died
            raise Refused(422, f"{name}: not an audio file that can be decoded") from None
        finally:
            if worker and (not keep or worker.jobs >= _MOST_JOBS or self._closed):
                worker.stop()
                worker = None
            self._free.put(worker)

    def close(self) -> None:
        """Ends the processes."""
        self._closed = True
        for _ in range(self._number):
            try:
                if worker := self._free.get(timeout=1):
                    worker.stop()
            except queue.Empty:  # the one who has it stops it
                return

    def _ask(self, worker: _Process, name: str, data: bytes, most_seconds: float) -> tuple[NDArray[np.float32], int]:
        worker.jobs += 1
        end = time.monotonic() + self._seconds
        worker.connection.send_bytes(json.dumps({"seconds": most_seconds}).encode())
        worker.connection.send_bytes(data)
        head = json.loads(_received(worker, end))
        if "error" in head:
            raise Refused(422, f"{name}: {head['error']}")
        samples = np.frombuffer(_received(worker, end), np.float32)
        if len(samples) > most_seconds * int(head["rate"]) + 1:
            raise EOFError
        return samples, int(head["rate"])

    def _start(self) -> _Process:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=run, args=(there,), daemon=True, name="timbre decoder")
        process.start()
        there.close()
        worker = _Process(process, here)
        _received(worker, time.monotonic() + _START)
        return worker


def _received(worker: _Process, end: float) -> bytes:
    if not worker.connection.poll(max(0.0, end - time.monotonic())):
        raise TimeoutError
    return worker.connection.recv_bytes()
