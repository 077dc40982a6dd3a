"""The binary forms beside the text ones: trial lists as .npz, scores as .npy. Called by trials.py.

A list holds the arrays enroll, test (int32) and target (bool) of `Trials` and its ids, UTF-8 with a LF after each.
Scores are one float32 array in the order of their list, followed by 32 bytes that tell this list from any other:
numpy.load reads the array, and so does any tool that knows .npy.
"""

import hashlib
import io
import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from timbre.datadir.trial_text import hashes
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

LISTS, SCORES = ".npz", ".npy"
_ARRAYS: dict[str, type] = {
    "enroll": np.int32,
    "test": np.int32,
    "target": np.bool_,
    "enroll_ids": np.uint8,
    "test_ids": np.uint8,
}
# what numpy and zipfile raise at headers that are broken, among much else
_BROKEN = (
    ValueError, EOFError, TypeError, KeyError, IndexError, AttributeError, SyntaxError, MemoryError, RecursionError,
    OverflowError, NotImplementedError, RuntimeError, zipfile.BadZipFile, struct.error, tokenize.TokenError, zlib.error,
    lzma.LZMAError,
)  # fmt: skip
_MOST_EXPANDED = 1 << 33  # bytes that an array may be of, once it is no longer compressed
_ROWS = 1 << 20  # trials at a time


class Arrays(NamedTuple):
    """The fields of `Trials`."""

    enroll_ids: list[str]
    test_ids: list[str]
    enroll: np.ndarray
    test: np.ndarray
    target: np.ndarray


def is_list(path: Path | str) -> bool:
    """Whether PATH names a trial list in binary form."""
    return Path(path).suffix == LISTS


def is_scores(path: Path | str) -> bool:
    """Whether PATH names scores in binary form."""
    return Path(path).suffix == SCORES


def write_list(path: Path | str, trials: Arrays) -> None:
    """Writes a trial list, ids sorted: as embeddings are, whose matrix then serves as it is."""
    enroll_ids, enroll = _sorted(trials.enroll_ids, trials.enroll)
    test_ids, test = _sorted(trials.test_ids, trials.test)
    write_numbered_list(path, Arrays(enroll_ids, test_ids, enroll, test, trials.target))


def write_numbered_list(path: Path | str, trials: Arrays) -> None:
    """Writes a trial list, ids in their order: who reads it has the same numbers."""
    enroll_ids, test_ids, enroll, test, target = trials
    ids = [np.frombuffer("".join(f"{name}\n" for name in names).encode(), np.uint8) for names in (enroll_ids, test_ids)]
    with atomic_write(path, "wb") as file:
        values = (enroll, test, target, *ids)
        arrays: dict[str, Any] = {
            name: np.asarray(array, _ARRAYS[name]) for name, array in zip(_ARRAYS, values, strict=True)
        }
        np.savez(file, allow_pickle=False, **arrays)


def _sorted(ids: list[str], indices: np.ndarray) -> tuple[list[str], np.ndarray]:
    order = sorted(range(len(ids)), key=ids.__getitem__)
    place = np.empty(len(ids), np.int32)
    place[order] = np.arange(len(ids), dtype=np.int32)
    return [ids[index] for index in order], place[indices]


def read_list(path: Path | str) -> Arrays:
    """Reads a trial list.

    Raises:
        DataError: no such file, not what `write_list` writes, or damaged
    """
    try:
        with zipfile.ZipFile(path) as file:
            arrays = {name: _map(file, file.getinfo(f"{name}.npy")) for name in _ARRAYS}
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror or error}", path) from error
    except KeyError as error:
        raise DataError(f"not a trial list: {error.args[0]}", path) from error
    except _BROKEN as error:
        raise DataError(f"not a trial list, or damaged: {_line(error)}", path) from error
    if any(array.ndim != 1 or array.dtype != _ARRAYS[name] for name, array in arrays.items()):
        raise DataError("not a trial list: an array of another type", path)
    if not len(arrays["enroll"]) == len(arrays["test"]) == len(arrays["target"]) > 0:
        raise DataError("no trials in it, or arrays of different length", path)
    sides: list[list[str]] = []
    same = np.array_equal(arrays["enroll_ids"], arrays["test_ids"])
    for name in ("enroll", "test"):
        try:
            ids = (
                sides[0] if sides and same else arrays[f"{name}_ids"].tobytes().decode().removesuffix("\n").split("\n")
            )
        except UnicodeDecodeError:
            raise DataError(f"{name}_ids are not UTF-8", path) from None
        if not 0 <= arrays[name].min() <= arrays[name].max() < len(ids):
            raise DataError(f"an index of {name} is beyond the {len(ids)} ids", path)
        sides.append(ids)
    return Arrays(sides[0], sides[1], arrays["enroll"], arrays["test"], arrays["target"])


