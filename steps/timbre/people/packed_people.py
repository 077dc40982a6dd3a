"""What is known of people of a gallery, from its rows or in blocks that are read at once, and what of it has changed.

A block holds the people with ids from 4096 n on as they were at its revision; whoever has changed since is listed in
the table changes, by triggers, so that a reader needs the blocks and changes after the revision that it knows. Blocks
follow from the rows: they are written where many have changed. Called by enrolled_people.py and gallery.py.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from timbre.people.gallery_store import Store
from timbre.runtime.factors import Floats, Ints, Vectors, woven
from timbre.runtime.llr import MEASURES
from timbre.runtime.scorer import Prepared, Scorer
from timbre.utils.errors import DataError

BLOCK = 1 << 12  # ids of a block: of the format of the file
PACKED = 1 << 14  # people who have changed: more are packed
_ASKED = 512  # rows of SQL at a time
_NEEDED = [column for column, name in enumerate(MEASURES) if name != "band"]


@dataclass(frozen=True)
class Enrolled:
    """People by id, ascending: ids (N,); names; means of their embeddings (N, D); num_utts (N,), of how many; measures
    (N, 4), those of MEASURES, means, band NaN where there is none."""

    ids: Ints
    names: Sequence[str]
    means: Vectors
    num_utts: Ints
    measures: Floats

    @classmethod
    def of_rows(cls, database: sqlite3.Connection, ids: Ints, dim: int, path: Path) -> Self:
        """Those with IDS, ascending, who have recordings; DataError where these are damaged. PATH is for messages."""
        rows: list[Any] = []
        for first in range(0, len(ids), _ASKED):
            asked = ids[first : first + _ASKED].tolist()
            rows += database.execute(
                f"SELECT person, name, vector, {', '.join(MEASURES)} FROM recordings JOIN people ON people.id = person"
                f" WHERE person IN ({', '.join('?' * len(asked))}) ORDER BY person, recordings.id",
                asked,
            ).fetchall()
        if any(len(row[2]) != 4 * dim for row in rows):
            raise DataError("is damaged: embeddings of another dimension", path)
        vectors = np.frombuffer(b"".join(row[2] for row in rows), "<f4").reshape(len(rows), dim)
        table = np.array([row[3:] for row in rows], np.float64).reshape(len(rows), len(MEASURES))
        if not (np.isfinite(vectors).all() and np.isfinite(table[:, _NEEDED]).all()):
            raise DataError("is damaged: embeddings that are no numbers", path)
        persons = np.array([row[0] for row in rows], np.int64)
        starts = np.flatnonzero(np.diff(persons, prepend=-1))
        counts = np.diff(np.append(starts, len(rows)))
        if len(starts) < len(rows):
            vectors = np.add.reduceat(vectors.astype(np.float64), starts, axis=0) / counts[:, None]
            table = np.add.reduceat(table, starts, axis=0) / counts[:, None]
        names = [rows[row][1] for row in starts.tolist()]
        return cls(persons[starts], names, vectors.astype(np.float32, copy=False), counts, table)

    def columns(self) -> tuple[Any, ...]:
        """Of their block: ids, names, num_utts, measures, means."""
        arrays = (self.ids, "<i8"), (self.num_utts, "<i8"), (self.measures, "<f8"), (self.means, "<f4")
        ids, *others = (np.ascontiguousarray(array, kind).tobytes() for array, kind in arrays)
        return ids, "\n".join(self.names), *others

    def merged(self, keep: Ints, new: "Enrolled", order: Ints) -> "Enrolled":
        """The rows KEEP of these, and NEW, in ORDER: see `merging`."""
        names = [self.names[row] for row in keep.tolist()] + list(new.names)
        ids, means, num_utts, measures = (
            woven(getattr(self, name), keep, getattr(new, name), order)
            for name in ("ids", "means", "num_utts", "measures")
        )
        return Enrolled(ids, [names[row] for row in order.tolist()], means, num_utts, measures)


@dataclass(frozen=True)
class Part:
    """People, and ready: what a scorer makes of them; sums: of their measures, (4,)."""

    enrolled: Enrolled
    ready: Prepared
    sums: Floats

    @classmethod
    def of(cls, enrolled: Enrolled, scorer: Scorer, ready: Prepared | None = None) -> Self:
        """ENROLLED, and what SCORER makes of them, where that is not READY."""
        if ready is None:
            ready = scorer.enrolled(enrolled.means, enrolled.num_utts)
        return cls(enrolled, ready, enrolled.measures.sum(axis=0))

    @classmethod
    def of_block(cls, database: sqlite3.Connection, number: int, scorer: Scorer, path: Path) -> Self:
        """Those in the block NUMBER, nobody where there is none; DataError where it is damaged."""
        enrolled, key, ready = read_block(database, number, scorer.dim, path)
        if key != scorer.key or not len(enrolled.ids):
            return cls.of(enrolled, scorer)
        try:
            return cls.of(enrolled, scorer, Prepared.of_bytes(ready, enrolled.num_utts, scorer.cohort is not None))
        except ValueError:
            raise DataError("is damaged: a block of another size", path) from None

    def changed(self, ids: Ints, new: Enrolled, scorer: Scorer) -> "Part":
        """Those with IDS are NEW, or gone; all others stay as they were prepared."""
        if not len(ids):
            return self
        keep, order = merging(self.enrolled, ids, new)
        ready = self.ready.merged(keep, scorer.enrolled(new.means, new.num_utts), order)
        return Part.of(self.enrolled.merged(keep, new, order), scorer, ready)


def read_block(database: sqlite3.Connection, number: int, dim: int, path: Path) -> tuple[Enrolled, str, bytes]:
    """People, scorer and ready of the block NUMBER; nobody where there is none."""
    columns = "ids, num_utts, measures, means, names, scorer, ready"
    row = database.execute(f"SELECT {columns} FROM blocks WHERE id = ?", (number,)).fetchone()
    *arrays, text, key, ready = row or (b"", b"", b"", b"", "", "", b"")
    size, names = len(arrays[0]) // 8, text.split("\n") if arrays[0] else []
    if [*map(len, arrays), len(names)] != [8 * size, 8 * size, 8 * len(MEASURES) * size, 4 * dim * size, size]:
        raise DataError("is damaged: a block of another size", path)
    ids, num_utts, measures, means = map(np.frombuffer, arrays, ("<i8", "<i8", "<f8", "<f4"))
    found = Enrolled(ids, names, means.reshape(size, dim), num_utts, measures.reshape(size, len(MEASURES)))
    return found, key, ready


def merging(before: Enrolled, changed: Ints, new: Enrolled) -> tuple[Ints, Ints]:
    """Of people BEFORE, of whom CHANGED (ids) are NEW, or gone: rows that stay; the order of these and NEW by id."""
    keep = np.flatnonzero(~np.isin(before.ids, changed))
    return keep, np.argsort(np.concatenate([before.ids[keep], new.ids]), kind="stable")


def revision(database: sqlite3.Connection) -> int:
    """Of the last change; 0 before any."""
    row = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'changes'").fetchone()
    return int(row[0]) if row else 0


def changed_since(database: sqlite3.Connection, known: int) -> dict[int, Ints]:
    """Who has changed after the revision KNOWN and is not packed: ids, ascending, by the number of their block."""
    rows = database.execute("SELECT person FROM changes WHERE revision > ?", (known,)).fetchall()
    ids = np.sort(np.array(rows, np.int64).reshape(-1))
    starts = np.flatnonzero(np.diff(ids // BLOCK, prepend=-1))
    return {int(part[0]) // BLOCK: part for part in np.split(ids, starts[1:]) if len(part)}


def packed_since(database: sqlite3.Connection, known: int) -> set[int]:
    """Numbers of blocks that were packed with changes after the revision KNOWN."""
    return {row[0] for row in database.execute("SELECT id FROM blocks WHERE revision > ?", (known,))}


def pack(store: Store, scorer: Scorer, known: int = -1, parts: Mapping[int, Part] = {}) -> None:
    """Packs those who have changed, where they are many, and what SCORER makes of all. PARTS: as they are at the
    revision KNOWN. Where nothing can be written, or another process is writing, somebody does it another time."""
    with suppress(DataError):
        with store.reading() as database:
            others = database.execute("SELECT id FROM blocks WHERE scorer != ?", (scorer.key,)).fetchall()
            many = database.execute("SELECT count(*) FROM changes").fetchone()[0] > PACKED
            numbers = {row[0] for row in others} | (changed_since(database, -1).keys() if many else set())
        for number in sorted(numbers):
            with store.transaction(wait=0) as database:
                part = parts.get(number) if known == revision(database) else None
                _pack(database, number, part, scorer, store.path)


def _pack(database: sqlite3.Connection, number: int, part: Part | None, scorer: Scorer, path: Path) -> None:
    span = number * BLOCK, (number + 1) * BLOCK - 1
    if part is None:
        rows = database.execute("SELECT person FROM changes WHERE person BETWEEN ? AND ? ORDER BY person", span)
        ids = np.array(rows.fetchall(), np.int64).reshape(-1)
        part = Part.of_block(database, number, scorer, path)
        part = part.changed(ids, Enrolled.of_rows(database, ids, scorer.dim, path), scorer)
    columns = *part.enrolled.columns(), scorer.key, part.ready.to_bytes()
    database.execute(
        "INSERT OR REPLACE INTO blocks (id, revision, ids, names, num_utts, measures, means, scorer, ready)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (number, revision(database), *columns)
    )  # fmt: skip
    database.execute("DELETE FROM changes WHERE person BETWEEN ? AND ?", span)


def verify(database: sqlite3.Connection, path: Path) -> None:
    """Compares blocks with the rows that they follow from; DataError where they do not say the same."""
    dim = int((database.execute("SELECT value FROM about WHERE key = 'dim'").fetchone() or ("0",))[0])
    changes = changed_since(database, -1)
    for (number,) in database.execute("SELECT id FROM blocks").fetchall():
        span = number * BLOCK, (number + 1) * BLOCK - 1
        found = database.execute("SELECT id FROM people WHERE id BETWEEN ? AND ? ORDER BY id", span).fetchall()
        changed = changes.get(number, np.zeros(0, np.int64))
        ids = np.setdiff1d(np.array(found, np.int64).reshape(-1), changed)
        block, rows = read_block(database, number, dim, path)[0], Enrolled.of_rows(database, ids, dim, path)
        keep, order = merging(block, changed, nobody := Enrolled.of_rows(database, ids[:0], dim, path))
        if block.merged(keep, nobody, order).columns() != rows.columns():
            raise DataError(
                f"is damaged: block {number} is not what its recordings are; export it and import that", path
            )
