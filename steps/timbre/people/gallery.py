"""People by their voices, in one SQLite file that lasts: enrolled, found again, renamed, taken elsewhere.

Opened by `Voice.gallery`. The file is gallery_store.py's, what is taken elsewhere gallery_archive.py's.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt

from timbre.people.enrolled_people import People
from timbre.people.gallery_store import COLUMNS, Store, insert
from timbre.people.packed_people import pack, verify
from timbre.people.person_names import clean, fold
from timbre.people.ranking import SAME_SAMPLES, Ranked, rank
from timbre.runtime.answers import Identified
from timbre.runtime.encoder import Encoding
from timbre.runtime.factors import Ints, Vectors
from timbre.runtime.llr import MEASURES
from timbre.runtime.scorer import Scorer
from timbre.runtime.tested_ranges import outside
from timbre.utils.errors import DataError

Keep = Literal["none", "path", "audio"]
KEEPS: tuple[Keep, ...] = ("none", "path", "audio")
Entries = tuple[Sequence[str], Vectors, Ints, Sequence[Mapping[str, float]]]


class Listener(Protocol):
    """What a gallery needs of a voice."""

    @property
    def scorer(self) -> Scorer:
        """From embeddings to decisions."""
        ...

    @property
    def network(self) -> str:
        """The checksum of what makes its embeddings."""
        ...

    def hear(self, source: Any) -> tuple[Any, Encoding]:
        """The sound SOURCE, and its encoding."""
        ...


@dataclass(frozen=True)
class Person:
    """Of a list: name; recordings; seconds of speech in them; of how many the audio, or its path, is kept; added: when
    the first was, UTC."""

    name: str
    recordings: int
    speech: float
    audio: int
    paths: int
    added: str


class Gallery:
    """People enrolled in the file PATH by a voice; see the README of this folder.

    Safe with several processes and threads. Another voice is refused, unless ANY_VOICE, for `re_enroll`; without one
    people can be listed, renamed, removed and exported.

    Raises:
        DataError: it is not a gallery, damaged, or enrolled with another network
    """

    def __init__(self, path: str | Path, voice: Listener | None, create: bool = True, any_voice: bool = False) -> None:
        self._store, self._with = Store(path, create), voice
        self.path = self._store.path
        self._cache = People()
        try:
            if voice is not None:
                self._claim(any_voice)
        except BaseException:
            self._store.close()
            raise

    @property
    def _voice(self) -> Listener:
        if self._with is None:
            raise DataError("was opened without a pack", self.path)
        return self._with

    def about(self) -> dict[str, str]:
        """`network`, the checksum of what made the embeddings, and `dim`."""
        with self._store.reading() as database:
            return dict(database.execute("SELECT key, value FROM about").fetchall())

    def _claim(self, any_voice: bool) -> None:
        about = {"network": self._voice.network, "dim": str(self._voice.scorer.dim)}
        known = self.about()
        if not known:
            with self._store.transaction() as database:
                for item in about.items():
                    database.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", item)
                known = dict(database.execute("SELECT key, value FROM about").fetchall())
        if {key: known.get(key) for key in about} != about and not any_voice:
            text = "was enrolled with another network than that of this pack; `timbre gallery re-enroll` makes its"
            raise DataError(f"{text} embeddings anew from recordings that were kept", self.path)

    def enroll(self, name: str, sources: Any, keep: Keep = "none") -> list[str]:
        """Adds recordings to NAME, who is new or not: all of them or, where one cannot be used, none.

        Args:
            name: in any script; Ann and ANN are one
            sources: a recording or several: paths, open files, (samples, rate)
            keep: of each the "audio" (as FLAC), its "path", or "none" of it beside embedding and measures

        Returns:
            what may spoil the enrolment, in words; a recording that NAME has already is not added again

        Raises:
            Unusable: too little speech, constant, ruined
            DataError: it cannot be read or written, a name that cannot be one
        """
        name = clean(name)
        if keep not in KEEPS:
            raise DataError(f"keep is '{keep}'; it is one of {', '.join(KEEPS)}")
        rows, told = [], []
        for source in as_list(sources):
            sound, encoded = self._voice.hear(source)
            told += [f"{encoded.name}: {text}" for text in (*encoded.warnings, *self._outside(encoded))]
            rows.append(_row(encoded, sound, source, keep))
        if not rows:
            raise DataError(f"no recordings of '{name}'")
        content = COLUMNS.index("content")
        with self._store.transaction() as database:
            database.execute("INSERT OR IGNORE INTO people (name, folded) VALUES (?, ?)", (name, fold(name)))
            [person] = database.execute("SELECT id FROM people WHERE folded = ?", (fold(name),)).fetchone()
            for row in rows:
                owners = database.execute(
                    "SELECT person, name FROM recordings JOIN people ON people.id = person WHERE content = ?",
                    (row[content],),
                ).fetchall()
                if any(owner == person for owner, _ in owners):
                    told.append(f"{row[COLUMNS.index('label')]}: {name} has this recording already; not added again")
                    continue
                told += [f"{row[COLUMNS.index('label')]}: also a recording of {other}" for _, other in owners]
                insert(database, person, row)
        pack(self._store, self._voice.scorer)
        return told

    def identify(self, source: Any, prior: float = 0.5, top: int = 5) -> Identified:
        """Who of all people speaks in SOURCE, or nobody of them.

        Args:
            source: a path, an open file or (samples, rate)
            prior: how probable it was, before listening, that it is one of them; all alike. 1: a closed set
            top: how many matches to tell

        Raises:
            DataError: it cannot be read, or a prior that makes no sense
        """
        try:
            _, encoded = self._voice.hear(source)
        except DataError as error:
            if error.status != 3:
                raise
            return Identified(None, reason=str(error), prior=prior)
        return self.identify_encoding(encoded, prior, top)

    def identify_encoding(self, encoding: Encoding, prior: float = 0.5, top: int = 5) -> Identified:
        """The same of a recording that was encoded before."""
        if not 0 < prior <= 1:
            raise DataError(f"a prior of {prior:g}; it must be above 0 and at most 1")
        people, scorer = self._all(), self._voice.scorer
        warnings = [*encoding.warnings, *self._outside(encoding)]
        if not people.parts:
            return Identified(None, reason="nobody is enrolled", warnings=tuple(warnings), prior=prior)
        measures = np.array([float(encoding.measures.get(name, np.nan)) for name in MEASURES])
        columns = [MEASURES.index(name) for name in scorer.measures]
        if np.isnan(measures[columns]).any() or np.isnan(people.sums[columns]).any():
            raise DataError("a recording lacks one of the measures that the pack takes: enroll anew", self.path)
        scores, llrs = people.compared(scorer, encoding.vector, measures)
        ranked: Ranked = rank(scorer, scores, llrs, prior, max(top, 2))
        if encoding.content and self._has(encoding.content):
            warnings.append(SAME_SAMPLES)
        return ranked.answer(people.names, top, prior, warnings)

    def _has(self, content: int) -> bool:
        with self._store.reading() as database:
            key = (f"{content:016x}",)
            return database.execute("SELECT 1 FROM recordings WHERE content = ?", key).fetchone() is not None

    def _outside(self, encoded: Encoding) -> list[str]:
        return outside({"seconds": encoded.speech, **encoded.measures}, self._voice.scorer.tested)

    def entries(self) -> Entries:
        """All people: names, mean embeddings (N, D), numbers of recordings (N,), mean measures."""
        people = self._all()
        if not people.parts:
            return [], np.zeros((0, self._voice.scorer.dim), np.float32), np.zeros(0, np.int64), []
        means, num_utts, table = people.arrays()
        measures = [
            {name: value for name, value in zip(MEASURES, row, strict=True) if value == value} for row in table.tolist()
        ]
        return people.names, means, num_utts, measures

    def __len__(self) -> int:
        """How many people there are."""
        with self._store.reading() as database:
            return int(database.execute("SELECT COUNT(*) FROM people").fetchone()[0])

    def names(self) -> list[str]:
        """All names, sorted."""
        return [one.name for one in self.people()]

    def people(self) -> list[Person]:
        """All, by name."""
        with self._store.reading() as database:
            rows = database.execute(
                "SELECT name, count(*), sum(speech), count(audio), count(path), min(enrolled) FROM people"
                " JOIN recordings ON person = people.id GROUP BY people.id"
            ).fetchall()
        return sorted((Person(*row) for row in rows), key=lambda one: (fold(one.name), one.name))

    def rename(self, name: str, new: str) -> None:
        """NAME is NEW from now on; DataError where there is nobody of that name, or somebody of the new one."""
        new = clean(new)
        with self._store.transaction() as database:
            person = self._find(database, name)
            other = database.execute("SELECT id, name FROM people WHERE folded = ?", (fold(new),)).fetchone()
            if other is not None and other[0] != person:
                raise DataError(f"there is somebody called '{other[1]}' already", self.path)
            database.execute("UPDATE people SET name = ?, folded = ? WHERE id = ?", (new, fold(new), person))

    def remove(self, name: str) -> None:
        """Forgets NAME, with embeddings and audio; DataError where there is nobody of that name."""
        with self._store.transaction() as database:
            database.execute("DELETE FROM people WHERE id = ?", (self._find(database, name),))

    def _find(self, database: Any, name: str) -> int:
        row = database.execute("SELECT id FROM people WHERE folded = ?", (fold(str(name)),)).fetchone()
        if row is None:
            raise DataError(f"there is nobody called '{' '.join(str(name).split())[:60]}'", self.path)
        return int(row[0])

    def check(self) -> None:
        """Looks the whole file through; DataError where it is damaged."""
        self._store.check()
        with self._store.reading() as database:
            verify(database, self.path)

    def export(self, path: str | Path) -> None:
        """Writes all people to PATH, one file, which `import_` reads; raises DataError where it cannot be written."""
        from timbre.people.gallery_archive import write_archive

        with self._store.reading() as database:
            write_archive(Path(path), database)

    def import_(self, path: str | Path) -> int:
        """Adds the people in PATH, which `export` wrote; how many recordings were new. All or none.

        Raises:
            DataError: it is no such file, damaged, or of another network
        """
        from timbre.people.gallery_archive import read_archive

        added = 0
        about = {"network": self._voice.network, "dim": self._voice.scorer.dim}
        with self._store.transaction() as database:
            for name, row in read_archive(Path(path), about):
                database.execute("INSERT OR IGNORE INTO people (name, folded) VALUES (?, ?)", (name, fold(name)))
                person = self._find(database, name)
                key = (person, row[COLUMNS.index("content")])
                if not database.execute("SELECT 1 FROM recordings WHERE person = ? AND content = ?", key).fetchone():
                    insert(database, person, row)
                    added += 1
        pack(self._store, self._voice.scorer)
        return added

    def re_enroll(self, progress: Callable[[int, int], None] = lambda done, total: None) -> int:
        """Makes all embeddings anew with this voice, from the audio that was kept or lies where it was; how many.

        Raises:
            DataError: a recording has neither, is not what it was, or cannot be used; nothing is changed then
        """
        with self._store.reading() as database:
            rows = database.execute(
                "SELECT recordings.id, name, label, path, content, audio IS NOT NULL FROM recordings"
                " JOIN people ON people.id = person"
            ).fetchall()
        if lost := [(name, label) for _, name, label, path, _, has_audio in rows if not has_audio and path is None]:
            text = f"{len(lost)} of {len(rows)} recordings were kept neither as audio nor by path"
            raise DataError(f"{text}, the first is {lost[0][1]} of {lost[0][0]}: enroll them again", self.path)
        made = []
        for number, (row_id, _, label, path, content, has_audio) in enumerate(rows):
            source: Any = path
            if has_audio:
                with self._store.reading() as database:
                    found = database.execute("SELECT audio FROM recordings WHERE id = ?", (row_id,)).fetchone()
                source = io.BytesIO(found[0]) if found else b""
            _, encoded = self._voice.hear(source)
            if f"{encoded.content:016x}" != content:
                raise DataError(f"{label} is not the recording that was enrolled: enroll it again", path or self.path)
            values = _row(encoded, None, None, "none")
            made.append((*values[: COLUMNS.index("content")], row_id))
            progress(number + 1, len(rows))
        names = ", ".join(f"{name} = ?" for name in COLUMNS[: COLUMNS.index("content")])
        with self._store.transaction() as database:
            now = {row[0] for row in database.execute("SELECT id FROM recordings")}
            if now - {row[0] for row in rows}:
                raise DataError("somebody was enrolled in the meantime; nothing was changed: try again", self.path)
            database.execute("DELETE FROM blocks")  # of the dimension that was
            database.executemany(f"UPDATE recordings SET {names} WHERE id = ?", made)
            for item in (("network", self._voice.network), ("dim", str(self._voice.scorer.dim))):
                database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", item)
            self._cache = People()
        pack(self._store, self._voice.scorer)
        return len(made)

    def stream(self, blocks: Iterable[npt.NDArray[Any]], rate: int, **options: Any) -> Iterator[Any]:
        """Turns with names, of sound that comes in BLOCKS (n,) at RATE Hz; OPTIONS: of StreamOptions."""
        from timbre.people.stream import Stream, follow
        from timbre.people.stream_options import StreamOptions

        voice: Any = self._voice
        return follow(Stream(voice.encoder, voice.scorer, rate, self, voice.vad(), StreamOptions(**options)), blocks)

    def close(self) -> None:
        """Lets go of the file."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _all(self) -> People:
        """Everybody, by what has changed since they were read last."""
        with self._store.reading() as database:
            before = self._cache
            made_by = database.execute("SELECT value FROM about WHERE key = 'network'").fetchone()
            if made_by != (self._voice.network,):
                raise DataError("is enrolled with another network by now than that of this pack", self.path)
            self._cache = people = before.refreshed(database, self._voice.scorer, self.path)
        if before.revision < 0:
            pack(self._store, self._voice.scorer, people.revision, people.parts)
        return people


