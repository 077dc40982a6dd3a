"""The SQLite file of a gallery: its tables, opening and checking it, transactions. Called by gallery.py.

Tables, user_version 1, application_id "TMBR":

    about       key, value: network (checksum of what makes the embeddings), dim
    people      id, name (as it is shown), folded (by which it is found, once)
    recordings  id, person, vector (float32, little end first), seconds, speech, logdur, snr, magnitude, band (or NULL),
                content (hash of the samples, hexadecimal), label, path or audio (FLAC) where wished, enrolled (UTC)

and two that follow from these, packed_people.py's:

    changes     revision, person: the last change of each since it was packed, which triggers write
    blocks      id, revision, scorer (a hash of it), and of the people with ids from 4096 id on ids, names, num_utts,
                measures, means, and ready, what the scorer makes of these
"""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from timbre.utils.errors import DataError

APPLICATION, VERSION = 0x544D4252, 1
WAIT = 30.0  # seconds for another process to finish its transaction
_CHECKED = 1 << 26  # bytes: a larger file is looked through by `check` alone, which takes seconds
_SCHEMA = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, folded TEXT NOT NULL UNIQUE);
CREATE TABLE recordings (
    id INTEGER PRIMARY KEY,
    person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    vector BLOB NOT NULL, seconds REAL NOT NULL, speech REAL NOT NULL,
    logdur REAL NOT NULL, snr REAL NOT NULL, magnitude REAL NOT NULL, band REAL,
    content TEXT NOT NULL, label TEXT NOT NULL, path TEXT, audio BLOB, enrolled TEXT NOT NULL);
CREATE INDEX recordings_of ON recordings (person, id);
CREATE INDEX recordings_by_content ON recordings (content);
"""
_FOLLOWING = """
CREATE TABLE changes (revision INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL UNIQUE);
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, scorer TEXT NOT NULL,
    ids BLOB NOT NULL, names TEXT NOT NULL, num_utts BLOB NOT NULL, measures BLOB NOT NULL, means BLOB NOT NULL,
    ready BLOB NOT NULL);
"""
_NOTED = (  # what changes of whom; a program that knows nothing of blocks writes it too
    ("recording_added", "INSERT ON recordings", "NEW.person"),
    ("recording_removed", "DELETE ON recordings", "OLD.person"),
    ("recording_changed", "UPDATE OF vector, logdur, snr, magnitude, band ON recordings", "NEW.person"),
    ("person_renamed", "UPDATE OF name ON people", "NEW.id"),
)
COLUMNS = (
    "vector", "seconds", "speech", "logdur", "snr", "magnitude", "band", "content", "label", "path", "audio",
    "enrolled",
)  # fmt: skip


class Store:
    """The file PATH, made where CREATE allows it and there is none; for any thread, one at a time.

    Raises:
        DataError: it is not a gallery, damaged, of a later version, or cannot be opened
    """

    def __init__(self, path: str | Path, create: bool = True) -> None:
        self.path = Path(path)
        self._lock = threading.RLock()
        if not self.path.is_file() and (self.path.exists() or not create):
            raise DataError("is no file" if self.path.exists() else "no such gallery; `timbre enroll` makes one", path)
        with self._errors("cannot be opened"):
            self._database = sqlite3.connect(
                self.path, timeout=WAIT, isolation_level=None, check_same_thread=False, cached_statements=32
            )
        try:
            with self._errors("cannot be opened"):
                self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        run = self._database.execute
        tables = run("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not tables and self._pragma("application_id") == 0:
            self._make()
        if self._pragma("application_id") != APPLICATION:
            raise DataError("is not a gallery: a database of something else", self.path)
        if (version := self._pragma("user_version")) != VERSION:
            raise DataError(f"is a gallery of version {version}; this program knows {VERSION}", self.path)
        if self.path.stat().st_size <= _CHECKED:
            self.check()
        self._write_ahead()
        run("PRAGMA synchronous = FULL")  # what was confirmed is on the disk
        run("PRAGMA foreign_keys = ON")
        if not self._has_changes():  # made before there were any
            with self.transaction():
                if not self._has_changes():
                    self._note_changes()

    def _write_ahead(self) -> None:
        """Readers and a writer at once; SQLite does not wait for others by itself here."""
        end = time.monotonic() + WAIT
        while True:
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                    raise
            time.sleep(0.02)

    def _make(self) -> None:
        with self.transaction():
            if self._pragma("application_id") == APPLICATION:  # another process was faster
                return
            for statement in _SCHEMA.split(";"):
                self._database.execute(statement)
            self._note_changes()
            self._database.execute(f"PRAGMA user_version = {VERSION}")
            self._database.execute(f"PRAGMA application_id = {APPLICATION}")

    def _has_changes(self) -> bool:
        return self._database.execute("SELECT 1 FROM sqlite_master WHERE name = 'changes'").fetchone() is not None

    def _note_changes(self) -> None:
        """Of everybody from now on; all that are there have changed."""
        for statement in _FOLLOWING.split(";"):
            self._database.execute(statement)
        for name, event, person in _NOTED:
            self._database.execute(
                f"CREATE TRIGGER {name} AFTER {event} BEGIN DELETE FROM changes WHERE person = {person};"
                f" INSERT INTO changes (person) VALUES ({person}); END"
            )
        self._database.execute("INSERT INTO changes (person) SELECT id FROM people ORDER BY id")

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"PRAGMA {name}").fetchone()[0])

    def check(self) -> None:
        """Looks the whole file through; DataError where it is damaged."""
        with self._lock, self._errors("cannot be read"):
            found = self._database.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise DataError(f"is damaged: {' '.join(str(found).split())[:200]}", self.path)

    @contextmanager
    def transaction(self, wait: float = WAIT) -> Iterator[sqlite3.Connection]:
        """All that is written in the block, or nothing: confirmed and on the disk when it ends well. WAIT: seconds for
        another process to finish its own."""
        with self._lock, self._errors("nothing was changed"):
            self._database.execute(f"PRAGMA busy_timeout = {round(1000 * wait)}")
            try:
                self._database.execute("BEGIN IMMEDIATE")
            finally:
                self._database.execute(f"PRAGMA busy_timeout = {round(1000 * WAIT)}")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the file for all that is read in the block."""
        with self._lock, self._errors("cannot be read"):
            self._database.execute("BEGIN")
            try:
                yield self._database
            finally:
                with suppress(sqlite3.Error):
                    self._database.execute("COMMIT")

    def close(self) -> None:
        """Lets go of the file."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """SQLite's errors as one line."""
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise DataError("the gallery is closed", self.path) from error
        except sqlite3.Error as error:
            raise DataError(_told(error, what), self.path) from error


def _told(error: sqlite3.Error, what: str) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"another process has been writing it for {WAIT:g} s; {what}"
    if code == sqlite3.SQLITE_FULL:
        return f"the disk is full; {what}"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return "is damaged, or not a gallery"
    if code == sqlite3.SQLITE_READONLY:
        return f"is read-only; {what}"
    return f"{what}: {' '.join(str(error).split())}"


def insert(database: sqlite3.Connection, person: int, row: Sequence[Any]) -> None:
    """Adds a recording of PERSON; ROW: values of COLUMNS."""
    marks = ", ".join("?" * (1 + len(COLUMNS)))
    database.execute(f"INSERT INTO recordings (person, {', '.join(COLUMNS)}) VALUES ({marks})", (person, *row))
