"""Everybody of a gallery at one moment, ready to be searched. Read by gallery.py where the file has changed.

A million of dimension 256 are 2 GB: the means, and what scores are made of.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from timbre.runtime.factors import Floats, Ints, Vectors
from timbre.runtime.llr import MEASURES
from timbre.runtime.scorer import Prepared, Scorer
from timbre.utils.errors import DataError

_FETCHED = 1 << 14  # rows at a time


@dataclass(frozen=True)
class People:
    """names: in the order of enrolment; means: (N, D); num_utts: (N,); measures: (N, 4), those of MEASURES, means, band
    NaN where there is none; ready: what the scorer makes of them; sums: of measures, (4,);
    version: of the file, when it was read."""

    version: tuple[int, int]
    names: list[str]
    means: Vectors
    num_utts: Ints
    measures: Floats
    ready: Prepared
    sums: Floats

    @classmethod
    def read(cls, database: sqlite3.Connection, scorer: Scorer, version: tuple[int, int], path: Path) -> Self:
        """All that is in DATABASE; DataError where it is damaged. PATH is for messages."""
        dim = scorer.dim
        names = dict(database.execute("SELECT id, name FROM people").fetchall())
        count = int(database.execute("SELECT count(*) FROM recordings").fetchone()[0])
        vectors, table = np.empty((count, dim), "<f4"), np.empty((count, len(MEASURES)))
        persons = np.empty(count, np.int64)
        found = database.execute(f"SELECT person, vector, {', '.join(MEASURES)} FROM recordings ORDER BY person, id")
        needed = [column for column, name in enumerate(MEASURES) if name != "band"]
        begin = 0
        while rows := found.fetchmany(_FETCHED):
            part = slice(begin, begin + len(rows))
            data = b"".join(row[1] for row in rows)
            if len(data) != 4 * dim * len(rows):
                raise DataError("is damaged: embeddings of another dimension", path)
            vectors[part] = np.frombuffer(data, "<f4").reshape(-1, dim)
            persons[part], table[part] = [row[0] for row in rows], np.array([row[2:] for row in rows], np.float64)
            if not (np.isfinite(vectors[part]).all() and np.isfinite(table[part][:, needed]).all()):
                raise DataError("is damaged: embeddings that are no numbers", path)
            begin += len(rows)
        starts = np.flatnonzero(np.diff(persons, prepend=-1))
        counts = np.diff(np.append(starts, count))
        if len(starts) < count:
            vectors = _group_means(vectors, starts, counts)
            table = np.add.reduceat(table, starts, axis=0) / counts[:, None]
        means = vectors.astype(np.float32, copy=False)
        return cls(
            version,
            [names[row] for row in persons[starts].tolist()],
            means,
            counts,
            table,
            scorer.enrolled(means, counts),
            table.sum(axis=0),
        )


def _group_means(vectors: Vectors, starts: Ints, counts: Ints) -> Vectors:
    """Means of consecutive rows of VECTORS (M, D), COUNTS[i] from STARTS[i] on; in double precision, some at a time."""
    means = np.empty((len(starts), vectors.shape[1]), np.float32)
    for first in range(0, len(starts), _FETCHED):
        part = slice(first, first + _FETCHED)
        begin, end = int(starts[part][0]), int(starts[part][-1] + counts[part][-1])
        chosen = vectors[begin:end].astype(np.float64)
        means[part] = np.add.reduceat(chosen, starts[part] - begin, axis=0) / counts[part, None]
    return means
