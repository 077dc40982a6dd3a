"""Galleries: who is enrolled is found as the recipe finds her, whatever her name; all or nothing, and for good."""

import io
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.runtime.made_voices import RATE, made_voice, samples_of, write_takes
from tests.runtime.tables import decision_pack
from timbre.backend.vectors import Side
from timbre.decision.audio_gallery import AudioGallery, identify_recording
from timbre.embedding.embedder import Embedded
from timbre.people.gallery import Gallery
from timbre.people.person_names import clean, fold
from timbre.people.voice import Voice
from timbre.runtime.sound import Unusable
from timbre.utils.errors import DataError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def voice() -> Voice:
    return made_voice()


@pytest.fixture
def people(voice: Voice, tmp_path: Path) -> Gallery:
    """ann (2 recordings), bo and cy."""
    gallery = voice.gallery(tmp_path / "people.db")
    for name, speaker, takes in (("ann", 0, range(2)), ("bo", 1, range(1)), ("cy", 2, range(1))):
        gallery.enroll(name, write_takes(tmp_path, speaker, takes))
    return gallery


def clip(speaker: int, take: int = 9, seconds: float = 1.0) -> tuple[np.ndarray, int]:
    return samples_of(speaker, take, seconds), RATE


@pytest.mark.parametrize("kind", ["plda-mean-lda", "cosine-mean-lda-wccn"])
@pytest.mark.parametrize("prior", [0.5, 0.05, 1.0])
def test_it_identifies_as_the_recipe_does(kind: str, prior: float, tmp_path: Path) -> None:
    pack, voice = decision_pack(kind), made_voice(kind)
    with voice.gallery(tmp_path / "people.db") as people:
        for speaker in range(8):
            people.enroll(f"s{speaker}", [clip(speaker, take) for take in range(1 + speaker % 3)])
        names, means, num_utts, measures = people.entries()
        recipe = AudioGallery(Side(names, means, num_utts), measures)
        for speaker in (0, 3, 12):
            one = voice.embed(clip(speaker))
            embedded = Embedded("x", one.vector, one.seconds, one.speech, one.measures, (), one.content)
            wanted = identify_recording(pack, recipe, embedded, prior)
            found = people.identify_encoding(one, prior, top=8)
            assert found.name == (None if wanted.name == "unknown" else wanted.name)
            assert [name for name, _, _ in found.matches] == list(wanted.names)
            assert np.allclose([llr for _, llr, _ in found.matches], wanted.llrs, atol=1e-4)
            assert np.allclose([chance for _, _, chance in found.matches], wanted.posteriors, atol=1e-5)
            assert found.unknown == pytest.approx(wanted.unknown, abs=1e-5)
            assert found.margin == pytest.approx(wanted.llrs[0] - wanted.llrs[1], abs=1e-4)


def test_who_is_not_enrolled_is_nobody(people: Gallery) -> None:
    assert people.identify(clip(0)).name == "ann" and people.identify(clip(1)).name == "bo"
    found = people.identify(clip(11))
    assert found.name is None and found.reason is None and found.llr is not None and found.unknown > 0.5  # type: ignore[operator]
    assert str(found).startswith("unknown\n")
    short = people.identify(clip(0, seconds=0.1))
    assert short.name is None and short.llr is None and "only 0.10 s" in str(short.reason)
    assert str(short).startswith("NO DECISION: ")


def test_nobody_and_somebody_too_many(voice: Voice, tmp_path: Path) -> None:
    people = voice.gallery(tmp_path / "none.db")
    assert people.identify(clip(0)).reason == "nobody is enrolled"
    people.enroll("ann", clip(0))
    assert people.identify(clip(0)).margin is None
    most = voice.scorer.calibration.trained_on["nontargets"]
    low = people.identify(clip(0), prior=0.9 / most)
    assert low.name is None and "more than the list" in str(low.reason)
    for prior in (0.0, 1.5, float("nan")):
        with pytest.raises(DataError, match="a prior of"):
            people.identify(clip(0), prior)


