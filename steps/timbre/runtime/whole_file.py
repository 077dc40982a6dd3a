"""A file that is whole or absent, on every operating system. For packs, archives of galleries and reports."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from timbre.utils.errors import DataError


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yields the path of a new file beside PATH, which takes its place when the block ends well.

    Raises:
        DataError: the disk is full, the folder is read-only or missing, ... (the message names PATH)
    """
    path = Path(path)
    temporary = None
    try:
        handle, name = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        with suppress(OSError):
            temporary.chmod(0o644)  # mkstemp lets nobody else read it
        temporary.replace(path)
    except OSError as error:
        if temporary is None or error.filename in (None, str(temporary), str(path)):
            raise DataError(f"cannot be written: {error.strerror or error}", path) from error
        raise
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