def as_list(sources: Any) -> list[Any]:
    """SOURCES, or the one that it is."""
    pair = isinstance(sources, tuple) and len(sources) == 2 and isinstance(sources[0], np.ndarray)
    single = pair or isinstance(sources, str | Path) or hasattr(sources, "read") or hasattr(sources, "samples")
    return [sources] if single else list(sources)


def _row(encoded: Encoding, sound: Any, source: Any, keep: Keep) -> tuple[Any, ...]:
    """Values of COLUMNS."""
    path = None
    if keep == "path":
        if not isinstance(source, str | Path) or source == "-":
            raise DataError(f"{encoded.name} is no file: its path cannot be kept; keep its audio")
        path = str(Path(source).resolve())
    measures = encoded.measures
    return (
        np.ascontiguousarray(encoded.vector, "<f4").tobytes(), float(encoded.seconds), float(encoded.speech),
        *(float(measures[name]) for name in ("logdur", "snr", "magnitude")), measures.get("band"),
        f"{encoded.content:016x}", encoded.name, path, flac(sound) if keep == "audio" else None,
        datetime.now(UTC).isoformat(timespec="seconds"),
    )  # fmt: skip


def flac(sound: Any) -> bytes:
    """SOUND as FLAC: 16 bits where these hold it, otherwise 24."""
    import soundfile

    exact = np.array_equal(np.rint(sound.samples * np.float32(32768)), sound.samples * np.float32(32768))
    file = io.BytesIO()
    try:
        soundfile.write(file, sound.samples, sound.rate, "PCM_16" if exact else "PCM_24", format="FLAC")
    except (RuntimeError, ValueError) as error:
        raise DataError(f"its audio cannot be kept as FLAC: {error}", sound.name) from error
    return file.getvalue()
