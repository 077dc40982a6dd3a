"""Audio of unknown speakers: a data directory or a folder of files, of which every utterance stands alone."""

from pathlib import Path

import pytest

from local.prepare_unlabelled import prepare_unlabelled
from timbre.datadir.datadir import DataDir, Segment
from timbre.utils.errors import DataError


def test_a_folder_of_files(tmp_path: Path) -> None:
    for name in ("a b.wav", "deep/er/c.FLAC", "notes.txt", "deep/.hidden.wav"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    prepare_unlabelled(tmp_path / "in", tmp_path / "out")
    made = DataDir.read(tmp_path / "out" / "adapt")
    assert made.wavs == {"a%20b": f"{tmp_path}/in/a b.wav", "deep-er-c": f"{tmp_path}/in/deep/er/c.FLAC"}
    assert made.utt2spk == {utt: utt for utt in made.wavs}


def test_a_data_directory_without_its_speakers(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "call.wav").touch()
    data = tmp_path / "data" / "calls"
    utt2spk, segments = {"one": "s", "two": "s"}, {"one": Segment("call", 0, 1), "two": Segment("call", 1, -1)}
    DataDir(data, {"call": "audio/call.wav"}, utt2spk, segments).write(data)
    prepare_unlabelled(data, tmp_path / "out")
    made = DataDir.read(tmp_path / "out" / "adapt")
    assert made.utt2spk == {"one": "one", "two": "two"} and made.segments == segments
    assert made.wavs == {"call": str(tmp_path / "audio" / "call.wav")}


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({}, "in: neither wav.scp nor any audio file in it"),
        ({"wav.scp": ""}, "wav.scp: the file is empty"),
        ({"utt2spk": "a s\n", "feats.scp": "a x:1\n"}, "there is no wav.scp"),
        ({"wav.scp": "b x\na x\n"}, "wav.scp"),
    ],
)
def test_what_is_no_audio_is_refused(tables: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, text in tables.items():
        (tmp_path / "in" / name).write_text(text)
    with pytest.raises(DataError, match=message):
        prepare_unlabelled(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
