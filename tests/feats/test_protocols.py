"""Crops at test time: which frames they are of, and what their names say."""

from pathlib import Path

import numpy as np
import pytest

from timbre.datadir.ark import ArkWriter
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.feats.normalize import NormalizeOptions, normalize
from timbre.feats.protocols import Protocol, describe, frame_shift_of, read_pieces
from timbre.feats.utterances import list_utterances
from timbre.utils.errors import DataError


def spans(name: str, num_frames: int, frame_shift: float = 0.01) -> list[tuple[str, int, int]]:
    """(suffix, first frame, number of frames) of each piece, whose frames must follow each other, round the end."""
    found = []
    for suffix, rows in Protocol.named(name).pieces(num_frames, frame_shift):
        assert ((np.diff(rows) - 1) % num_frames == 0).all()
        found.append((suffix, int(rows[0]), len(rows)))
    return found


def test_crops_are_those_of_voxceleb_trainer() -> None:
    """Starts at linspace(0, length - crop, 10), rounded down."""
    starts = [0, 66, 133, 200, 266, 333, 400, 466, 533, 600]
    assert spans("tta10x400", 1000) == [(f"#{number:02d}", start, 400) for number, start in enumerate(starts)]
    assert spans("tta10x400", 400) == [(f"#{number:02d}", 0, 400) for number in range(10)]
    assert spans("tta1x400", 1000) == [("", 0, 400)]
    assert spans("tta3x2s+full", 500) == [("#00", 0, 200), ("#01", 150, 200), ("#02", 300, 200), ("#full", 0, 500)]


def test_cuts_are_from_the_middle() -> None:
    assert spans("len2s", 1000) == [("", 400, 200)]
    assert spans("len1.5s", 1001, frame_shift=0.02) == [("", 463, 75)]
    assert spans("full", 77) == [("", 0, 77)]


def test_short_utterances_are_repeated_from_their_start() -> None:
    ((suffix, rows),) = Protocol.named("len1s").pieces(40, 0.01)
    assert suffix == ""
    assert rows.tolist() == [*range(40), *range(40), *range(20)]


@pytest.mark.parametrize(
    "name", ["ful", "len0s", "len2", "tta10", "tta0x400", "tta2x1.5", "full_recorded", "", "len-1s"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="protocol"):
        Protocol.named(name)


def test_names_in_words() -> None:
    assert describe("full") == "whole utterance"
    assert describe("len1.5s") == "1.5 s of speech from the middle"
    assert describe("tta10x400") == "10 crops of 400 frames"
    assert describe("tta5x3s+full_recorded") == "5 crops of 3 s of the recording, and the whole utterance"
    assert describe("full-len2s") == "enrolment: whole utterance, test: 2 s of speech from the middle"
    with pytest.raises(DataError, match="more than two sides"):
        describe("full-full-full")


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """An utterance of 90 frames, whose first 40 are a pause, and one without features."""
    rng = np.random.default_rng(0)
    with ArkWriter(tmp_path / "feats.ark") as feats, ArkWriter(tmp_path / "vad.ark") as vad:
        feats.write("a-1", rng.normal(size=(90, 3)))
        vad.write("a-1", (np.arange(90) >= 40).astype(np.float32))
    write_table(tmp_path / "feats.scp", feats.scp)
    write_table(tmp_path / "vad.scp", vad.scp)
    write_table(tmp_path / "utt2spk", {"a-1": "a", "a-2": "a"})
    return DataDir.read(tmp_path)


def test_crops_of_speech_and_of_the_recording(data: DataDir) -> None:
    options = NormalizeOptions(window=30)
    utterances = list_utterances(data, options)
    feats, voiced = utterances[0].load()
    whole = utterances[0].read()
    assert voiced is not None and len(whole) == 50

    def read(name: str) -> dict[str, object]:
        return dict(read_pieces(utterances, 2, Protocol.named(name), 0.01))

    assert np.array_equal(read("full")["a-1"], whole)
    assert np.array_equal(read("len0.2s")["a-1"], whole[15:35])
    recorded = read("tta3x20_recorded")
    assert np.array_equal(recorded["a-1#02"], normalize(feats[70:90], None, NormalizeOptions(window=30, vad=False)))
    assert np.array_equal(recorded["a-1#01"], normalize(feats[35:55], voiced[35:55], options))  # 15 frames
    assert len(recorded["a-1#01"]) == 15
    assert len(recorded["a-1#00"]) == 20  # all of it is a pause
    assert isinstance(recorded["a-2"], DataError) and "a-2 is not in feats.scp" in str(recorded["a-2"])


def test_frame_shift(data: DataDir) -> None:
    assert frame_shift_of(data) == 0.01
    (data.path / "frame_shift").write_text("0.0125\n")
    assert frame_shift_of(data) == 0.0125
    (data.path / "frame_shift").write_text("ten\n")
    with pytest.raises(DataError, match="frame_shift: a number of seconds is wanted, not 'ten'"):
        frame_shift_of(data)
