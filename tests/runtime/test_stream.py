"""Names in a stream: right ones, in time, whatever the blocks; strangers found again; corrections; bounded memory."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tests.runtime.made_people import RATE, HumEncoder, HumGallery, HumScorer, conversation, hum
from timbre.people.people_heard import Heard
from timbre.people.regrouping import Past
from timbre.people.stream import Stream, follow, last_said
from timbre.people.stream_options import StreamOptions
from timbre.runtime.silero import SileroVad, package_model
from timbre.runtime.turns import Turn
from timbre.utils.errors import DataError

ORDER = [(0, 4.0), (1, 3.0), (2, 5.0), (0, 3.0), (3, 4.0), (1, 2.0), (2, 2.5)]
WAV = Path(__file__).parents[1] / "data" / "kaldi" / "wav" / "utt1.wav"  # recorded speech: hums are none to silero
KNOWN = {"ann": 0, "bob": 1}


def blocks_of(wave: NDArray[np.float32], size: int = 1600) -> Iterator[NDArray[np.float32]]:
    return (wave[start : start + size] for start in range(0, len(wave), size))


def stream(rate: int = RATE, **options: float) -> Stream:
    return Stream(HumEncoder(), HumScorer(), rate, HumGallery(KNOWN), options=StreamOptions(**options))  # type: ignore[arg-type]


def names_at(turns: Sequence[Turn], truth: Sequence[tuple[float, float, int]]) -> list[str]:
    """Who was said to speak in the middle of each turn of TRUTH."""
    middles = [(start + end) / 2 for start, end, _ in truth]
    return [next((turn.name for turn in turns if turn.start <= time < turn.end), "nobody") for time in middles]


@pytest.mark.parametrize("latency", [1.0, 2.0, 3.0])
def test_everyone_gets_a_name_in_time(latency: float) -> None:
    wave, truth = conversation(ORDER)
    listening = stream(latency=latency)
    said: list[tuple[float, Turn]] = []
    for number, block in enumerate(blocks_of(wave), 1):
        said += [(number * 0.1, turn) for turn in listening.push(block)]
    turns = last_said([*(turn for _, turn in said), *listening.finish()])
    assert names_at(turns, truth) == ["ann", "bob", "unknown 1", "ann", "unknown 2", "bob", "unknown 1"]
    assert not any(turn.going_on for turn in turns)
    assert all(turn.known == (turn.name in KNOWN) for turn in turns)
    for start, end, _ in truth[:-1]:
        begins = [time for time, turn in said if abs(turn.start - start) < 0.6]
        ends = [time for time, turn in said if not turn.going_on and abs(turn.end - end) < 0.6]
        assert min(begins) - start <= latency + (0.3 if latency == 1 else 0)  # a window more may be needed to be sure
        assert min(ends) - end <= latency + StreamOptions().max_gap + (0.3 if latency == 1 else 0)


def test_boundaries_are_where_people_stop() -> None:
    wave, truth = conversation(ORDER)
    turns = last_said(follow(stream(), blocks_of(wave)))
    assert [round(turn.start, 1) for turn in turns] == pytest.approx([start for start, _, _ in truth], abs=0.11)
    assert [round(turn.end, 1) for turn in turns] == pytest.approx([end for _, end, _ in truth], abs=0.11)


def test_people_who_follow_without_a_pause_are_told_apart() -> None:
    wave, truth = conversation([(0, 4.0), (1, 3.0), (2, 5.0), (0, 3.0), (3, 4.0)], pause=0.0)
    turns = last_said(follow(stream(), blocks_of(wave)))
    assert names_at(turns, truth) in (["ann", "bob", f"unknown {one}", "ann", f"unknown {one + 1}"] for one in (1, 2))
    assert [turn.start for turn in turns] == pytest.approx([start for start, _, _ in truth], abs=0.4)


@pytest.mark.parametrize("sizes", [[1], [7, 1, 4001], [1600], [163], [100_000]], ids=str)
@pytest.mark.parametrize("rate", [16000, 11025])
def test_the_size_of_blocks_does_not_matter(sizes: list[int], rate: int) -> None:
    wave, _ = conversation(ORDER[:3], rate=rate)
    wave = wave[: 4 * rate] if sizes == [1] else wave
    wanted = list(follow(stream(rate), [wave]))
    found, start, place = [], 0, 0
    listening = stream(rate)
    while start < len(wave):
        size = sizes[place % len(sizes)]
        found += listening.push(wave[start : start + size])
        start, place = start + size, place + 1
    found += listening.finish()
    assert found == wanted or [str(one) for one in found] == [str(one) for one in wanted]  # an LLR may be NaN
    assert len(last_said(found)) == (1 if sizes == [1] else 3)


def test_integers_and_floats_are_the_same() -> None:
    wave, _ = conversation(ORDER[:2])
    integers = np.round(wave * 32768).astype(np.int16)
    wanted = [str(turn) for turn in follow(stream(), blocks_of(integers / np.float32(32768)))]
    assert [str(turn) for turn in follow(stream(), blocks_of(integers))] == wanted
    assert [str(turn) for turn in follow(stream(), blocks_of(integers[:, None]))] == wanted


def test_with_the_network_vad() -> None:
    speech = soundfile.read(WAV, dtype="float32")[0]
    vad = SileroVad(package_model())
    wave = np.concatenate([speech, hum(3, 2.0) * 0.001, speech])
    listening = Stream(HumEncoder(), HumScorer(), RATE, vad=vad)
    turns = last_said(follow(listening, blocks_of(wave, 1000)))
    assert turns[0].start == pytest.approx(0.5, abs=0.1) and turns[-1].end == pytest.approx(10.8, abs=0.15)
    assert not [turn for turn in turns if turn.start < 5.5 < turn.end], "what is not speech is nobody's"


def test_two_strangers_who_are_one_are_merged_and_this_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who speaks last is not known again, for what is remembered of him is spoilt; all that was heard tells."""
    monkeypatch.setattr(Heard, "remodel", lambda *_: None)
    listening = stream(latency=1.0)
    wave = conversation([(5, 4.0), (0, 3.0), (5, 3.0)])[0]
    before = round(8.2 * RATE)  # the last turn has not begun
    said = list(listening.push(wave[:before]))
    [first] = listening.heard.strangers.values()
    first.total = -first.total
    said += [*listening.push(wave[before:]), *listening.finish()]
    assert [turn.name for turn in last_said(said)] == ["unknown 1", "ann", "unknown 1"]
    assert next(turn.name for turn in said if turn.number == 3) == "unknown 2"
    assert [turn.name for turn in said if turn.corrects] == ["unknown 1"]
    assert list(listening.heard.strangers) == [-2]


