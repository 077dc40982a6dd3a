"""Pack files: all that recognising speakers takes, in a folder or one zip. Read here, written by export/pack_writer.py.

Nothing in one is ever run but graphs of onnxruntime; whoever made it, it is checked before it is used.
"""

import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.runtime.onnx_bytes import external_location
from timbre.utils.errors import DataError

FORMAT, VERSION = "timbre-pack", 2  # 1: a pack without band-passes of its sound, which is written as that still
SETTINGS, ARRAYS = "pack.json", "arrays.npz"
SUFFIX = ".timbre"
_MEMBERS = 64  # in a pack at most
_SETTINGS_SIZE = 16 << 20  # bytes of pack.json at most
_SIZE = 8 << 30  # bytes of all members at most
_RATIO = 200  # times that a member may be larger than in the zip: deflate's own limit is 1032, networks reach 2
_CHUNK = 1 << 20
_LINK = 0o120000  # of the file type in a zip's external attributes
_TYPE = 0o170000
_NAMES = {
    "format": str, "version": int, "name": str, "rate": int, "dim": int, "vad": str, "front": dict, "models": dict,
    "files": dict, "card": dict,
}  # fmt: skip
_ARRAY_KINDS = "fiub"  # floats, integers, bools


class PackError(DataError):
    """Not a pack, or one that is damaged, altered, of another version or not safe to use."""


class PackFile:
    """A pack that was read and checked.

    Attributes:
        path: where it is
        settings: pack.json
        arrays: those of arrays.npz, by name
        checksum: SHA-256 of all members' checksums: the pack's identity
        network_checksum: the same of what makes embeddings: of another one they cannot be compared
    """

    def __init__(self, path: Path, settings: dict[str, Any], members: dict[str, bytes]) -> None:
        self.path, self.settings, self._members = path, settings, members
        files: dict[str, str] = settings["files"]
        self.checksum = _combined(sorted(files.items()), settings)
        self.arrays = _read_arrays(members[ARRAYS], path) if ARRAYS in members else {}
        parts = sorted({name for name in settings["models"]["fp32"].values() if isinstance(name, str)})
        front = {name: settings[name] for name in ("rate", "dim", "vad", "front")}
        self.network_checksum = _combined([(name, files[name]) for name in parts if name in files], front)

    @classmethod
    def open(cls, path: str | Path) -> "PackFile":
        """The pack PATH, a folder or a .timbre file, with every checksum verified.

        Raises:
            PackError: it is none, or it is damaged, altered, of a newer version, or not safe to use
        """
        path = Path(path)
        try:
            source: _Folder | _Zip = _Folder(path) if path.is_dir() else _Zip(path)
            with source:
                return cls._read(path, source)
        except FileNotFoundError as error:
            raise PackError("no such file", path) from error
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
            raise PackError(f"not a pack, or a damaged one: {error}", path) from error
        except OSError as error:
            raise PackError(f"cannot be read: {error.strerror or error}", path) from error
        except MemoryError as error:
            raise PackError("it does not fit into memory", path) from error

    @classmethod
    def _read(cls, path: Path, source: "_Folder | _Zip") -> "PackFile":
        if SETTINGS not in source.sizes:
            raise PackError(f"no pack: {SETTINGS} is not in it", path)
        settings = _read_settings(source.read(SETTINGS, _SETTINGS_SIZE), path)
        files = settings["files"]
        if missing := sorted(set(files) - set(source.sizes)):
            raise PackError(f"'{missing[0]}' is missing in it", path)
        if extra := sorted(set(source.sizes) - set(files) - {SETTINGS}):
            raise PackError(f"'{extra[0]}' is in it, but not in its list of files", path)
        members = {}
        for name in sorted(files):
            content = source.read(name, source.sizes[name])
            if hashlib.sha256(content).hexdigest() != files[name]:
                raise PackError(f"'{name}' was altered or is damaged: its checksum is another", path)
            if name.endswith(".onnx") and (where := external_location(content)) is not None:
                raise PackError(f"'{name}' {where}: it is not used", path)
            members[name] = content
        return cls(path, settings, members)

    def bytes(self, name: str) -> bytes:
        """The member NAME.

        Raises:
            PackError: there is none
        """
        if name not in self._members:
            raise PackError(f"'{name}' is not in it", self.path)
        return self._members[name]


