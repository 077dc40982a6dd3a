"""Corpora that come as Kaldi data directories."""

import shutil
from pathlib import Path

import pytest

from local.prepare_kaldi import prepare_kaldi
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_table, write_table
from timbre.datadir.validate import validate
from timbre.utils.errors import DataError


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A training set, an evaluation set, a set with trials of another name, and noises without speakers."""
    path = tmp_path / "corpus"
    (path / "audio").mkdir(parents=True)
    for name in ("train", "eval_x", "hard", "dev", "noise"):
        (path / "data" / name).mkdir(parents=True)
        utts = [f"{name}-{spk}-{part}" for spk in "ab" for part in range(2)]
        for utt in utts:
            (path / "audio" / f"{utt} é.wav").write_bytes(b"audio")
        write_table(path / "data" / name / "wav.scp", {utt: f"audio/{utt} é.wav" for utt in utts})
        if name != "noise":
            utt2spk = {utt: utt[:-2] for utt in utts}
            write_table(path / "data" / name / "utt2spk", utt2spk)
            write_table(path / "data" / name / "spk2utt", {utt[:-2]: f"{utt[:-2]}-0 {utt[:-2]}-1" for utt in utts})
        if name in ("eval_x", "hard"):
            (path / "data" / name / "trials").write_text(f"{utts[0]} {utts[1]} target\n{utts[0]} {utts[2]} nontarget\n")
    return path


def test_sets_are_named_by_their_use(corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    prepare_kaldi(corpus, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dev", "eval_hard", "eval_x", "train"]
    assert "noise: no utt2spk in it; passed over" in caplog.text
    for path in (tmp_path / "out").iterdir():
        assert validate(path, need_wav=True) == []


def test_paths_hold_from_anywhere(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wavs = {
        "train-a-0": str(corpus / "audio" / "train-a-0 é.wav"),
        "train-a-1": "sox audio/x.wav -t wav - |",
        "train-b-0": "audio/train-b-0 é.wav",
        "train-b-1": "./audio/../audio/train-b-1 é.wav",
    }
    write_table(corpus / "data" / "train" / "wav.scp", wavs)
    monkeypatch.chdir(corpus.parent)
    prepare_kaldi(Path("corpus"), tmp_path / "out", ["train"])
    prepared = DataDir.read(tmp_path / "out" / "train").wavs
    assert prepared["train-a-0"] == wavs["train-a-0"]
    assert prepared["train-a-1"] == wavs["train-a-1"]
    for utt in ("train-b-0", "train-b-1"):
        assert Path(prepared[utt]).is_absolute()
        assert Path(prepared[utt]).read_bytes() == b"audio"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train"]


def test_every_problem_of_every_set_is_listed_and_nothing_written(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (corpus / "audio" / "train-a-0 é.wav").unlink()
    write_table(corpus / "data" / "hard" / "wav.scp", {"hard-a-0": "C:\\audio\\x.wav"})
    with (corpus / "data" / "eval_x" / "trials").open("a") as file:
        file.write("eval_x-a-0 nobody nontarget\n")
    with pytest.raises(DataError, match=r"corpus/data: \d+ problems, listed above"):
        prepare_kaldi(corpus, tmp_path / "out")
    listed = capsys.readouterr().err
    assert "data/train/wav.scp:1: 'train-a-0': cannot read" in listed
    assert "data/eval_x/trials:3: test id 'nobody' is not in the data directory" in listed
    assert "data/hard/utt2spk:2: utterance 'hard-a-1' is not in wav.scp" in listed
    assert "data/hard/wav.scp:1: 'hard-a-0': cannot read C:\\audio\\x.wav" in listed
    assert not (tmp_path / "out").exists()


def test_a_corpus_to_test_on_needs_no_training_set(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(corpus / "data" / "train")
    prepare_kaldi(corpus, tmp_path / "out")
    assert "no set `train`" in caplog.text and (tmp_path / "out" / "eval_x" / "trials").is_file()
    for path in (corpus / "data").iterdir():
        (path / "utt2spk").unlink(missing_ok=True)
    with pytest.raises(DataError, match="no data directory with a utt2spk"):
        prepare_kaldi(corpus, tmp_path / "out")
    with pytest.raises(DataError, match="audio/data: no such directory"):
        prepare_kaldi(corpus / "audio", tmp_path / "out")


def test_a_set_asked_for_by_name_must_be_whole(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="2 problems"):
        prepare_kaldi(corpus, tmp_path / "out", ["train", "noise"])
    assert "noise: no utt2spk in it" in capsys.readouterr().err


def test_the_corpora(corpora: Path, tmp_path: Path) -> None:
    prepare_kaldi(corpora, tmp_path)
    sizes = {path.name: len(DataDir.read(path).utts) for path in tmp_path.iterdir()}
    assert sizes == {"train": 6945, "eval_so762": 800, "eval_sc2": 1992, "eval_arabic": 1800}
    assert (tmp_path / "eval_so762" / "trials").read_bytes() == (
        corpora / "data" / "eval_so762" / "trials"
    ).read_bytes()
    assert read_table(tmp_path / "train" / "spk2gender") == read_table(corpora / "data" / "train" / "spk2gender")
