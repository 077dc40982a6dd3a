"""Files that are whole or absent, and the one rule by which a folder is replaced.

Everything a step leaves under a final name goes through here.
"""

import os
import re
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from timbre.utils.errors import DataError

MARKER = ".timbre"  # in a folder that a step makes as a whole: what kind of folder it is
_STAMPS = ".done"  # run.sh's, which may lie in a folder before anything else does
_HOST = f"{zlib.crc32(os.uname().nodename.encode()):08x}"  # folders may be shared by machines
_LEFTOVER = re.compile(r"\.(?P<name>.+)\.tmp(?P<pid>\d+)(-(?P<host>[0-9a-f]{8}))?(\.old)?")


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside PATH; renamed to PATH when the block ends well, removed when it does not.

    The temporary may be a file, which replaces a file, or a directory, which replaces nothing but an empty one: see
    `atomic_folder`. Temporaries of PATH that processes left which are no more are removed.

    Raises:
        DataError: the disk is full, the folder is read-only, ... (the message names PATH)
    """
    with _renamed(Path(path), replaces_folder=False) as temporary:
        yield temporary


@contextmanager
def _renamed(path: Path, replaces_folder: bool) -> Iterator[Path]:
    temporary = _temporary(path)
    old = temporary.with_name(f"{temporary.name}.old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        _remove(temporary)
        yield temporary
        if replaces_folder and path.is_dir():
            path.rename(old)  # in one go: a kill leaves no half of it
        temporary.replace(path)
        _remove(old)
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


@contextmanager
def atomic_folder(path: Path, kind: str, inputs: Iterable[Path | None] = (), sign: str = "") -> Iterator[Path]:
    """Yields a new folder beside PATH, which takes its place when the block ends well. See `check_folder`."""
    inputs = list(inputs)
    check_folder(path, kind, inputs, sign)
    path = path.resolve() if path.is_symlink() else path
    with _renamed(path, replaces_folder=True) as temporary:
        temporary.mkdir()
        (temporary / MARKER).write_text(f"{kind}\n", encoding="utf-8")
        yield temporary
        check_folder(path, kind, inputs, sign)  # hours may have passed


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yields a new folder beside PATH, that is gone after the block or, after a kill, with the next one for PATH."""
    temporary = _temporary(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(path)
    _remove(temporary)
    try:
        temporary.mkdir()
        yield temporary
    finally:
        _remove(temporary)


def claim_folder(path: Path, kind: str, inputs: Iterable[Path | None] = (), sign: str = "") -> None:
    """Makes PATH a folder of KIND, for a step that will remove files in it. See `check_folder`."""
    check_folder(path, kind, inputs, sign)
    path.mkdir(parents=True, exist_ok=True)
    with atomic_write(path / MARKER) as file:
        file.write(f"{kind}\n")


def check_folder(path: Path, kind: str, inputs: Iterable[Path | None] = (), sign: str = "") -> None:
    """The rule: a folder is replaced only if it is of the KIND that is being made, which a file in it says.

    Args:
        path: the folder that is to be made
        kind: what it will be, in words
        inputs: what it is made of
        sign: a file in it, by which those are known that were made before there were marker files

    Raises:
        DataError: PATH is, or holds, an input or the working directory; it is a file, or a folder that has something
            in it and is not of the kind
    """
    whole = path.resolve()
    for what, other in [("the working directory", Path.cwd()), *(("an input", one.resolve()) for one in inputs if one)]:
        if other.is_relative_to(whole):
            raise DataError(f"is or holds {what}, so a {kind} cannot go there; choose another folder", path)
    if path.exists() and not path.is_dir():
        raise DataError(f"is a file; a {kind} is a folder", path)
    if not path.is_dir() or all(entry.name == _STAMPS for entry in path.iterdir()):
        return
    marker = path / MARKER
    is_of_kind = marker.is_file() and marker.read_text(encoding="utf-8", errors="replace").strip() == kind
    if not is_of_kind and not (sign and (path / sign).exists()):
        raise DataError(f"exists, and is no {kind}: it is left as it is; choose another folder", path)


def remove_temporaries(folder: Path, of_others: bool = False) -> None:
    """Removes the temporaries in FOLDER that `atomic_path` left there in processes that are no more.

    Args:
        folder: where they lie
        of_others: those of processes of other machines too, which only one who is alone there knows to have ended
    """
    for leftover in [one for found in _find_leftovers(folder, of_others).values() for one in found]:
        _remove(leftover)


def _temporary(path: Path) -> Path:
    return path.parent / f".{path.name}.tmp{os.getpid()}-{_HOST}"


def _remove_leftovers(path: Path) -> None:
    for leftover in _leftovers(Path(os.path.abspath(path.parent))).pop(path.name, ()):
        _remove(leftover)


@lru_cache(maxsize=256)
def _leftovers(folder: Path) -> dict[str, list[Path]]:
    """`_find_leftovers`, once a process: a folder may get thousands of files, one by one."""
    return _find_leftovers(folder)


def _find_leftovers(folder: Path, of_others: bool = False) -> dict[str, list[Path]]:
    """Temporaries in FOLDER of processes that have ended, by the name of the file that each was to become."""
    found: dict[str, list[Path]] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith(".") or not (match := _LEFTOVER.fullmatch(entry.name)):
                continue
            is_ours = match["host"] in (None, _HOST)
            if not _is_alive(int(match["pid"])) if is_ours else of_others:
                found.setdefault(match["name"], []).append(Path(entry.path))
    return found


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # it is another user's
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] != "Z"
        )
    except OSError:  # no /proc, or gone just now
        return True


def _remove(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    except OSError:
        pass  # the error that brought us here is the one to tell