class _Folder:
    """The files of a folder; hidden ones do not count."""

    def __init__(self, path: Path) -> None:
        self._path, self.sizes = path, dict[str, int]()
        for one in sorted(path.iterdir()):
            if one.name.startswith("."):
                continue
            if one.is_symlink() or not one.is_file():
                raise PackError(f"'{one.name}' is not a plain file", path)
            self.sizes[one.name] = one.stat().st_size
        _check_sizes(self.sizes, path)

    def __enter__(self) -> "_Folder":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, name: str, most: int) -> bytes:
        """The file NAME, of MOST bytes at most."""
        with (self._path / name).open("rb") as file:
            return _whole(file, name, most, self._path)


class _Zip:
    """The members of a zip, none of which is extracted."""

    def __init__(self, path: Path) -> None:
        self._path, self.sizes = path, dict[str, int]()
        self._file = zipfile.ZipFile(path)
        try:
            for one in self._file.infolist():
                self._check(one)
                self.sizes[one.filename] = one.file_size
            _check_sizes(self.sizes, path)
        except BaseException:
            self._file.close()
            raise

    def _check(self, one: zipfile.ZipInfo) -> None:
        name = one.filename
        if name in self.sizes:
            raise PackError(f"'{name}' is in it twice", self._path)
        if len(PurePosixPath(name).parts) != 1 or name in (".", "..") or set(name) & set("\\/:\0"):
            raise PackError(f"'{name}' is not the name of a file in a pack", self._path)
        if (one.external_attr >> 16) & _TYPE == _LINK:
            raise PackError(f"'{name}' is a link", self._path)
        if one.flag_bits & 1:
            raise PackError(f"'{name}' is encrypted", self._path)
        if one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise PackError(f"'{name}' is compressed in a way that packs are not", self._path)
        if one.file_size > _RATIO * max(one.compress_size, 1 << 16):
            raise PackError(f"'{name}' would be {one.file_size:,} bytes: a zip bomb", self._path)

    def __enter__(self) -> "_Zip":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, name: str, most: int) -> bytes:
        """The member NAME, of MOST bytes at most, whatever its header says."""
        with self._file.open(name) as file:
            return _whole(file, name, most, self._path)


def _check_sizes(sizes: dict[str, int], path: Path) -> None:
    if len(sizes) > _MEMBERS:
        raise PackError(f"{len(sizes)} files in it; a pack has {_MEMBERS} at most", path)
    if sum(sizes.values()) > _SIZE:
        raise PackError(f"{sum(sizes.values()):,} bytes in it; a pack has {_SIZE:,} at most", path)


def _whole(file: Any, name: str, most: int, path: Path) -> bytes:
    parts, size = [], 0
    while part := file.read(_CHUNK):
        size += len(part)
        if size > most:
            raise PackError(f"'{name}' is larger than {most:,} bytes", path)
        parts.append(part)
    return b"".join(parts)


def _read_settings(content: bytes, path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise PackError(f"{SETTINGS} is damaged: {error}", path) from error
    if not isinstance(settings, dict) or settings.get("format") != FORMAT:
        raise PackError(f"{SETTINGS} is not that of a {FORMAT}", path)
    version = settings.get("version")
    if type(version) is not int or version < 1:
        raise PackError(f"{SETTINGS}: version {version!r} is none", path)
    if version > VERSION:
        text = f"made by a newer timbre: its version is {version}, this one reads up to {VERSION}; update it"
        raise PackError(text, path)
    for name, kind in _NAMES.items():
        if type(settings.get(name)) is not kind:
            raise PackError(f"{SETTINGS}: '{name}' is missing, or not what it should be", path)
    if not all(isinstance(one, str) for one in settings["files"].values()):
        raise PackError(f"{SETTINGS}: 'files' has no checksums", path)
    if not isinstance(settings["models"].get("fp32"), dict):
        raise PackError(f"{SETTINGS}: 'models' has no fp32", path)
    return settings


def _read_arrays(content: bytes, path: Path) -> dict[str, NDArray[Any]]:
    arrays = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as members:
            size = sum(one.file_size for one in members.infolist())
            if size > max(64 * len(content), 1 << 20):
                raise PackError(f"'{ARRAYS}' would be {size:,} bytes: a zip bomb", path)
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            for name in file.files:
                arrays[name] = file[name]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, TypeError, SyntaxError) as error:
        raise PackError(f"'{ARRAYS}' is damaged, or has what is no array of numbers: {error}", path) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind not in _ARRAY_KINDS:
            raise PackError(f"'{ARRAYS}': '{name}' is no array of numbers", path)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise PackError(f"'{ARRAYS}': '{name}' has NaN or infinite values", path)
    return arrays


def _combined(sums: list[tuple[str, str]], settings: dict[str, Any]) -> str:
    kept = {name: one for name, one in settings.items() if name != "files"}
    text = json.dumps([sums, kept], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
