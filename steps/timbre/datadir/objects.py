"""One Kaldi matrix or vector out of an open file, with every length checked before it is believed; for ark.py.

kaldiio is not asked to read: it takes a cut vector for a whole one, unpickles what a file tells it to, and decodes the
compressed formats with other roundings than Kaldi's. It does write them.
"""

import math
import os
import struct
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import numpy as np

from timbre.utils.errors import DataError
from timbre.utils.number_text import to_float

_DTYPES = {b"FV": "<f4", b"FM": "<f4", b"DV": "<f8", b"DM": "<f8"}
_INT32 = np.dtype([("size", "u1"), ("value", "<i4")])
_TEXT = b"["


class Header(NamedTuple):
    """What a binary object says of itself before its values: kind, shape, bytes to come, and the codec's own header."""

    kind: bytes
    shape: tuple[int, ...]
    nbytes: int
    codec: bytes | bytearray = b""


class Source:
    """An open file that stands at an object. PATH and NAME (the entry's) are for the message."""

    def __init__(self, file: BufferedReader, path: Path | str, name: str) -> None:
        self.file, self.path, self.name = file, path, name

    def error(self, problem: str) -> DataError:
        return DataError(f"{self.name} {problem}", self.path)

    def take(self, count: int) -> bytearray:
        """The next COUNT bytes, in memory that an array may be written to."""
        self.need(count)
        data = bytearray(count)
        self.file.readinto(data)
        return data

    def need(self, count: int) -> None:
        """Before memory is asked for: a damaged size may be of terabytes."""
        if os.fstat(self.file.fileno()).st_size - self.file.tell() < count:
            raise self.error("is cut short")

    def size(self) -> int:
        """An int32 as Kaldi writes it, behind a byte with its own size."""
        mark, value = struct.unpack("<bi", self.take(5))
        if mark != 4 or value < 0:
            raise self.error("is damaged: its header has no size")
        return int(value)


def read_object(source: Source) -> np.ndarray:
    """The object at SOURCE, which is left behind it: FM, FV, DM, DV, CM, CM2, CM3, int32 vector, or text.

    Raises:
        DataError: cut short, or something else
    """
    header = read_header(source)
    if header.kind == _TEXT:
        return _read_text(source)
    data = source.take(header.nbytes)
    if header.kind == b"\4":
        return np.frombuffer(data, _INT32)["value"].copy()
    if header.kind in _DTYPES:
        return np.frombuffer(data, _DTYPES[header.kind]).reshape(header.shape)
    if 0 in header.shape:
        # Kaldi writes 20 bytes for an empty matrix but reads 16. No key starts with NUL, so the other 4 can be told
        if (rest := source.file.read(4)) != bytes(4):
            source.file.seek(-len(rest), os.SEEK_CUR)
        return np.empty((0, 0), np.float32)
    return _decode(header, data)


def read_header(source: Source) -> Header:
    """The header of the object at SOURCE, which is left at its values; DataError when the file cannot hold them."""
    if (mark := source.file.read(2)) != b"\0B":
        if not mark:
            raise source.error("is cut short")
        source.file.seek(-len(mark), os.SEEK_CUR)
        return Header(_TEXT, (), 0)
    kind = bytes(source.take(1))
    if kind == b"\4":  # an int32 vector has no name
        source.file.seek(-1, os.SEEK_CUR)
        count = source.size()
        header = Header(kind, (count,), _INT32.itemsize * count)
    else:
        while not kind.endswith(b" ") and len(kind) < 4:
            kind += source.take(1)
        header = _read_float_header(source, kind.rstrip(b" "))
    source.need(header.nbytes)
    return header


def _read_float_header(source: Source, kind: bytes) -> Header:
    if kind in _DTYPES:
        shape = (source.size(),) if kind.endswith(b"V") else (source.size(), source.size())
        return Header(kind, shape, math.prod(shape) * np.dtype(_DTYPES[kind]).itemsize)
    if kind not in (b"CM", b"CM2", b"CM3"):
        raise source.error("is not a matrix or a vector")
    codec = source.take(16)  # float minimum and range, int32 rows and columns
    rows, cols = struct.unpack("<8xii", codec)
    if rows < 0 or cols < 0:
        raise source.error("is damaged: its header has no size")
    nbytes = {b"CM": (rows + 8) * cols, b"CM2": 2 * rows * cols, b"CM3": rows * cols}[kind]
    return Header(kind, (rows, cols), nbytes, codec)


def _decode(header: Header, data: bytearray) -> np.ndarray:
    """Values of a compressed matrix, rounded where Kaldi's CompressedMatrix::CopyToMat rounds: the same bits."""
    values: np.ndarray
    rows, cols = header.shape
    low, span = np.frombuffer(header.codec, "<f4", 2)
    if header.kind != b"CM":
        dtype, top = ("<u2", 65535.0) if header.kind == b"CM2" else ("u1", 255.0)
        steps = np.frombuffer(data, dtype).reshape(rows, cols).astype(np.float32)
        values = low + steps * np.float32(float(span) * (1 / top))
        return values
    heads = np.frombuffer(data, "<u2", 4 * cols).reshape(cols, 4).astype(np.float32)
    codes = np.frombuffer(data, np.uint8, offset=8 * cols).reshape(cols, rows).T
    # four percentiles of each column, and between them straight lines: codes 0 to 64, to 192, to 255
    p0, p25, p75, p100 = (low + span * np.float32(1.52590218966964e-05) * heads).T
    steps = codes.astype(np.float32)
    lower = p0 + ((p25 - p0) * steps).astype(np.float64) * (1 / 64.0)
    middle = p25 + ((p75 - p25) * (steps - 64)).astype(np.float64) * (1 / 128.0)
    upper = p75 + ((p100 - p75) * (steps - 192)).astype(np.float64) * (1 / 63.0)
    values = np.where(codes <= 64, lower, np.where(codes <= 192, middle, upper)).astype(np.float32)
    return values


def _read_text(source: Source) -> np.ndarray:
    """A vector, "[ 1 2 3 ]", or a matrix with a row on each line."""
    lines = [source.file.readline().lstrip()]
    if not lines[0].startswith(_TEXT):
        raise source.error("is not a matrix or a vector")
    while b"]" not in lines[-1]:
        lines.append(source.file.readline())
        if not lines[-1]:
            raise source.error("is cut short")
    lines[0] = lines[0].removeprefix(_TEXT)
    lines[-1] = lines[-1].partition(b"]")[0]
    try:
        rows = np.array([[to_float(value) for value in line.split()] for line in lines if line.strip()], np.float32)
    except ValueError:  # not numbers, or rows of different lengths
        raise source.error("is not a matrix or a vector") from None
    return rows if len(lines) > 1 else rows.reshape(-1)