def _map(file: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """An array of an archive, mapped into memory rather than read: np.savez does not compress."""
    with file.open(member) as stream:
        if member.compress_type != zipfile.ZIP_STORED:
            return _read_array(stream, min(member.file_size, _MOST_EXPANDED))
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"version {version} of .npy")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
        header = stream.tell()
    path = Path(str(file.filename))
    with path.open("rb") as raw:
        raw.seek(member.header_offset + 26)
        lengths = struct.unpack("<HH", raw.read(4))  # of the name and of what follows it, before the data
    start = member.header_offset + 30 + sum(lengths) + header
    if dtype.hasobject or fortran_order or shape == (0,):
        raise ValueError("an array that is empty, or of objects")
    return np.asarray(np.memmap(path, dtype, "r", start, shape))


def _read_array(file: IO[bytes], size: int) -> np.ndarray:
    """The array that FILE, of SIZE bytes, begins with; numpy would ask for the memory that the header announces."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"version {version} of .npy")
    shape, fortran_order, dtype = readers[version](file)
    count = math.prod(shape)
    if dtype.hasobject or not dtype.itemsize or min(shape, default=0) < 0 or count * dtype.itemsize > size:
        raise ValueError(f"{count} values of type {dtype} are announced, {size} bytes are there")
    data = file.read(count * dtype.itemsize)
    array: np.ndarray = np.frombuffer(bytearray(data), dtype, count).reshape(shape, order="F" if fortran_order else "C")
    return array


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def digest(trials: Arrays) -> bytes:
    """32 bytes that tell the ordered pairs of ids from any others, however the ids are numbered."""
    enroll = hashes(name.encode() for name in trials.enroll_ids)
    test = enroll if trials.test_ids is trials.enroll_ids else hashes(name.encode() for name in trials.test_ids)
    state = hashlib.sha256()
    for start in range(0, len(trials.enroll), _ROWS):
        rows = slice(start, start + _ROWS)
        state.update(enroll[trials.enroll[rows]] * np.uint64(3) + test[trials.test[rows]])
    return state.digest()


def unordered_digest(trials: Arrays) -> bytes:
    """24 bytes that tell the pairs of ids and their labels from any others, in whatever order they stand."""
    enroll, test = (hashes(name.encode() for name in ids) for ids in (trials.enroll_ids, trials.test_ids))
    total = mixed = 0
    for start in range(0, len(trials.enroll), _ROWS):
        rows = slice(start, start + _ROWS)
        row = enroll[trials.enroll[rows]] * np.uint64(3) + test[trials.test[rows]] + trials.target[rows]
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # of splitmix64 (Steele et al. 2014)
            row = (row ^ (row >> np.uint64(shift))) * np.uint64(factor)
        row ^= row >> np.uint64(31)
        total, mixed = total + int(row.sum()), mixed + int((row * row).sum())
    return struct.pack("<3Q", len(trials.enroll), total % 2**64, mixed % 2**64)


def array_header(shape: tuple[int, ...]) -> bytes:
    """What stands before the values of a float32 array in a .npy file."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return head.getvalue()


def read_score_array(path: Path | str, count: int) -> tuple[np.ndarray, bytes]:
    """(scores (COUNT,), float32 or whatever float the file has; what follows them).

    Raises:
        DataError: no such file, not COUNT numbers, or cut short
    """
    try:
        with Path(path).open("rb") as file:
            values = _read_array(file, Path(path).stat().st_size)
            rest = file.read()
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror or error}", path) from error
    except _BROKEN as error:
        raise DataError(f"not a .npy file, or cut short: {_line(error)}", path) from error
    if values.ndim != 1 or values.dtype.kind != "f":
        raise DataError(f"scores are a vector of floats, not of shape {values.shape}, type {values.dtype}", path)
    if len(values) != count:
        raise DataError(f"{len(values)} scores for {count} trials", path)
    return values, rest
