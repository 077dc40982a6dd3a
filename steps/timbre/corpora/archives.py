"""Archives of corpora: split ones joined, checksums verified, unpacked wholly or not at all, and nothing outside.

Called by unpack.py and download.py.
"""

import bz2
import gzip
import hashlib
import io
import logging
import lzma
import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, cast
from zlib import error as ZlibError

from tqdm import tqdm

from timbre.datadir.tables import read_bytes, split_lines
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write, temporary_folder

SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".zip")

_PART = re.compile(
    r"(?P<stem>.+?)(?:_part|(?<=\.zip)\.?|(?<=\.tar)\.?|(?<=\.tgz)\.?|(?<=\.gz)\.?)(?P<part>[a-z]{2}|\d{2,3})"
)
_SUM = re.compile(r"(?P<sum>[0-9a-fA-F]{32}|[0-9a-fA-F]{64}) [ *]?(?P<name>\S.*)")
_BSD_SUM = re.compile(r"(?:MD5|SHA256) \((?P<name>.+)\) = (?P<sum>[0-9a-fA-F]{32}|[0-9a-fA-F]{64})")
_BLOCK = 1 << 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Archive:
    """An archive, or one that was split into several files, such as x.tar.gzaa, x.tar.gzab or x_partaa, x_partab."""

    name: str
    files: tuple[Path, ...]


def find_archives(folder: Path) -> list[Archive]:
    """The archives in FOLDER, told by their names. DataError: no such directory; a part of a split one is missing."""
    if not folder.is_dir():
        raise DataError("no such directory", folder)
    parts: dict[str, list[tuple[str, Path]]] = {}
    for path in sorted(folder.iterdir()):
        split = _PART.fullmatch(path.name)
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.name.lower().endswith(SUFFIXES):
            parts.setdefault(path.name, []).append(("", path))
        elif split:
            parts.setdefault(split["stem"], []).append((split["part"], path))
    for found in parts.values():
        for expected, (part, path) in zip(_part_names(found[0][0]), found, strict=False):
            if part != expected:
                raise DataError(f"the part before it, ...{expected}, is missing", path)
    return [Archive(name, tuple(path for _, path in found)) for name, found in parts.items()]


def _part_names(first: str) -> Iterator[str]:
    """aa, ab, ...; or 00 (01), 01, ...; or the one name of what is not split."""
    if not first:
        yield first
    elif first.isdigit():
        yield from (str(number).zfill(len(first)) for number in range(min(int(first), 1), 10 ** len(first)))
    else:
        letters = "abcdefghijklmnopqrstuvwxyz"
        yield from (one + two for one in letters for two in letters)


def read_checksums(folder: Path) -> dict[str, str]:
    """File -> MD5 or SHA-256, of the lists in FOLDER (names with md5 or sha256 in them), as md5sum writes them.

    Raises:
        DataError: a line that is no checksum and name
    """
    sums = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and re.search(r"md5|sha256", path.name, re.IGNORECASE) and path.stat().st_size < _BLOCK:
            for number, line in enumerate(split_lines(read_bytes(path)), start=1):
                text = line.decode(errors="replace").strip()
                found = _SUM.fullmatch(text) or _BSD_SUM.fullmatch(text)
                if found:
                    sums[PurePosixPath(found["name"]).name] = found["sum"].lower()
                elif text and not text.startswith("#"):
                    raise DataError(f"not a checksum and a file: '{text}'", path, number)
    return sums


def verify(path: Path, checksum: str) -> None:
    """DataError unless the file PATH has this MD5 (32 digits) or SHA-256 (64)."""
    digest = hashlib.md5(usedforsecurity=False) if len(checksum) == 32 else hashlib.sha256()
    with path.open("rb") as file, _bar(path.stat().st_size, f"checking {path.name}") as bar:
        while block := file.read(_BLOCK):
            digest.update(block)
            bar.update(len(block))
    if digest.hexdigest() != checksum.lower():
        raise DataError(
            f"its checksum is {digest.hexdigest()}, not {checksum}: cut short or damaged, fetch it again", path
        )


