"""Crops at test time: which frames they are of, and what their names say."""

from pathlib import Path

import numpy as np
import pytest

from timbre.datadir.ark import ArkWriter
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.feats.pieces import Cutter, read_pieces
from timbre.feats.protocols import Frames, Protocol, describe, frame_shift_of
from timbre.feats.utterances import list_utterances
from timbre.feats.vad import VadOptions, energy_vad
from timbre.runtime.normalize import NormalizeOptions, normalize
from timbre.utils.errors import DataError


def spans(name: str, num_frames: int, shift: float = 0.01, length: float = 0.025) -> list[tuple[str, int, int]]:
    """(suffix, first frame, number of frames) of each piece, whose frames must follow each other, round the end."""
    found = []
    for suffix, rows in Protocol.named(name).pieces(num_frames, Frames(shift, length)):
        rows = np.arange(num_frames) if rows is None else rows
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
    assert spans("len2s", 1000) == [("", 401, 198)], "as many as a recording of 32,000 samples has, 400 samples each"
    assert spans("len1s", 1000, length=0.01) == [("", 450, 100)]
    assert spans("len0.001s", 1000) == [("", 499, 1)]
    assert spans("len2s_seen_whole", 1000) == [("", 400, 200)]
    assert spans("len1.5s_seen_whole", 1001, shift=0.02) == [("", 463, 75)]
    assert spans("full", 77) == [("", 0, 77)]


def test_of_short_utterances_a_cut_is_the_whole_and_crops_are_repeated_from_their_start() -> None:
    for name in ("len1s", "len3600s"):
        assert Protocol.named(name).pieces(98, Frames(0.01, 0.025)) == [("", None)]
    assert spans("len1s", 99) == [("", 0, 98)] and spans("len1s", 101) == [("", 1, 98)]
    for name in ("len1s_seen_whole", "tta1x100"):
        ((suffix, rows),) = Protocol.named(name).pieces(40, Frames(0.01, 0.025))
        assert suffix == "" and rows is not None
        assert rows.tolist() == [*range(40), *range(40), *range(20)]


WRONG = ["ful", "len0s", "len2", "tta10", "tta0x400", "tta2x1.5", "full_recorded", "", "len-1s", "lenXs", "len1s "]
WRONG += ["len2s_recorded", "tta2x50_seen_whole", "len1e3s", "len٣s", "len3601s", "tta1001x50", "tta2x360001"]
WRONG += [f"len{'9' * 400}s", f"tta{'9' * 400}x1", f"tta1x{'9' * 5000}", "len.5s", "len1s\n", "len1s,len2s", "../len1s"]


@pytest.mark.parametrize("name", WRONG, ids=range(len(WRONG)))
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="protocol") as info:
        Protocol.named(name)
    assert len(str(info.value)) < 250


def test_names_in_words() -> None:
    assert describe("full") == "whole utterance"
    assert describe("len1.5s") == "1.5 s of the recording from the middle, normalised by itself"
    assert describe("len2s_seen_whole") == "2 s of speech from the middle, normalised by the whole"
    assert describe("tta10x400") == "10 crops of 400 frames"
    assert describe("tta5x3s+full_recorded") == "5 crops of 3 s of the recording, and the whole utterance"
    assert (
        describe("full-len2s")
        == "enrolment: whole utterance, test: 2 s of the recording from the middle, normalised by itself"
    )
    with pytest.raises(DataError, match="more than two sides"):
        describe("full-full-full")


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """An utterance of 90 frames, whose first 40 are a pause by its energy, in column 0; another without features."""
    rng = np.random.default_rng(0)
    feats = rng.normal(size=(90, 3)).astype(np.float32)
    feats[:, 0] += np.where(np.arange(90) < 40, 5, 15)
    with ArkWriter(tmp_path / "feats.ark") as writer, ArkWriter(tmp_path / "vad.ark") as vad:
        writer.write("a-1", feats)
        vad.write("a-1", (np.arange(90) >= 40).astype(np.float32))
    write_table(tmp_path / "feats.scp", writer.scp)
    write_table(tmp_path / "vad.scp", vad.scp)
    write_table(tmp_path / "utt2spk", {"a-1": "a", "a-2": "a"})
    return DataDir.read(tmp_path)


