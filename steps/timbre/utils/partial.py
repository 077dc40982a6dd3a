"""A long file that is written over several runs: killed at any moment, the next run goes on after the last block."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write


class PartialFile:
    """What has been written of PATH, in a hidden file beside it, and how far it got; see `partial_write`.

    Attributes:
        done: how much of the work, in the caller's units, is in the file already
    """

    def __init__(self, file: IO[bytes], record: Path, key: str) -> None:
        self._file, self._record, self._key = file, record, key
        self.done, length = self._read_record()
        file.truncate(length)
        file.seek(length)

    def write(self, data: bytes | memoryview) -> None:
        """Adds DATA; it counts once `commit` says so."""
        self._file.write(data)

    def commit(self, done: int) -> None:
        """Everything up to here is good, and DONE is how far the work is."""
        self._file.flush()
        self.done = done
        with atomic_write(self._record) as file:
            json.dump({"key": self._key, "done": done, "bytes": self._file.tell()}, file)

    def _read_record(self) -> tuple[int, int]:
        try:
            record = json.loads(self._record.read_text(encoding="utf-8"))
            if record["key"] == self._key and record["bytes"] <= self._file.seek(0, 2):
                return int(record["done"]), int(record["bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # none, or not of this work: from the start
        return 0, 0


@contextmanager
def partial_write(path: Path | str, key: str) -> Iterator[PartialFile]:
    """Yields the file to write; it gets the name PATH when the block ends well.

    What an error leaves is removed; what SIGKILL, SIGTERM or Ctrl-C leaves is gone on from, if the next run gives the
    same KEY.

    Args:
        path: the final name
        key: tells this work from any other: a digest of everything that the file's content follows from

    Raises:
        DataError: the file cannot be written, or another process is writing it
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.part")
    record = path.with_name(f".{path.name}.part.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield PartialFile(file, record, key)
            file.flush()
            part.replace(path)
            record.unlink(missing_ok=True)
    except BlockingIOError:
        raise DataError("another process is writing it", path) from None
    except OSError as error:
        _remove(part, record)
        if error.filename is not None and Path(os.fsdecode(error.filename)) not in (part, record, path, path.parent):
            raise
        raise DataError(f"cannot write: {error.strerror or error}", path) from error
    except Exception:
        _remove(part, record)
        raise


def _remove(*paths: Path) -> None:
    for path in paths:
        with suppress(OSError):  # a disk that takes nothing gives nothing back either
            path.unlink()
