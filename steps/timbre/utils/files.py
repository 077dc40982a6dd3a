"""Files that are whole or absent: everything a step leaves under a final name goes through here."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from timbre.utils.errors import DataError


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside PATH; renamed to PATH when the block ends well, removed when it does not.

    The temporary may be a file or a directory (a directory replaces an existing one).

    Raises:
        DataError: the disk is full, the folder is read-only, ... (the message names PATH)
    """
    path = Path(path)
    temporary = path.parent / f".{path.name}.tmp{os.getpid()}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        yield temporary
        if temporary.is_dir():
            _remove(path)
        temporary.replace(path)
    except OSError as error:
        _remove(temporary)
        if error.filename is not None and Path(os.fsdecode(error.filename)) not in (temporary, path, path.parent):
            raise
        raise DataError(f"cannot write: {error.strerror or error}", path) from error
    except BaseException:
        _remove(temporary)
        raise


@contextmanager
def atomic_write(path: Path | str, mode: str = "w") -> Iterator[IO[Any]]:
    """Opens PATH for writing ("w": UTF-8 text with LF, "wb": bytes); it appears under its name only when complete."""
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    with atomic_path(path) as temporary, temporary.open(mode, **text) as file:  # type: ignore[call-overload]
        yield file


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        pass  # the error that brought us here is the one to tell
