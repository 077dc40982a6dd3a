"""Kaldi archives (ark/scp): how features, VAD decisions and embeddings travel between the steps.

`ArkWriter`, `read_mat`, `read_ark` go entry by entry; `read_vectors`, `write_vectors` take a whole set of embeddings.
"""

import mmap
import os
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

import numpy as np
from kaldiio import matio

from timbre.datadir.objects import Source, read_header, read_object
from timbre.datadir.tables import check_id, read_table, write_table
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

Compression = Literal["none", "CM", "CM2", "CM3"]

# Kaldi's method numbers; 1 is what `copy-feats --compress=true` uses: CM, but CM2 for matrices of at most 8 rows
_METHODS: dict[str, int | None] = {"none": None, "CM": 1, "CM2": 3, "CM3": 5}
_FLOAT_VECTOR = b"\0BFV \4"  # followed by the dimension, int32, and the values
_HEAD = len(_FLOAT_VECTOR) + 4
_LONGEST_KEY = 1 << 16  # bytes; what has no blank for so long is no archive
_RX = re.compile(r"(?P<path>.*?)(:(?P<offset>[0-9]+))?(\[(?P<range>[0-9:, ]*)\])?", re.DOTALL)
_RANGE = re.compile(r"(\d+):(\d+)|:?")


