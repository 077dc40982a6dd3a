"""Corpora that are a tree of audio files."""

import os
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pytest

from local.prepare_folder import prepare_folder
from timbre.corpora.utt_names import escape, name_utterances
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_table
from timbre.datadir.trials import read_trials
from timbre.datadir.validate import validate
from timbre.utils.errors import DataError

NAMES = ("anna", "b c", "x;rm -rf $HOME", "ünïcode", "漢字", "100%", "d|", "e'f\"g", "-dash", "h\u00a0i")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Ten speakers of odd names, two sessions each, three utterances a session."""
    for index, name in enumerate(NAMES):
        for session in ("day 1", "day 2"):
            folder = tmp_path / "corpus" / name / session / "deep"
            folder.mkdir(parents=True)
            for part, suffix in enumerate((".wav", ".FLAC", ".opus")):
                (folder / f"{part}{suffix}").write_bytes(b"%d" % index)
    return tmp_path / "corpus"


def test_every_file_is_an_utterance_of_its_folder(corpus: Path, tmp_path: Path) -> None:
    prepare_folder(corpus, tmp_path / "out", eval_speakers=4)
    found = {}
    for name in ("train", "eval"):
        assert validate(tmp_path / "out" / name, need_wav=True) == []
        data = DataDir.read(tmp_path / "out" / name)
        sessions = data.table("utt2session")
        for utt, place in data.wavs.items():
            found[place] = (data.utt2spk[utt], sessions[utt])
            assert utt.startswith(data.utt2spk[utt] + "-day%20")
    files = [path for path in corpus.rglob("*.*") if path.is_file()]
    assert found.keys() == {str(path) for path in files}
    for place, (spk, session) in found.items():
        assert unquote(spk) == Path(place).parts[-4]
        assert unquote(session) == Path(place).parts[-3]


def test_speakers_are_in_one_set_by_seed(corpus: Path, tmp_path: Path) -> None:
    drawn = []
    for out, wanted, seed in (("a", 0.4, 0), ("b", 4, 0), ("c", 4, 1), ("d", 4, 2)):
        prepare_folder(corpus, tmp_path / out, eval_speakers=wanted, seed=seed)
        speakers = [set(read_table(tmp_path / out / name / "spk2utt")) for name in ("train", "eval")]
        assert not speakers[0] & speakers[1]
        assert len(speakers[0] | speakers[1]) == len(NAMES)
        assert len(speakers[1]) == 4
        drawn.append((frozenset(speakers[1]), (tmp_path / out / "eval" / "trials").read_bytes()))
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


def test_trials_are_balanced_and_bounded(corpus: Path, tmp_path: Path) -> None:
    prepare_folder(corpus, tmp_path / "out", eval_speakers=4, max_targets=20)
    sessions = read_table(tmp_path / "out" / "eval" / "utt2session")
    for name in ("trials", "trials_cross_session"):
        trials = read_trials(tmp_path / "out" / "eval" / name)
        assert (trials.target.sum(), (~trials.target).sum()) == (20, 20)
    for enroll, test in zip(trials.enroll[trials.target], trials.test[trials.target], strict=True):
        assert sessions[trials.enroll_ids[enroll]] != sessions[trials.test_ids[test]]
    prepare_folder(corpus, tmp_path / "out", eval_speakers=4, nontargets=3)
    trials = read_trials(tmp_path / "out" / "eval" / "trials")
    assert (trials.target.sum(), (~trials.target).sum()) == (4 * 15, 4 * 45)


def test_flat_folders_have_no_sessions(tmp_path: Path) -> None:
    for spk in "abcd":
        (tmp_path / "corpus" / spk).mkdir(parents=True)
        for part in "12":
            (tmp_path / "corpus" / spk / f"{part}.mp3").write_bytes(b"x")
    prepare_folder(tmp_path / "corpus", tmp_path / "out")
    (tmp_path / "out" / "eval" / "utt2session").write_text("stale x\n")
    prepare_folder(tmp_path / "corpus", tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "eval").iterdir()) == [
        "spk2utt",
        "trials",
        "utt2spk",
        "wav.scp",
    ]


def test_files_that_cannot_be_used_are_listed(corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (corpus / "top.wav").write_bytes(b"x")
    (corpus / "anna" / "empty.wav").touch()
    (corpus / "anna" / "line\nbreak.wav").write_bytes(b"x")
    (corpus / "anna" / "gone.wav").symlink_to("nowhere")
    (corpus / "anna" / "._mac.wav").write_bytes(b"x")
    (corpus / "anna" / "notes.txt").write_bytes(b"x")
    (corpus / "anna" / "loop").symlink_to(corpus / "anna")
    Path(os.fsdecode(os.fsencode(corpus / "anna") + b"/bad\xff.wav")).write_bytes(b"x")
    prepare_folder(corpus, tmp_path / "out", eval_speakers=4)
    for name, problem in (
        ("top.wav", "it is in no speaker's folder"),
        ("anna/empty.wav", "it is empty"),
        ("anna/line\\nbreak.wav", "its name has a line break"),
        ("anna/gone.wav", "No such file or directory"),
        ("anna/bad\\udcff.wav", "its name is not UTF-8"),
    ):
        assert f"{corpus}/{name}: passed over: {problem}" in caplog.text
    assert caplog.text.count("passed over") == 5
    total = sum(len(read_table(tmp_path / "out" / name / "wav.scp")) for name in ("train", "eval"))
    assert total == len(NAMES) * 6


def test_impossible_corpora_are_refused(tmp_path: Path) -> None:
    def refused(message: str, eval_speakers: float = 0.1) -> None:
        with pytest.raises(DataError, match=message):
            prepare_folder(tmp_path / "corpus", tmp_path / "out", eval_speakers=eval_speakers)
        assert not (tmp_path / "out").exists()

    refused("corpus: no such directory")
    (tmp_path / "corpus" / "a").mkdir(parents=True)
    refused(r"corpus: no audio \(\*\.wav, \*\.flac")
    (tmp_path / "corpus" / "a" / "1.wav").write_bytes(b"x")
    refused("corpus: 1 speakers, 0 of them with two utterances or more: too few")
    for spk in "abcde":
        (tmp_path / "corpus" / spk).mkdir(exist_ok=True)
        for part in "12"[: 1 if spk in "de" else 2]:
            (tmp_path / "corpus" / spk / f"{part}.wav").write_bytes(b"x")
    for wanted in (4, 1):
        refused(f"5 speakers, 3 of them with two utterances or more: too few to evaluate with {wanted}", wanted)
    for odd in (0, -1, 2.5):
        refused("a count, or a share below 1", odd)


def test_ids_that_would_be_equal_are_told_apart() -> None:
    paths = [
        PurePosixPath(path) for path in ("a/b-c.wav", "a/b/c.wav", "a/b/c.flac", "a/d.wav", "a/b c.wav", "a/b%20c.wav")
    ]
    utts = name_utterances(paths)
    assert sorted(utts.values()) == sorted(paths)
    assert all(utt.startswith("a-") for utt in utts)
    assert utts["a-d"] == PurePosixPath("a/d.wav")
    assert name_utterances(paths[::-1]) == utts


@pytest.mark.parametrize("name", [*NAMES, "\t", "%41", "a\x7fb", "\u2028"])
def test_names_are_escaped_so_that_they_come_back(name: str) -> None:
    assert unquote(escape(name)) == name
    assert not any(char.isspace() for char in escape(name))
