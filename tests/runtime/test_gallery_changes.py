"""What a gallery reads again after a change, and blocks: they say what the rows say, whoever changed what and when."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.made_voices import RATE, made_voice, samples_of
from timbre.people import packed_people
from timbre.people.gallery import Gallery
from timbre.people.voice import Voice
from timbre.runtime.llr import MEASURES
from timbre.runtime.scorer import Scorer
from timbre.utils.errors import DataError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def voice() -> Voice:
    return made_voice()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_people, "BLOCK", 4)
    monkeypatch.setattr(packed_people, "PACKED", 6)


@pytest.fixture
def people(voice: Voice, tmp_path: Path, small_blocks: None) -> Iterator[Gallery]:
    """Fifteen people, p0 to p14; those before p14 are packed, twice so that blocks are written again."""
    with voice.gallery(tmp_path / "people.db") as gallery:
        for person in range(15):
            gallery.enroll(f"p{person}", clip(person, 0))
        yield gallery


def clip(person: int, take: int) -> tuple[np.ndarray, int]:
    return samples_of(person % 20, 100 * (person // 20) + take, 0.4), RATE


def by_rows(path: Path) -> dict[str, tuple[np.ndarray, int, list[float]]]:
    """What is to be known of each person, in order, by plain SQL."""
    with sqlite3.connect(path) as database:
        rows = database.execute(
            f"SELECT name, vector, {', '.join(MEASURES)} FROM people JOIN recordings ON person = people.id"
            " ORDER BY person, recordings.id"
        ).fetchall()
    found: dict[str, list[tuple]] = {}
    for name, *values in rows:
        found.setdefault(name, []).append(values)
    return {
        name: (
            np.mean([np.frombuffer(one[0], "<f4") for one in listed], axis=0, dtype=np.float64).astype(np.float32),
            len(listed),
            np.mean([one[1:] for one in listed], axis=0).tolist(),
        )
        for name, listed in found.items()
    }


def agrees(gallery: Gallery) -> None:
    names, means, num_utts, measures = gallery.entries()
    wanted = by_rows(gallery.path)
    assert list(names) == list(wanted)
    for name, mean, number, measured in zip(names, means, num_utts, measures, strict=True):
        assert np.allclose(mean, wanted[name][0], rtol=1e-6, atol=1e-7) and number == wanted[name][1]
        assert [measured[one] for one in MEASURES] == pytest.approx(wanted[name][2])


def likeliest(gallery: Gallery, person: int) -> str:
    return gallery.identify(clip(person, 7)).matches[0][0]


def count(gallery: Gallery, table: str) -> int:
    with gallery._store.reading() as database:
        return int(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def statements(gallery: Gallery) -> list[str]:
    """What is asked of SQLite when somebody is identified."""
    asked: list[str] = []
    gallery._store._database.set_trace_callback(asked.append)
    gallery.identify(clip(0, 7))
    gallery._store._database.set_trace_callback(None)
    return [one for one in asked if "vector" in one or "means" in one]


def test_of_a_packed_gallery_blocks_are_read_and_rows_of_who_changed_since(people: Gallery, voice: Voice) -> None:
    assert count(people, "blocks") == 4 and count(people, "changes") == 1
    with voice.gallery(people.path) as fresh:
        asked = statements(fresh)
        assert sum("FROM blocks" in one for one in asked) == 4
        [rows] = [one for one in asked if "FROM recordings" in one]
        assert "IN (15)" in rows, "p14 alone"
        agrees(fresh)
        assert statements(fresh) == []


@pytest.mark.parametrize("who", ["this", "another"])
def test_a_change_costs_what_it_changes(who: str, people: Gallery, voice: Voice) -> None:
    with voice.gallery(people.path) as other:
        writer = people if who == "this" else other
        people.identify(clip(0, 7))
        for change, number in (
            (lambda: writer.enroll("p1", clip(1, 5)), 0),
            (lambda: writer.enroll("new", clip(15, 0)), 4),
            (lambda: writer.rename("p6", "six"), 1),
            (lambda: writer.remove("p9"), 2),
        ):
            before = dict(people._all().parts)
            change()
            [asked] = statements(people)
            assert "FROM recordings" in asked and "," not in asked.partition(" IN (")[2].partition(")")[0]
            after = people._all().parts
            assert {one for one in after if after[one] is not before.get(one)} == {number}
            agrees(people)
        assert likeliest(people, 6) == "six" and likeliest(people, 9) != "p9"
        assert likeliest(people, 15) == "new"


def test_of_any_order_of_changes_by_two_the_rows_are_what_is_known(
    voice: Voice, tmp_path: Path, small_blocks: None
) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / "people.db"
    blocks = set()
    with voice.gallery(path) as one, voice.gallery(path) as two:
        for number in range(150):
            writer, reader = (one, two) if random.integers(2) else (two, one)
            names = writer.names()
            kind = random.integers(6) if names else 0
            if kind <= 2:
                writer.enroll(f"p{number}", clip(number, 0))
            elif kind == 3:
                writer.enroll(random.choice(names), [clip(number, 1), clip(number, 2)])
            elif kind == 4:
                writer.rename(random.choice(names), f"r{number}")
            else:
                writer.remove(random.choice(names))
            blocks.add(count(writer, "blocks"))
            if random.integers(3) == 0:
                agrees(reader)
        agrees(one)
        agrees(two)
        one.check()
        with voice.gallery(path) as fresh:
            agrees(fresh)
            for person in range(5):
                found = [who.identify(clip(person, 9)) for who in (one, two, fresh)]
                assert len({other.matches[0][0] for other in found}) == 1
                assert [other.probability for other in found] == pytest.approx([found[0].probability] * 3, rel=1e-6)
    assert len(blocks) > 5, "blocks come, and are written again"


def test_who_is_removed_is_forgotten_by_blocks_too(people: Gallery, voice: Voice) -> None:
    for person in range(15):
        people.remove(f"p{person}")
    assert people.identify(clip(1, 7)).reason == "nobody is enrolled"
    assert people.entries()[0] == [] and people.entries()[1].shape == (0, 16)
    people.enroll("p0", clip(0, 0))
    with voice.gallery(people.path) as fresh:
        assert likeliest(fresh, 0) == "p0" and fresh.names() == ["p0"]


def test_a_gallery_of_before_there_were_blocks(people: Gallery, voice: Voice) -> None:
    path = people.path
    people.close()
    with sqlite3.connect(path) as database:
        for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f"DROP TRIGGER {name}")
        database.execute("DROP TABLE blocks")
        database.execute("DROP TABLE changes")
    with voice.gallery(path) as gallery:
        assert count(gallery, "changes") == 15 and count(gallery, "blocks") == 0
        assert likeliest(gallery, 3) == "p3"
        agrees(gallery)
        assert count(gallery, "changes") == 0 and count(gallery, "blocks") == 4, "the first who reads it packs"
        with sqlite3.connect(path) as database:  # a program that knows nothing of blocks
            database.execute("UPDATE people SET name = 'three' WHERE name = 'p3'")
        assert likeliest(gallery, 3) == "three"


def test_reading_goes_on_where_blocks_cannot_be_written(people: Gallery, voice: Voice) -> None:
    with sqlite3.connect(people.path) as database:
        database.execute("DELETE FROM blocks")
        database.execute("INSERT OR REPLACE INTO changes (person) SELECT id FROM people")
    writer = sqlite3.connect(people.path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    begun = time.monotonic()
    with voice.gallery(people.path) as fresh:
        assert likeliest(fresh, 3) == "p3"
        assert time.monotonic() - begun < 5 and count(fresh, "blocks") == 0
    writer.execute("ROLLBACK")


def test_blocks_that_are_damaged(people: Gallery, voice: Voice) -> None:
    with sqlite3.connect(people.path) as database:
        database.execute("UPDATE blocks SET means = zeroblob(length(means)) WHERE id = 1")
    with pytest.raises(DataError, match="block 1 is not what its recordings are"):
        people.check()
    people.export(people.path.with_suffix(".zip"))
    with voice.gallery(people.path.with_name("again.db")) as again:
        assert again.import_(people.path.with_suffix(".zip")) == 15
        again.check()
    with sqlite3.connect(people.path) as database:
        database.execute("UPDATE blocks SET names = 'x' WHERE id = 1")
    with voice.gallery(people.path) as fresh, pytest.raises(DataError, match=r"people\.db: is damaged: a block"):
        fresh.identify(clip(3, 7))


def test_one_who_has_it_open_is_told_of_another_network(people: Gallery, voice: Voice) -> None:
    kept = people.path.with_name("kept.db")
    other = made_voice(network_checksum="f" * 64)
    with voice.gallery(kept) as first:
        for person in range(9):
            first.enroll(f"p{person}", clip(person, 0), keep="audio")
        assert likeliest(first, 1) == "p1" and count(first, "blocks") == 2
        with other.gallery(kept, any_voice=True) as second:
            assert second.re_enroll() == 9
            assert likeliest(second, 1) == "p1"
            agrees(second)
        with pytest.raises(DataError, match="another network"):
            first.identify(clip(1, 7))


def test_what_a_scorer_makes_of_them_is_kept_and_made_anew_for_another(
    people: Gallery, voice: Voice, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[int] = []
    true = Scorer.enrolled
    monkeypatch.setattr(Scorer, "enrolled", lambda self, *of: prepared.append(len(of[1])) or true(self, *of))
    with voice.gallery(people.path) as fresh:
        known = fresh.identify(clip(3, 7))
        assert prepared == [1], "p14, who is not packed"
    other = made_voice("cosine-mean-lda-wccn")
    with other.gallery(people.path) as fresh:
        found = fresh.identify(clip(3, 7))
        assert sum(prepared) == 1 + 15 and found.llr != known.llr
        assert found.matches == other.gallery(people.path).identify(clip(3, 7)).matches
        assert sum(prepared) == 1 + 15, "what is packed by now"
    with voice.gallery(people.path) as fresh:
        assert fresh.identify(clip(3, 7)).llr == pytest.approx(known.llr)
    calibrated = replace(voice.scorer, points=(), calibration=replace(voice.scorer.calibration, offset=1.0))
    assert calibrated.key == voice.scorer.key != other.scorer.key
    assert replace(voice.scorer, top_n=7).key != voice.scorer.key != replace(voice.scorer, cohort=None).key
    with sqlite3.connect(people.path) as database:
        database.execute("UPDATE blocks SET ready = zeroblob(length(ready) - 3) WHERE id = 1")
    with voice.gallery(people.path) as fresh, pytest.raises(DataError, match=r"people\.db: is damaged: a block"):
        fresh.identify(clip(3, 7))


WORKER = """
import sys
from pathlib import Path
from timbre.people import packed_people
packed_people.BLOCK, packed_people.PACKED = 4, 2
from tests.runtime.made_voices import RATE, made_voice, samples_of
people = made_voice().gallery(Path(sys.argv[1]))
for number in range(100_000):
    people.enroll(f"p{number}", (samples_of(number % 20, number, 0.4), RATE))
    print(number, flush=True)
"""


def test_kill_9_while_blocks_are_written(voice: Voice, tmp_path: Path, small_blocks: None) -> None:
    path = tmp_path / "people.db"
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'steps'}"}
    for attempt in range(3):
        worker = subprocess.Popen([sys.executable, "-c", WORKER, str(path)], cwd=ROOT, env=environment,
                                  stdout=subprocess.PIPE, text=True)  # fmt: skip
        assert worker.stdout is not None
        for _ in range(10 * attempt + 5):
            last = int(worker.stdout.readline())
        time.sleep(0.003 * attempt)
        worker.send_signal(signal.SIGKILL)
        worker.communicate()
        with voice.gallery(path) as people:
            people.check()
            assert {f"p{number}" for number in range(last + 1)} <= set(people.names())
            agrees(people)