class ArkWriter:
    """Writes an archive entry by entry; the file appears under its name only when the `with` block ends well.

    Args:
        path: the archive
        compression: Kaldi's lossy formats, for matrices only: CM one byte a value scaled a column, CM2 two bytes,
            CM3 one byte, both scaled by the matrix

    Attributes:
        scp: entry -> "path:offset", complete when the block has ended
    """

    def __init__(self, path: Path | str, compression: Compression = "none") -> None:
        if compression not in _METHODS:
            raise DataError(f"compression '{compression}' is none of {', '.join(_METHODS)}", path)
        self.path = Path(path)
        self.scp: dict[str, str] = {}
        self._method = _METHODS[compression]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._file: IO[bytes] = self._stack.enter_context(atomic_write(self.path, "wb"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def write(self, key: str, array: np.ndarray) -> None:
        """Adds ARRAY, (rows, cols) or (dim,), as float32 (float64 stays float64).

        Raises:
            DataError: the key is empty, has blanks or is already there; NaN or infinity in a matrix to compress
        """
        check_id(key, self.path)
        if key in self.scp:
            raise DataError(f"entry '{key}' is written twice", self.path)
        array = np.ascontiguousarray(array, np.float64 if array.dtype == np.float64 else np.float32)
        if array.ndim == 2 and not array.size:
            array = array.reshape(0, 0)  # Kaldi takes no other empty matrix
        method = self._method if array.ndim == 2 and array.size else None
        if method is not None and not np.isfinite(array).all():
            raise DataError(f"entry '{key}' has NaN or infinite values and cannot be compressed", self.path)
        self._file.write(key.encode() + b" ")
        self.scp[key] = f"{self.path}:{self._file.tell()}"
        matio.write_array(self._file, array, "<", method)


def read_mat(rx: str, key: str = "") -> np.ndarray:
    """One object: "file.ark:offset", or a file that holds nothing else ("mean.vec"); Kaldi's "[first:last]" may follow.

    Args:
        rx: where it is
        key: the entry's, for the message

    Returns:
        (rows, cols) or (dim,), float32, or float64 where the file has doubles; compressed matrices are decoded

    Raises:
        DataError: no such file, cut short, or not a Kaldi matrix or vector
    """
    path, offset, bounds = split_rx(rx)
    with _object_at(path, offset, key) as source:
        array = read_object(source)
    if len(bounds) > array.ndim:
        raise DataError(f"a range of {len(bounds)} dimensions, and there are {array.ndim}", rx)
    return array[bounds] if bounds else array


def read_ark(path: Path | str) -> Iterator[tuple[str, np.ndarray]]:
    """(key, array) of every entry of an archive, binary or text, in file order. Raises as `read_mat`."""
    with _opened(path) as file:
        while (key := _read_key(file, path)) is not None:
            yield key, read_object(Source(file, path, f"entry '{key}'"))


def read_shape(rx: str) -> tuple[int, ...]:
    """Shape of the object at RX, from its header alone where it has one. Raises as `read_mat`."""
    path, offset, bounds = split_rx(rx)
    with _object_at(path, offset) as source:
        shape = () if bounds else read_header(source).shape
    return shape or read_mat(rx).shape


def split_rx(rx: str) -> tuple[str, int, tuple[slice, ...]]:
    """(path, offset, row and column slices or ()) of "path:offset[first:last,first:last]", where `last` is included."""
    match = _RX.fullmatch(rx)
    assert match, "the expression matches any text"
    if len(match["offset"] or "") > 18 or len(match["range"] or "") > 80:
        raise DataError(f"no place in a file: '{rx[:200]}'")
    bounds = []
    for part in match["range"].split(",") if match["range"] else ():
        if not (bound := _RANGE.fullmatch(part.strip())):
            raise DataError(f"not a range of rows and columns: '{rx}'")
        bounds.append(slice(int(bound[1]), int(bound[2]) + 1) if bound[1] else slice(None))
    return match["path"], int(match["offset"] or 0), tuple(bounds)


@contextmanager
def _object_at(path: str, offset: int, key: str = "") -> Iterator[Source]:
    with _opened(path) as file:
        file.seek(offset)
        yield Source(file, path, f"entry '{key}'" if key else f"the object at byte {offset}")


@contextmanager
def _opened(path: Path | str) -> Iterator[BufferedReader]:
    try:
        with Path(path).open("rb") as file:
            yield file
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror or error}", path) from error


def _read_key(file: IO[bytes], path: Path | str) -> str | None:
    key = bytearray()
    while (char := file.read(1)) != b" ":
        if not char or char == b"\n" or len(key) > _LONGEST_KEY:
            if not char and not key:
                return None
            raise DataError("cut short, or not a Kaldi archive", path)
        key += char
    try:
        return key.decode()
    except UnicodeDecodeError:
        raise DataError("not a Kaldi archive", path) from None


def read_vectors(path: Path | str) -> tuple[list[str], np.ndarray]:
    """All vectors of an archive, or of an .scp into one archive or several.

    Returns:
        ids in file order, and their vectors (num_ids, dim) float32

    Raises:
        DataError: cut short, not vectors, different dimensions, an id twice, NaN or infinite values, no vector at all
    """
    path = Path(path)
    if path.suffix == ".scp":
        ids, vectors = _vectors_of_scp(path)
    else:
        ids, vectors = _vectors_of_ark(path)
    if not ids:
        raise DataError("no vectors in it", path)
    if len(set(ids)) < len(ids):
        raise DataError(f"'{Counter(ids).most_common(1)[0][0]}' is there twice", path)
    with np.errstate(all="ignore"):
        sums = vectors.sum(axis=1)  # finite but for the rows to look at
    for row in np.flatnonzero(~np.isfinite(sums)):
        if not np.isfinite(vectors[row]).all():
            raise DataError(f"the vector of '{ids[row]}' has NaN or infinite values", path)
    return ids, vectors


def write_vectors(stem: Path | str, ids: Sequence[str], vectors: np.ndarray) -> None:
    """Writes STEM.ark and STEM.scp, one float32 vector an id, in the order given.

    Args:
        stem: path without .ark
        ids: their names
        vectors: (num_ids, dim)

    Raises:
        DataError: an id twice, empty or with a blank
    """
    stem = Path(stem)
    ark, scp = stem.with_name(stem.name + ".ark"), stem.with_name(stem.name + ".scp")
    if vectors.ndim != 2 or len(vectors) != len(ids):
        raise DataError(f"{len(ids)} ids, but vectors of shape {vectors.shape}", ark)
    for name in ids:
        check_id(name, ark)
    if len(set(ids)) < len(ids):
        raise DataError(f"'{Counter(ids).most_common(1)[0][0]}' is there twice", ark)
    head = _FLOAT_VECTOR + struct.pack("<i", vectors.shape[1])
    heads = [key.encode() + b" " + head for key in ids]
    ends = np.cumsum([len(name) for name in heads]) + 4 * vectors.shape[1] * np.arange(len(ids)) - _HEAD
    with atomic_write(ark, "wb") as file:
        for start in range(0, len(ids), 4096):
            block = np.ascontiguousarray(vectors[start : start + 4096], "<f4")
            rows = [row.tobytes() for row in block]
            file.write(b"".join(chain.from_iterable(zip(heads[start : start + 4096], rows, strict=True))))
        scp.unlink(missing_ok=True)  # an old one would point into the new archive
    write_table(scp, dict(zip(ids, (f"{ark}:{end}" for end in ends.tolist()), strict=True)))


def _vectors_of_scp(scp: Path) -> tuple[list[str], np.ndarray]:
    table = read_table(scp)
    entries: dict[str, tuple[list[int], list[int]]] = {}  # archive -> rows of the result, offsets in the archive
    for row, place in enumerate(table.values()):
        ark, _, offset = place.rpartition(":")
        if not offset.isdecimal() or not offset.isascii() or len(offset) > 18:
            return list(table), _stack(scp, ((key, read_mat(rx, key)) for key, rx in table.items()))
        rows, offsets = entries.setdefault(ark, ([], []))
        rows.append(row)
        offsets.append(int(offset))
    vectors: np.ndarray | None = None
    for ark, (rows, offsets) in entries.items():
        part = _gather(ark, np.array(offsets, np.int64))
        if part is None or (vectors is not None and part.shape[1] != vectors.shape[1]):
            return list(table), _stack(scp, ((key, read_mat(rx, key)) for key, rx in table.items()))
        if len(entries) == 1:
            return list(table), part
        if vectors is None:
            vectors = np.empty((len(table), part.shape[1]), np.float32)
        vectors[rows] = part
    return list(table), np.empty((0, 0), np.float32) if vectors is None else vectors


def _vectors_of_ark(ark: Path) -> tuple[list[str], np.ndarray]:
    ids, offsets = _scan(ark)
    vectors = _gather(ark, np.array(offsets, np.int64)) if ids else None
    if vectors is not None:
        return ids, vectors
    ids = []

    def entries() -> Iterator[tuple[str, np.ndarray]]:
        for key, array in read_ark(ark):
            ids.append(key)
            yield key, array

    vectors = _stack(ark, entries())
    return ids, vectors


def _scan(ark: Path) -> tuple[list[str], list[int]]:
    """Ids and offsets of the entries of an archive of float vectors; nothing when it holds anything else."""
    ids: list[bytes] = []
    offsets: list[int] = []
    with _map(ark) as data:
        position, size = 0, len(data)
        while position < size:
            start = data.find(_FLOAT_VECTOR, position, position + _LONGEST_KEY)
            if start < 0 or start + _HEAD > size or data.find(b" ", position, start) != start - 1:
                return [], []
            ids.append(data[position : start - 1])
            offsets.append(start)
            position = start + _HEAD + 4 * int.from_bytes(data[start + _HEAD - 4 : start + _HEAD], "little")
    try:
        return [key.decode() for key in ids], offsets
    except UnicodeDecodeError:
        return [], []


def _gather(ark: Path | str, offsets: np.ndarray) -> np.ndarray | None:
    """Float vectors at OFFSETS, (num_offsets, dim) float32; None when some is not a whole one or dimensions differ."""
    with _map(ark) as data:
        size = len(data)
        if len(offsets) == 0 or offsets.max() + _HEAD > size:
            return None
        heads = _take(data, offsets, _HEAD)
        head = heads[0].tobytes()
        if head[:-4] != _FLOAT_VECTOR or (heads != heads[0]).any():
            return None
        dim = int.from_bytes(head[-4:], "little")
        if offsets.max() + _HEAD + 4 * dim > size:
            return None
        return _take(data, offsets + _HEAD, 4 * dim).view("<f4")


def _take(data: mmap.mmap, offsets: np.ndarray, width: int) -> np.ndarray:
    """WIDTH bytes at each of OFFSETS, (num_offsets, WIDTH) uint8: one gather over every position there could be."""
    if width == 0:
        return np.empty((len(offsets), 0), np.uint8)
    windows = np.ndarray((len(data) - width + 1,), f"V{width}", buffer=data, strides=(1,))
    taken: np.ndarray = windows[offsets].view(np.uint8).reshape(-1, width)
    return taken


@contextmanager
def _map(path: Path | str) -> Iterator[mmap.mmap]:
    with _opened(path) as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise DataError("the file is empty", path)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def _stack(path: Path, entries: Iterable[tuple[str, np.ndarray]]) -> np.ndarray:
    """The slow way, for doubles, text and whatever is wrong: it says which entry is."""
    rows: list[np.ndarray] = []
    for key, array in entries:
        if array.ndim != 1:
            raise DataError(f"'{key}' is a matrix of shape {array.shape}; a vector is wanted", path)
        if rows and len(array) != len(rows[0]):
            raise DataError(f"'{key}' has dimension {len(array)}, those before it {len(rows[0])}", path)
        rows.append(array.astype(np.float32))
    return np.stack(rows) if rows else np.empty((0, 0), np.float32)