def unpack_all(archives: Sequence[Archive], target: Path, checksums: Mapping[str, str], nested: bool) -> None:
    """Unpacks ARCHIVES into TARGET, one after another; those that an earlier run has unpacked are passed over.

    Each is unpacked into a folder in TARGET and moved when complete, so that a run may be killed and started again.

    Args:
        archives: what to unpack
        target: where to
        checksums: file -> MD5 or SHA-256; files without one are told
        nested: unpack the archives in the archives too, where they lie

    Raises:
        DataError: a wrong checksum; damaged or cut short; a member that would lie outside, a link out, a device
    """
    for archive in archives:
        stamp = target / ".unpacked" / archive.name
        state = "".join(f"{path.name} {path.stat().st_size}\n" for path in archive.files)
        if stamp.exists() and stamp.read_text(encoding="utf-8") == state:
            logger.info("%s: unpacked already", archive.name)
            continue
        for path in archive.files:
            if path.name in checksums:
                verify(path, checksums[path.name])
            else:
                logger.warning("%s: its checksum is not known", path)
        with temporary_folder(target / "unpacking") as temporary:
            unpack(archive, temporary)
            if nested:
                _unpack_nested(temporary)
            _move(temporary, target)
        with atomic_write(stamp) as file:
            file.write(state)
        logger.info("%s: unpacked into %s", archive.name, target)


def unpack(archive: Archive, folder: Path) -> None:
    """Unpacks ARCHIVE into FOLDER. Raises as `unpack_all`."""
    first = archive.files[0]
    try:
        with cast(io.BufferedReader, io.BufferedReader(_Joined(archive.files), _BLOCK)) as file:
            if file.peek(4)[:4] == b"PK\3\4":
                _unzip(cast(IO[bytes], file), folder, first)
            else:
                _untar(file, folder, first)
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, EOFError, ZlibError) as error:
        raise DataError(f"cut short or damaged: {error}", first) from error
    except OSError as error:
        raise DataError(f"cannot unpack: {error.strerror or error}", first) from error


def _untar(file: io.BufferedReader, folder: Path, path: Path) -> None:
    if not hasattr(tarfile, "data_filter"):  # before Python 3.11.4
        raise DataError("this Python cannot unpack tar archives safely; 3.11.4 or newer is needed", path)
    with _decompressed(file) as data:
        with tarfile.open(fileobj=data, mode="r|") as tar, _bar(None, f"unpacking {path.name}", "file") as bar:
            for member in tar:
                try:
                    tar.extract(member, folder, filter="data")
                except tarfile.FilterError as error:
                    raise DataError(f"refused, it would leave the folder or is no file: {error}", path) from error
                bar.update()
        while data.read(_BLOCK):  # to the end, where the checksum is
            pass


def _decompressed(file: io.BufferedReader) -> IO[bytes]:
    head = file.peek(6)
    if head.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.open(file))
    if head.startswith(b"BZh"):
        return cast(IO[bytes], bz2.open(file))
    return cast(IO[bytes], lzma.open(file) if head.startswith(b"\xfd7zXZ") else file)


def _unzip(file: IO[bytes], folder: Path, path: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        for info in tqdm(archive.infolist(), f"unpacking {path.name}", unit="file", disable=None):
            name = PurePosixPath(info.filename)
            outside = name.is_absolute() or ".." in name.parts or PureWindowsPath(info.filename).drive
            if outside or stat.S_ISLNK(info.external_attr >> 16):
                raise DataError(f"refused, it would leave the folder or is no file: '{info.filename}'", path)
            try:
                archive.extract(info, folder)
            except RuntimeError as error:  # it wants a password
                raise DataError(f"'{info.filename}': {error}", path) from error


def _unpack_nested(folder: Path) -> None:
    """Unpacks the archives under FOLDER where they lie, and deletes them."""
    for path in sorted(folder.rglob("*")):
        if path.name.lower().endswith(SUFFIXES) and path.is_file() and not path.is_symlink():
            unpack(Archive(path.name, (path,)), path.parent)
            path.unlink()


def _move(source: Path, target: Path) -> None:
    """Moves what is in SOURCE into TARGET, into the folders that are there; files that are there are replaced."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and not entry.is_symlink() and place.is_dir():
            _move(entry, place)
        else:
            os.replace(entry, place)


def _bar(total: int | None, title: str, unit: str = "B") -> "tqdm[Any]":
    return tqdm(total=total, desc=title, unit=unit, unit_scale=unit == "B", disable=None, mininterval=0.5)


class _Joined(io.RawIOBase):
    """Files one after another, as one that can be read and sought in."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._files = [path.open("rb") for path in paths]
        self._sizes = [path.stat().st_size for path in paths]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: sum(self._sizes)}[whence]
        if start + offset < 0:
            raise OSError("a place before the start")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)  # type: ignore[arg-type]
        start = 0
        for file, size in zip(self._files, self._sizes, strict=True):
            if self._position < start + size:
                file.seek(self._position - start)
                count = file.readinto(view[: start + size - self._position])
                self._position += count
                return count
            start += size
        return 0

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()