def read(data: DataDir, options: NormalizeOptions, *names: str) -> dict[tuple[str, str], object]:
    """(protocol, id) -> features, in one pass."""
    protocols = [Protocol.named(name) for name in names]
    pieces = read_pieces(list_utterances(data, options), 2, protocols, Cutter.of(data, protocols))
    return {(name, key): feats for name, key, feats in pieces}


def test_pieces_of_speech_and_of_the_recording(data: DataDir) -> None:
    """Of the recording: by themselves, whatever the rest of it is."""
    options = NormalizeOptions(window=30)
    utterance = list_utterances(data, options)[0]
    feats, _ = utterance.load()
    whole = utterance.read()
    found = read(data, options, "full", "len0.2s_seen_whole", "len0.2s", "len5s", "tta3x20_recorded", "tta2x20s")
    assert len(whole) == 50 and np.array_equal(found["full", "a-1"], whole)
    assert np.array_equal(found["len0.2s_seen_whole", "a-1"], whole[15:35])
    assert np.array_equal(found["len5s", "a-1"], whole)

    def alone(first: int) -> object:
        part = feats[first : first + 20]
        voiced = energy_vad(part[:, 0], VadOptions())
        return normalize(part, voiced, NormalizeOptions(window=30, vad=bool(voiced.any())))

    assert np.array_equal(found["len0.2s", "a-1"], alone(35)) and len(found["len0.2s", "a-1"]) == 17  # 2 of context
    assert np.array_equal(found["tta3x20_recorded", "a-1#01"], found["len0.2s", "a-1"])
    for number, first in (("00", 0), ("02", 70)):
        assert np.array_equal(found["tta3x20_recorded", f"a-1#{number}"], alone(first))
    assert len(found["tta3x20_recorded", "a-1#00"]) >= 1
    errors = [value for (_, key), value in found.items() if key == "a-2"]
    assert len(errors) == 6 and all(isinstance(error, DataError) for error in errors)
    assert "a-2 is not in feats.scp" in str(errors[0])


def test_a_cut_of_a_pause_is_all_of_it(data: DataDir) -> None:
    with ArkWriter(data.path / "energy.ark") as writer:
        writer.write("a-1", np.zeros(90, np.float32))  # below any threshold
    write_table(data.path / "energy.scp", writer.scp)
    assert len(read(data, NormalizeOptions(), "len0.2s")["len0.2s", "a-1"]) == 20  # type: ignore[arg-type]


def test_energies_that_do_not_fit_are_named_and_other_protocols_do_without(data: DataDir) -> None:
    with ArkWriter(data.path / "energy.ark") as writer:
        writer.write("a-1", np.zeros(89, np.float32))
    for table, text in (
        (writer.scp, "utterance a-1: 90 frames of features, but 89 of energy"),
        ({"other": writer.scp["a-1"]}, "no energy of utterance a-1"),
    ):
        write_table(data.path / "energy.scp", table)
        found = read(data, NormalizeOptions(), "len0.2s", "len0.2s_seen_whole")
        assert text in str(found["len0.2s", "a-1"])
        assert len(found["len0.2s_seen_whole", "a-1"]) == 20  # type: ignore[arg-type]
        assert len(read(data, NormalizeOptions(vad=False), "len0.2s")["len0.2s", "a-1"]) == 20  # type: ignore[arg-type]


def test_frame_shift(data: DataDir) -> None:
    assert frame_shift_of(data) == 0.01
    (data.path / "frame_shift").write_text("0.0125\n")
    assert frame_shift_of(data) == 0.0125
    (data.path / "frame_shift").write_text("ten\n")
    with pytest.raises(DataError, match="frame_shift: a number of seconds is wanted, not 'ten'"):
        frame_shift_of(data)
