"""Diarization with the run-time alone: who speaks when, names, long recordings in parts, the three forms of output."""

import json

import numpy as np
import pytest

from tests.runtime.made_people import BANDS, RATE, HumEncoder, HumGallery, HumScorer, conversation
from timbre.datadir.rttm import read_rttm
from timbre.people import window_clusters as module
from timbre.people.diarize import DiarizeOptions, diarize
from timbre.runtime.turns import Turn, as_json, as_rttm, clock
from timbre.utils.errors import DataError

ORDER = [(0, 4.0), (1, 3.0), (2, 5.0), (0, 3.0), (3, 4.0), (1, 2.5), (2, 2.5)]
NAMES = ["ann", "bob", "unknown 1", "ann", "unknown 2", "bob", "unknown 1"]
GALLERY = HumGallery({"ann": 0, "bob": 1, "cid": 9})


@pytest.mark.parametrize("rate", [16000, 22050])
def test_who_speaks_when(rate: int) -> None:
    wave, truth = conversation(ORDER, rate=rate)
    turns = diarize(wave, rate, HumEncoder(), HumScorer(), GALLERY)
    assert [turn.name for turn in turns] == NAMES
    assert [turn.number for turn in turns] == list(range(1, 8))
    assert [turn.known for turn in turns] == [not name.startswith("unknown") for name in NAMES]
    for place, (start, end, _) in enumerate(truth):
        assert (turns[place].start, turns[place].end) == pytest.approx((start, end), abs=0.06)


def test_without_gallery_strangers_are_numbered_as_they_speak() -> None:
    turns = diarize(conversation(ORDER)[0], RATE, HumEncoder(), HumScorer())
    assert [turn.name for turn in turns] == [f"unknown {number}" for number in (1, 2, 3, 1, 4, 2, 3)]


def test_what_a_room_adds_to_all_windows_makes_nobody_alike() -> None:
    class InARoom(HumEncoder):
        def windows(self, samples, spans):  # type: ignore[no-untyped-def]
            return super().windows(samples, spans) + np.float32(10) * np.sign(np.sin(np.arange(BANDS)))

    wave, _ = conversation(ORDER)
    numbers = [
        [turn.name for turn in diarize(wave, RATE, InARoom(), HumScorer(), options=DiarizeOptions(centring=share))]
        for share in (0.0, 0.3)
    ]
    assert numbers[0] != numbers[1] == [f"unknown {number}" for number in (1, 2, 3, 1, 4, 2, 3)]
    with pytest.raises(DataError, match="between 0 and 1"):
        DiarizeOptions(centring=2.0)


def test_a_known_number_of_speakers() -> None:
    turns = diarize(conversation(ORDER)[0], RATE, HumEncoder(), HumScorer(), options=DiarizeOptions(speakers=2))
    assert len({turn.name for turn in turns}) == 2
    with pytest.raises(DataError, match="at least 1"):
        DiarizeOptions(speakers=0)


def test_parts_of_a_long_recording_have_the_same_speakers(monkeypatch: pytest.MonkeyPatch) -> None:
    wave, _ = conversation(ORDER)
    wanted = diarize(wave, RATE, HumEncoder(), HumScorer(), GALLERY)
    monkeypatch.setattr(module, "_PART", 9)
    assert [turn.name for turn in diarize(wave, RATE, HumEncoder(), HumScorer(), GALLERY)] == [
        turn.name for turn in wanted
    ]


@pytest.mark.parametrize("size", [0, 100, 5 * RATE])
def test_silence_is_nobody(size: int) -> None:
    assert diarize(np.zeros(size, np.int16), RATE, HumEncoder(), HumScorer(), GALLERY) == []


def test_bad_audio() -> None:
    with pytest.raises(DataError, match="not finite"):
        diarize(np.full(RATE, np.nan), RATE, HumEncoder(), HumScorer())
    with pytest.raises(DataError, match="one channel"):
        diarize(np.zeros((RATE, 2)), RATE, HumEncoder(), HumScorer())


def test_forms_of_output(tmp_path) -> None:  # type: ignore[no-untyped-def]
    turns = [Turn(0.5, 4.25, "ann lee", 3.2, True, 1), Turn(5.0, 6.0, "unknown 1", number=2)]
    (tmp_path / "a.rttm").write_text(as_rttm("a meeting", turns))
    [(recording, read)] = read_rttm(tmp_path / "a.rttm").items()
    assert recording == "a_meeting"
    assert [(one.start, one.end, one.speaker) for one in read] == [(0.5, 4.25, "ann_lee"), (5.0, 6.0, "unknown_1")]
    content = json.loads(as_json("a meeting", turns))
    assert content["speakers"] == {"ann lee": 3.75, "unknown 1": 1.0}
    assert content["turns"][1]["llr"] is None and content["turns"][0]["llr"] == 3.2
    assert str(turns[0]) == "0:00.5 - 0:04.2  ann lee  LLR 3.2"
    assert [clock(time) for time in (59.96, 3723.4)] == ["1:00.0", "1:02:03.4"]