def test_someone_may_turn_out_to_be_another_as_he_begins_to_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of one turn shows that the stranger of the next, who is known by now, is somebody else."""
    listening, ann = stream(), 0

    def regroup(said: Any, _: float, is_over: bool) -> list[Turn]:
        return listening._merge(-2, ann) if is_over and said.turn.number == 2 else []

    monkeypatch.setattr(listening, "_regroup", regroup)
    said = list(follow(listening, blocks_of(conversation([(5, 4.0), (0, 3.0), (5, 3.0)])[0])))
    assert [next(turn.name for turn in said if turn.number == number) for number in (1, 3)] == ["unknown 1", "ann"]


def test_two_who_were_taken_for_one_are_told_apart() -> None:
    heard, past = Heard(HumScorer(), common={"snr": 30.0, "band": -3.0}), Past(100)
    for turn, person in ((1, 5), (2, 6), (3, 5)):
        past.add(turn, HumEncoder().windows(hum(person, 4.0, turn), [(0, 3 * RATE), (RATE, 4 * RATE)]), [3.0, 3.0])
    one = heard.meet(past.vectors[0], 3.0, 1.0)
    found = past.regroup(heard, {1: one, 2: one, 3: one}, 9.0)
    assert [heard.name(found[turn]) for turn in (1, 2, 3)] == ["unknown 1", "unknown 2", "unknown 1"]


def test_someone_taken_for_another_is_corrected() -> None:
    """Here the windows of a turn lie, its whole does not."""

    class Doubtful(HumScorer):
        windows = 0

        def llr(self, scores: NDArray[np.float64], enroll: Sequence, test: Sequence) -> NDArray[np.float64]:  # type: ignore[type-arg]
            found = super().llr(scores, enroll, test)
            short = np.array([math.exp(one["logdur"]) < 1.6 for one in test], bool)
            is_bob = np.arange(len(found)) % 2 == 1
            return np.where(short & (len(found) == 2), np.where(is_bob, 7.0, -7.0), found)

    wave, _ = conversation([(0, 4.0)])
    said = list(follow(Stream(HumEncoder(), Doubtful(), RATE, HumGallery(KNOWN)), blocks_of(wave)))
    assert said[0].name == "bob"
    assert last_said(said)[0].name == "ann"
    assert any(turn.corrects for turn in said)


def test_memory_is_bounded_in_the_number_of_people_and_turns() -> None:
    listening = stream(most_strangers=3, history=4, past=9)
    order = [(person, 2.5) for person in range(10, 22)]
    turns = last_said(follow(listening, blocks_of(conversation(order)[0])))
    assert len(turns) >= 8
    assert len(listening.heard.strangers) <= 3 and len(listening._said) <= 4 and len(listening._windows) <= 20
    assert len(listening._past.vectors) == len(listening._past.turns) == 9
    assert len(listening._speech._samples) <= 16 * RATE


def test_of_more_people_than_are_remembered_each_keeps_a_number() -> None:
    """Turns of who was forgotten are nobody new when all are looked at again; who comes back has the old number."""
    listening = stream(most_strangers=3)
    order = [(person, 3.0) for person in (*range(10, 20), 10)]
    said = list(follow(listening, blocks_of(conversation(order)[0])))
    turns = last_said(said)
    assert [turn.name for turn in turns[:10]] == [f"unknown {number}" for number in range(1, 11)]
    assert turns[-1].name == "unknown 1"
    assert listening.heard.num_strangers <= 11 and len(listening.heard.strangers) <= 3


def test_a_stranger_may_be_forgotten_while_he_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    listening = stream()
    reconsider = Stream._reconsider

    def forgetful(self: Stream, said: Any, at_end: float = 0.0) -> list[Turn]:
        self.heard.forget(said.person)
        return reconsider(self, said, at_end)

    monkeypatch.setattr(Stream, "_reconsider", forgetful)
    turns = last_said(follow(listening, blocks_of(conversation([(5, 5.0), (6, 3.0)])[0])))
    assert sum(turn.end - turn.start for turn in turns) == pytest.approx(8, abs=1)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (np.zeros((160, 6), np.float32), "one channel"),
        (np.full(160, np.nan, np.float32), "not finite"),
        (np.full(160, np.inf), "not finite"),
        (np.zeros(160, complex), "integers or floats"),
        (np.array(["a"]), "integers or floats"),
    ],
)
def test_bad_blocks(block: NDArray[np.float32], message: str) -> None:
    with pytest.raises(DataError, match=message):
        stream().push(block)


@pytest.mark.parametrize(("options", "rate"), [({"latency": 0.5}, RATE), ({"hop": 2.0}, RATE), ({}, 10)])
def test_bad_options(options: dict[str, float], rate: int) -> None:
    with pytest.raises(DataError):
        stream(rate, **options)


@pytest.mark.parametrize("wave", [np.zeros(0), np.zeros(100), np.zeros(5 * RATE), np.ones(RATE)], ids=len)
def test_nothing_is_nobody(wave: NDArray[np.float64]) -> None:
    quiet = list(follow(stream(), blocks_of(wave.astype(np.float32) * 1e-3)))
    assert quiet == []


@pytest.mark.parametrize("options", [{"latency": 4}, {"hop": 0.5}, {"most_strangers": 1}, {"history": 0}, {"past": 0}])
def test_what_cannot_be_listened_by_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(DataError, match=r"must be|wanted"):
        stream(**options)