def test_changes_are_kept_and_seen_by_others(people: Gallery, voice: Voice, tmp_path: Path) -> None:
    other = voice.gallery(people.path)
    assert other.identify(clip(2)).name == "cy"
    people.rename("CY", "Cyril")
    assert other.identify(clip(2)).name == "Cyril" and other.names() == ["ann", "bo", "Cyril"]
    people.remove("cyril")
    assert other.identify(clip(2)).name is None
    other.enroll("dee", clip(3))
    assert people.identify(clip(3)).name == "dee"
    with pytest.raises(DataError, match="nobody called 'eve'"):
        people.remove("eve")
    with pytest.raises(DataError, match="somebody called 'bo' already"):
        people.rename("ann", "BO")
    people.rename("ann", "Ann")
    assert people.names() == ["Ann", "bo", "dee"]
    people.close()
    with pytest.raises(DataError, match="closed"):
        people.names()


def test_recordings_that_are_there_already(people: Gallery, voice: Voice, tmp_path: Path) -> None:
    assert people.identify(tmp_path / "s00-0.wav").warnings[-1].startswith("a recording of the gallery")
    assert "has this recording already" in people.enroll("ann", tmp_path / "s00-0.wav")[0]
    assert people.people()[0].recordings == 2
    assert "also a recording of ann" in people.enroll("bo", tmp_path / "s00-0.wav")[0]


def test_all_or_none_of_an_enrolment(people: Gallery) -> None:
    before = people.people()
    for wrong, kind in ((clip(5, seconds=0.1), Unusable), ("missing.wav", DataError)):
        with pytest.raises(kind):
            people.enroll("eve", [clip(5), wrong])
        with pytest.raises(kind):
            people.enroll("ann", [clip(0, 7), wrong])
    assert people.people() == before
    for arguments in (("eve", []), ("eve", clip(5), "all")):
        with pytest.raises(DataError):
            people.enroll(*arguments)  # type: ignore[arg-type]
    assert people.people() == before


@pytest.mark.parametrize(
    "name",
    ["", "  ", "\u200b", "a\nb", "a\0b", "a\x1bb", "\ud800", "x" * 201, "unknown", "Unknown 2", "\u202eann", "\ue000"],
)
def test_names_that_cannot_be(name: str, people: Gallery) -> None:
    with pytest.raises(DataError) as caught:
        people.enroll(name, clip(4))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200
    assert people.names() == ["ann", "bo", "cy"]


