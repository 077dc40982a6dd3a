"""Recordings that effects take pieces of, decoded once for all processes of a run.

Decoding Opus, MP3 or FLAC again for every piece is most of what augmentation while training costs. Used by sources.py.
"""

import fcntl
import os
import tempfile
from collections.abc import Callable
from typing import IO

import numpy as np
import numpy.typing as npt

Int16s = npt.NDArray[np.int16]

LIMIT = 2 << 30  # bytes on disk: 18 hours at 16 kHz
_BYTES = 2  # of a sample


class Decoded:
    """Samples of 16 bits in a temporary file without a name, which is gone when the last process that has it ends.

    A pickled copy opens the same file, as long as the process that made it lives, and finds what others wrote.

    Args:
        limit: bytes that it may take; what does not fit is not kept
        files: of samples and of the table of what is where, as a copy opens them
    """

    def __init__(self, limit: int = LIMIT, files: tuple[str, str] | None = None) -> None:
        self._limit = limit
        self._samples, self._table = map(_open, files or (None, None))
        self._known: dict[str, tuple[int, int, int]] = {}
        self._read = 0  # bytes of the table

    def __reduce__(self) -> tuple[Callable[..., "Decoded"], tuple[int, tuple[str, str]]]:
        files = (f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (self._samples, self._table))
        return Decoded, (self._limit, (next(files), next(files)))

    def find(self, place: str) -> tuple[int, int, int] | None:
        """Where the samples of PLACE begin in the file, how many there are, and their rate; None: not kept."""
        if place not in self._known and os.fstat(self._table.fileno()).st_size > self._read:
            self._read_table()
        return self._known.get(place)

    def piece(self, start: int, count: int) -> Int16s:
        """(COUNT,) samples of the file from START on."""
        return np.frombuffer(os.pread(self._samples.fileno(), count * _BYTES, start * _BYTES), np.int16)

    def keep(self, place: str, samples: Int16s, rate: int) -> None:
        """Has SAMPLES of PLACE kept, if there is room on the disk and within the limit."""
        fcntl.flock(self._table, fcntl.LOCK_EX)
        try:
            start = os.fstat(self._samples.fileno()).st_size // _BYTES
            if self.find(place) or (start + len(samples)) * _BYTES > self._limit:
                return
            try:
                _write(self._samples, samples.tobytes(), start * _BYTES)
            except OSError:  # no room: what was written of it is not in the table
                self._limit = 0
                return
            line = f"{start} {len(samples)} {rate} {place}\n".encode(errors="surrogateescape")
            _write(self._table, line, os.fstat(self._table.fileno()).st_size)
        finally:
            fcntl.flock(self._table, fcntl.LOCK_UN)

    @property
    def has_room(self) -> bool:
        """Another recording may be kept."""
        return os.fstat(self._samples.fileno()).st_size < self._limit

    def _read_table(self) -> None:
        size = os.fstat(self._table.fileno()).st_size
        new = os.pread(self._table.fileno(), size - self._read, self._read)
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.decode(errors="surrogateescape").splitlines():
            start, count, rate, place = line.split(" ", 3)
            self._known[place] = int(start), int(count), int(rate)


def _open(name: str | None) -> IO[bytes]:
    return open(name, "r+b") if name else tempfile.TemporaryFile()


def _write(file: IO[bytes], data: bytes, start: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(file.fileno(), view, start)
        view, start = view[written:], start + written
