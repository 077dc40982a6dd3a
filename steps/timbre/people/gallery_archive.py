"""A gallery to take elsewhere: one zip file of gallery.json, vectors.npy and the audio that was kept; no pickles.

gallery.json: format, version, network, dim, recordings, in the order of the rows of vectors.npy (float32), each with
the name of its person and the columns of the table recordings; `audio` names a member. Called by gallery.py.
"""

import io
import json
import math
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from timbre.people.gallery_store import COLUMNS
from timbre.people.person_names import clean
from timbre.runtime.whole_file import whole_file
from timbre.utils.errors import DataError

FORMAT, VERSION = "timbre-gallery", 1
_TABLE, _VECTORS = "gallery.json", "vectors.npy"
_MOST = 1 << 30  # bytes of the table, and of a recording's audio
_EPOCH = (1980, 1, 1, 0, 0, 0)  # of members: the same gallery makes the same file
_NUMBERS = ("seconds", "speech", "logdur", "snr", "magnitude")
_PLAIN = [name for name in COLUMNS if name not in ("vector", "audio")]


def write_archive(path: Path, database: sqlite3.Connection) -> None:
    """Writes PATH: all that is in DATABASE."""
    about = dict(database.execute("SELECT key, value FROM about").fetchall())
    dim = int(about["dim"])
    rows = database.execute(
        f"SELECT recordings.id, name, vector, audio IS NOT NULL, {', '.join(_PLAIN)} FROM recordings"
        " JOIN people ON people.id = person ORDER BY person, recordings.id"
    ).fetchall()
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as file:
        listed = []
        for number, (row, name, _, has_audio, *values) in enumerate(rows):
            audio = f"audio/{number:07d}.flac" if has_audio else None
            listed.append({"name": name, **dict(zip(_PLAIN, values, strict=True)), "audio": audio})
            if audio:
                found = database.execute("SELECT audio FROM recordings WHERE id = ?", (row,)).fetchone()
                file.writestr(zipfile.ZipInfo(audio, _EPOCH), found[0])
        table = {"format": FORMAT, "version": VERSION, "network": about["network"], "dim": dim, "recordings": listed}
        text = json.dumps(table, ensure_ascii=False, indent=1)
        file.writestr(zipfile.ZipInfo(_TABLE, _EPOCH), text, zipfile.ZIP_DEFLATED)
        vectors = io.BytesIO()
        matrix = np.frombuffer(b"".join(row[2] for row in rows), "<f4").reshape(len(rows), dim)
        np.lib.format.write_array(vectors, matrix, allow_pickle=False)
        file.writestr(zipfile.ZipInfo(_VECTORS, _EPOCH), vectors.getvalue())


def read_archive(path: Path, about: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """(name, values of COLUMNS) of each recording in PATH, which must be of the network and dim in ABOUT.

    Raises:
        DataError: no such file, something else, damaged, or of another network
    """
    try:
        with zipfile.ZipFile(path) as file:
            table = json.loads(_member(file, _TABLE, _MOST))
            if table["format"] != FORMAT or table["version"] != VERSION:
                raise ValueError(f"{str(table['format'])[:40]} {str(table['version'])[:10]}")
            for key, value in about.items():
                if table[key] != value:
                    raise DataError("holds a gallery of another network than that of this pack", path)
            dim, entries = int(about["dim"]), table["recordings"]
            vectors = _vectors(_member(file, _VECTORS, 4 * dim * len(entries) + 1024), (len(entries), dim))
            for entry, vector in zip(entries, vectors, strict=True):
                yield _recording(file, entry, vector)
    except FileNotFoundError:
        raise DataError("no such file", path) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path) from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, zipfile.BadZipFile, NotImplementedError,
            EOFError, RecursionError, RuntimeError, zlib.error) as error:  # fmt: skip
        text = " ".join(str(error).split())[:200]
        raise DataError(f"not a gallery that was exported, or damaged: {text}", path) from error


def _member(file: zipfile.ZipFile, name: str, most: int) -> bytes:
    """The member NAME of at most MOST bytes, its checksum verified."""
    info = file.getinfo(name)
    if info.file_size > most:
        raise ValueError(f"{name} has {info.file_size:,} bytes")
    with file.open(info) as member:
        data = member.read(most + 1)
    if len(data) != info.file_size:
        raise ValueError(f"{name} has another size than it says")
    return data


def _vectors(data: bytes, shape: tuple[int, int]) -> Any:
    matrix = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False, max_header_size=1000)
    if matrix.dtype != np.dtype("<f4") or matrix.shape != shape or not np.isfinite(matrix).all():
        raise ValueError(f"{_VECTORS} is not {shape[0]} embeddings of dimension {shape[1]}")
    return matrix


def _recording(file: zipfile.ZipFile, entry: Mapping[str, Any], vector: Any) -> tuple[str, tuple[Any, ...]]:
    numbers = {name: float(entry[name]) for name in _NUMBERS}
    band = None if entry["band"] is None else float(entry["band"])
    if not all(map(math.isfinite, [*numbers.values(), band or 0.0])):
        raise ValueError("a measure that is no number")
    content = str(entry["content"])
    if len(content) != 16 or int(content, 16) < 0:
        raise ValueError("a recording without the hash of its samples")
    texts = {name: str(entry[name])[:4096] for name in ("label", "enrolled")}
    where = None if entry["path"] is None else str(entry["path"])
    audio = None if entry["audio"] is None else _member(file, str(entry["audio"]), _MOST)
    values = {**numbers, "band": band, "content": content, **texts, "path": where, "audio": audio}
    values["vector"] = np.ascontiguousarray(vector, "<f4").tobytes()
    return clean(entry["name"]), tuple(values[name] for name in COLUMNS)