def test_a_thousand_names_of_any_script(voice: Voice, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names: set[str] = {"Robert'); DROP TABLE people;--", "%", "_", '"', "\u0130", "e\u0301", "मी‌र", "👩‍🚀"}
    while len(names) < 1000:
        text = "".join(chr(code) for code in random.integers(32, 0x2FFFF, random.integers(1, 12)))
        try:
            names.add(clean(text))
        except DataError:
            continue
    kept = {fold(name): clean(name) for name in names}
    gallery = voice.gallery(tmp_path / "people.db")
    take = voice.embed(clip(0))
    fake = type(
        "Fake", (), {"scorer": voice.scorer, "network": voice.network, "hear": lambda self, source: (None, take)}
    )
    with Gallery(tmp_path / "people.db", fake()) as fast:
        for name in kept.values():
            fast.enroll(name, "x")
    assert sorted(gallery.names()) == sorted(kept.values())
    gallery.export(tmp_path / "out.zip")
    for name in [*kept.values()][:60]:
        gallery.rename(name, f"{name[:190]} renamed")
        gallery.remove(f"{name[:190]} RENAMED")
    assert len(gallery.names()) == len(kept) - 60
    assert gallery.import_(tmp_path / "out.zip") == 60 and sorted(gallery.names()) == sorted(kept.values())
    assert (
        fold("ＡＮＮ") == fold("ann") == fold("An\u200bn")
        and clean(" e\u0301  x ") == "é x"
        and fold("Straße") == "strasse"
    )


def test_a_round_trip(people: Gallery, voice: Voice, tmp_path: Path) -> None:
    people.enroll("dee", clip(3), keep="audio")
    people.enroll("dee", tmp_path / "s01-0.wav", keep="path")
    people.export(tmp_path / "out.zip")
    other = voice.gallery(tmp_path / "other.db")
    assert other.import_(tmp_path / "out.zip") == 6 and other.import_(tmp_path / "out.zip") == 0
    assert other.people() == people.people()
    for first, second in zip(people.entries(), other.entries(), strict=True):
        assert np.array_equal(first, second)
    other.export(tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "out.zip").read_bytes()
    with pytest.raises(DataError, match="another network"):
        made_voice(network_checksum="f" * 64).gallery(tmp_path / "third.db").import_(tmp_path / "out.zip")


def test_archives_that_are_damaged(people: Gallery, tmp_path: Path) -> None:
    people.export(tmp_path / "out.zip")
    whole = (tmp_path / "out.zip").read_bytes()
    before = people.people()
    random = np.random.default_rng(0)
    for number in range(200):
        data = bytearray(whole)
        for place in random.integers(0, len(data), 3):
            data[place] = random.integers(256)
        if number % 4 == 0:
            data = data[: random.integers(len(data))]
        (tmp_path / "bad.zip").write_bytes(data)
        try:
            assert people.import_(tmp_path / "bad.zip") == 0  # where the change does not matter
        except DataError as error:
            assert str(error).startswith(str(tmp_path / "bad.zip")) and "\n" not in str(error)
    assert people.people() == before
    with pytest.raises(DataError, match="no such file"):
        people.import_(tmp_path / "none.zip")
    with pytest.raises(DataError, match="cannot be written"):
        people.export(tmp_path / "no" / "out.zip")


def test_another_network_is_refused_and_enrols_from_what_was_kept(voice: Voice, tmp_path: Path) -> None:
    path = tmp_path / "people.db"
    files = write_takes(tmp_path, 1, range(1))
    with voice.gallery(path) as people:
        people.enroll("ann", clip(0), keep="audio")
        people.enroll("bo", files, keep="path")
        people.enroll("cy", clip(2))
    other = made_voice(network_checksum="f" * 64)
    with pytest.raises(DataError, match="re-enroll"):
        other.gallery(path)
    with other.gallery(path, any_voice=True) as people:
        with pytest.raises(DataError, match=r"1 of 3 .* samples of cy"):
            people.re_enroll()
        people.remove("cy")
        files[0].rename(tmp_path / "away.wav")
        with pytest.raises(DataError, match="no such file"):
            people.re_enroll()
        write_takes(tmp_path, 1, range(5, 6))[0].rename(files[0])
        with pytest.raises(DataError, match="not the recording that was enrolled"):
            people.re_enroll()
        (tmp_path / "away.wav").rename(files[0])
        assert people.re_enroll() == 2
    with other.gallery(path) as people:
        assert people.identify(clip(0)).name == "ann"
    with pytest.raises(DataError, match="re-enroll"):
        voice.gallery(path)


def test_files_that_are_no_gallery(people: Gallery, voice: Voice, tmp_path: Path) -> None:
    people.close()
    whole = people.path.read_bytes()
    bad = tmp_path / "bad.db"
    with sqlite3.connect(tmp_path / "other.db") as database:
        database.execute("CREATE TABLE songs (title TEXT)")
    later = tmp_path / "later.db"
    later.write_bytes(whole)
    with sqlite3.connect(later) as database:
        database.execute("PRAGMA user_version = 7")
    for path, text in (("other.db", "not a gallery"), ("later.db", "version 7"), (".", "no file")):
        with pytest.raises(DataError, match=text):
            voice.gallery(tmp_path / path)
    with pytest.raises(DataError, match="no such gallery"):
        voice.gallery(tmp_path / "none.db", create=False)
    with pytest.raises(DataError):
        voice.gallery(tmp_path / "no" / "such" / "folder.db")
    for data in (b"RIFF" + bytes(3000), whole[:5000], whole[: len(whole) // 2], b"\0" * 4096):
        bad.write_bytes(data)
        with pytest.raises(DataError) as caught:
            voice.gallery(bad)
        assert "\n" not in str(caught.value) and str(bad) in str(caught.value)
    page = bytearray(whole)
    page[4096 * 3 : 4096 * 4] = os.urandom(4096)
    bad.write_bytes(page)
    with pytest.raises(DataError, match="damaged"):
        voice.gallery(bad)
    with sqlite3.connect(people.path) as database:
        database.execute("UPDATE recordings SET vector = zeroblob(3) WHERE id = 1")
    with pytest.raises(DataError, match="another dimension"):
        voice.gallery(people.path).identify(clip(0))


def test_a_full_disk_while_enrolling(people: Gallery, voice: Voice) -> None:
    before = people.people()
    pages = people._store._database.execute("PRAGMA page_count").fetchone()[0]
    people._store._database.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(DataError, match="the disk is full; nothing was changed"):
        people.enroll("eve", [clip(5, 1, 20.0), clip(5, 2, 20.0)], keep="audio")
    assert people.people() == before and voice.gallery(people.path).people() == before
    people.enroll("dee", clip(3))
    assert people.identify(clip(3)).name == "dee"


WORKER = """
import sys
from pathlib import Path
from tests.runtime.made_voices import RATE, made_voice, samples_of
people = made_voice().gallery(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    name = f"{sys.argv[2]} {number}"
    people.enroll(name, (samples_of(int(sys.argv[2]), number), RATE), keep="audio")
    print(name, flush=True)
"""


def start(path: Path, speaker: int, number: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WORKER, str(path), str(speaker), str(number)]
    return subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'steps'}"},
                            stdout=subprocess.PIPE, text=True)  # fmt: skip


def test_several_processes_at_once_and_kill_9(voice: Voice, tmp_path: Path) -> None:
    """All that was confirmed is there: of two that end well, and of one that is killed in the middle of it."""
    path = tmp_path / "people.db"
    workers = [start(path, speaker, number) for speaker, number in ((1, 15), (2, 15), (3, 100_000))]
    assert workers[2].stdout is not None
    confirmed = [workers[2].stdout.readline().strip() for _ in range(10)]
    time.sleep(0.05)
    workers[2].kill()
    said = [worker.communicate(timeout=120)[0].split("\n") for worker in workers]
    assert [worker.returncode for worker in workers[:2]] == [0, 0]
    confirmed += [line.strip() for lines in said for line in lines if line.strip()]
    with voice.gallery(path) as people:
        people.check()
        names = people.names()
        assert set(confirmed) <= set(names) and len(names) <= len(confirmed) + 1 and len(confirmed) >= 40
        people.enroll("after", clip(4))
        assert people.identify(clip(4)).name == "after"


def test_what_is_kept(people: Gallery, voice: Voice, tmp_path: Path) -> None:
    import soundfile

    people.enroll("dee", [clip(3), clip(3, 8)], keep="audio")
    [dee] = [one for one in people.people() if one.name == "dee"]
    assert (dee.recordings, dee.audio, dee.paths, round(dee.speech, 2)) == (2, 2, 0, 2.0)
    with people._store.reading() as database:
        kept = database.execute("SELECT audio FROM recordings WHERE audio IS NOT NULL ORDER BY id").fetchall()
    samples, rate = soundfile.read(io.BytesIO(kept[0][0]), dtype="float32")
    assert rate == RATE and np.array_equal(samples, samples_of(3, 9))
    with pytest.raises(DataError, match="no file"):
        people.enroll("dee", clip(3, 5), keep="path")
