"""Reading and writing data directories."""

from collections.abc import Callable
from pathlib import Path

import pytest

from timbre.datadir.datadir import DataDir, Segment
from timbre.utils.errors import DataError

GOOD = {"wav.scp": "a-1 a.wav\na-2 cat a.wav |\nb-1 b.wav\n", "utt2spk": "a-1 a\na-2 a\nb-1 b\n"}
SEGMENTED = {"wav.scp": "r r.wav\n", "segments": "a-1 r 0 1.5\nb-1 r 1.5 -1\n", "utt2spk": "a-1 a\nb-1 b\n"}


def test_what_the_files_say(make_dir: Callable[..., Path]) -> None:
    data = DataDir.read(make_dir(GOOD | {"utt2dur": "a-1 1.5\n"}))
    assert data.utts == ["a-1", "a-2", "b-1"]
    assert data.spk2utt() == {"a": ["a-1", "a-2"], "b": ["b-1"]}
    assert data.recording_of("a-2") == ("cat a.wav |", None)
    assert data.table("utt2dur") == {"a-1": "1.5"}
    assert data.has("utt2dur")
    assert not data.has("feats.scp")
    with pytest.raises(DataError, match=r"data/feats\.scp: cannot read"):
        data.table("feats.scp")


def test_segments_are_parts_of_recordings(make_dir: Callable[..., Path]) -> None:
    data = DataDir.read(make_dir(SEGMENTED))
    assert data.recording_of("a-1") == ("r.wav", Segment("r", 0.0, 1.5))
    assert data.recording_of("b-1") == ("r.wav", Segment("r", 1.5, -1.0))


def test_a_directory_of_features_alone_is_legal(make_dir: Callable[..., Path]) -> None:
    data = DataDir.read(make_dir({"utt2spk": "a-1 a\n", "feats.scp": "a-1 x.ark:4\n"}))
    assert data.wavs == {}
    with pytest.raises(DataError, match="utterance 'a-1' has no recording"):
        data.recording_of("a-1")


@pytest.mark.parametrize("files", [GOOD, SEGMENTED])
def test_a_written_directory_reads_the_same(
    files: dict[str, str], make_dir: Callable[..., Path], tmp_path: Path
) -> None:
    data = DataDir.read(make_dir(files))
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "segments").write_text("stale r 0 1\n")
    if not data.segments:
        with pytest.raises(DataError, match="holds segments of something else"):
            data.write(tmp_path / "copy")
    (tmp_path / "copy" / "utt2spk").write_text("stale x\n")
    data.write(tmp_path / "copy")
    copy = DataDir.read(tmp_path / "copy")
    assert (copy.wavs, copy.utt2spk, copy.segments) == (data.wavs, data.utt2spk, data.segments)
    assert (tmp_path / "copy" / "spk2utt").read_text().startswith("a a-1")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"utt2spk": "a-1 a\na-2 a\nb-1 b\nc-1 c\n"}, "utt2spk:4: utterance 'c-1' is not in wav.scp"),
        ({"utt2spk": "a-1 a\nb-1 b\n"}, "wav.scp:2: utterance 'a-2' is not in utt2spk"),
        ({"utt2spk": "b-1 b\na-1 a\na-2 a\n"}, "utt2spk:2: not sorted"),
        ({"utt2spk": "a-1 a\na-2 a\na-2 a\nb-1 b\n"}, "utt2spk:3: 'a-2' is already on line 2"),
        (
            {"utt2spk": "a-1 a\na 2 a\nb-1 b\n"},
            "utt2spk:2: 'utterance speaker' is wanted, not 'a 2 a': has an id a space",
        ),
        ({"utt2spk": "a-1 a\r\na-2 a\r\nb-1 b\r\n"}, "utt2spk:1: Windows line end"),
        ({"utt2spk": b"a-1 a\na-2 \xe9\nb-1 b\n"}, "utt2spk:2: not UTF-8"),
        ({"utt2spk": ""}, "utt2spk: the file is empty"),
        ({"segments": ""}, "segments: the file is empty"),
        ({"wav.scp": "a-1 a.wav\na-2\nb-1 b.wav\n"}, "wav.scp:2: 'a-2' has no value"),
        (SEGMENTED | {"segments": "a-1 r 0 1.5\nb-1 q 0 1\n"}, "segments:2: segment 'b-1' is of recording 'q'"),
        (
            SEGMENTED | {"segments": "a-1 r 0 1.5\nb-1 r 1\n"},
            "segments:2: segment 'b-1': 'recording start end' is wanted",
        ),
        (SEGMENTED | {"segments": "a-1 r 0 1.5\nb-1 r 2 1\n"}, "segments:2: segment 'b-1': it ends at 1, not after"),
        (SEGMENTED | {"segments": "a-1 r -1 1.5\nb-1 r 2 3\n"}, "segments:1: segment 'a-1': it starts at -1"),
        (SEGMENTED | {"segments": "a-1 r 0 nan\nb-1 r 2 3\n"}, "segments:1: segment 'a-1': it ends at nan"),
        (
            SEGMENTED | {"segments": "a-1 r 0 x\nb-1 r 2 3\n"},
            "segments:1: segment 'a-1': start and end must be seconds",
        ),
        (SEGMENTED | {"segments": "a-1 r 0 1\n"}, "utt2spk:2: utterance 'b-1' is not in segments"),
    ],
)
def test_a_broken_directory_is_told_with_file_and_line(
    files: dict[str, str], message: str, make_dir: Callable[..., Path]
) -> None:
    with pytest.raises(DataError, match=message):
        DataDir.read(make_dir(GOOD | files))


def test_a_missing_directory_or_file_is_told(make_dir: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing: no such data directory"):
        DataDir.read(tmp_path / "nothing")
    with pytest.raises(DataError, match="x/utt2spk: cannot read"):
        DataDir.read(make_dir({"wav.scp": "a a.wav\n"}, "x"))
    with pytest.raises(DataError, match=r"y: neither wav.scp nor feats.scp"):
        DataDir.read(make_dir({"utt2spk": "a a\n"}, "y"))


def test_features_need_no_speakers(tmp_path: Path) -> None:
    (tmp_path / "wav.scp").write_text("a a.wav\nb b.wav\n")
    with pytest.raises(DataError, match="utt2spk"):
        DataDir.read(tmp_path)
    assert DataDir.read(tmp_path, need_speakers=False).utt2spk == {"a": "a", "b": "b"}
    (tmp_path / "utt2spk").write_text("a s\nc s\n")  # where it is there, it counts
    with pytest.raises(DataError, match="utt2spk"):
        DataDir.read(tmp_path, need_speakers=False)
