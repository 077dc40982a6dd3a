"""Conditions drawn for each utterance: what was drawn is kept, and trials whose sides share it are left out."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from timbre.audio.effects import Effect, Sources, build_chain, generator
from timbre.audio.effects.base import NotedRng, note
from timbre.audio.effects.reverb import reverberation_time
from timbre.audio.preprocess import preprocess_audio
from timbre.datadir.datadir import DataDir, Segment
from timbre.datadir.pairs import without_shared
from timbre.datadir.tables import read_table
from timbre.datadir.trials import Trials, read_trials
from timbre.utils.errors import DataError
from waves import RATE, Make, noise

CHOICE = {
    "class_path": "OneOf",
    "init_args": {
        "label": "line",
        "names": ["plain", "coded"],
        "effects": [{"class_path": "Gain"}, {"class_path": "MuLaw"}],
    },
}


@pytest.fixture
def data(make: Make) -> DataDir:
    """Six speakers of eight segments, all in one recording each."""
    made = make("data", {f"r{number}": noise(8, number) for number in range(6)})
    segments = {
        f"s{speaker}-{number}": Segment(f"r{speaker}", number, number + 1)
        for speaker in range(6)
        for number in range(8)
    }
    data = DataDir(made.path, made.wavs, {utt: utt[:2] for utt in segments}, segments)
    data.write(made.path)
    names = sorted(segments)
    pairs = [(one, other) for place, one in enumerate(names) for other in names[place + 1 :]]
    lines = [f"{one} {other} {'target' if one[:2] == other[:2] else 'nontarget'}\n" for one, other in pairs]
    (made.path / "trials").write_text("".join(lines))
    (made.path / "reco2dur").write_text("".join(f"r{number} 8\n" for number in range(6)))
    return data


def rooms(tmp_path: Path, number: int) -> Sources:
    folder = tmp_path / "rir"
    folder.mkdir()
    for name in range(number):
        response = np.random.default_rng(name).standard_normal(1600) * 10 ** (-3 * np.arange(1600) / RATE / 0.2)
        soundfile.write(folder / f"{name}.wav", 0.2 * response, RATE)
    return Sources.given(rir=folder)


def test_each_segment_has_draws_of_its_own_and_no_trial_shares_them(data: DataDir, tmp_path: Path) -> None:
    chain = build_chain([{"class_path": "Reverberate"}, CHOICE], rooms(tmp_path, 5))
    preprocess_audio(data, tmp_path / "new", chain, nj=1, cut=True, across=["room"])
    new = DataDir.read(tmp_path / "new")
    assert not new.segments and new.utt2spk == data.utt2spk and set(new.wavs) == set(data.utt2spk)
    assert not (new.path / "reco2dur").exists()
    room, line, rt60 = (read_table(new.path / f"utt2{name}") for name in ("room", "line", "rt60"))
    assert set(room) == set(line) == set(new.utt2spk) and len(set(room.values())) == 5
    assert set(line.values()) == {"plain", "coded"} and set(read_table(new.path / "utt2codec").values()) == {"MuLaw"}
    assert all(0.1 < float(value) < 0.3 for value in rt60.values())
    old, kept = (
        {(t.enroll_ids[i], t.test_ids[j]) for i, j in zip(t.enroll, t.test, strict=True)}
        for t in (read_trials(data.path / "trials"), read_trials(new.path / "trials"))
    )
    assert kept == {pair for pair in old if room[pair[0]] != room[pair[1]]} and 0 < len(kept) < len(old)


def test_the_number_of_jobs_changes_nothing(data: DataDir, tmp_path: Path) -> None:
    chain = build_chain([CHOICE, {"class_path": "Handset"}, {"class_path": "ColouredNoise"}], Sources())
    for nj in (1, 2):
        preprocess_audio(data, tmp_path / f"{nj}", chain, nj=nj, cut=True)
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / nj).rglob("*.flac")} for nj in "12")
    assert one == two and len(one) == 48
    for table in ("utt2snr", "utt2line", "utt2handset_low"):
        assert (tmp_path / "1" / table).read_bytes() == (tmp_path / "2" / table).read_bytes()
    assert len(set(read_table(tmp_path / "1" / "utt2snr").values())) > 45, "of four digits; no two utterances alike"


def test_without_cutting_segments_share_what_their_recording_drew(data: DataDir, tmp_path: Path) -> None:
    preprocess_audio(data, tmp_path / "new", build_chain([CHOICE], Sources()), nj=1)
    line = read_table(tmp_path / "new" / "utt2line")
    assert set(line) == set(data.utt2spk) and all(line[utt] == line[f"{utt[:3]}0"] for utt in line)


def test_what_cannot_be_kept_apart_is_refused(data: DataDir, tmp_path: Path) -> None:
    chain = build_chain([{"class_path": "Reverberate"}], rooms(tmp_path, 1))
    for label, text in (("room", "there are none of one class"), ("band", "no effect draws 'band'")):
        with pytest.raises(DataError, match=text):
            preprocess_audio(data, tmp_path / "new", chain, nj=1, cut=True, across=[label])
        assert not (tmp_path / "new" / "wav.scp").exists()
    for arguments in ({"label": "x"}, {"names": ["a", "b"]}, {"label": "x", "names": ["a"]}):
        with pytest.raises(DataError, match="label and names go together"):
            build_chain(
                [
                    {
                        "class_path": "OneOf",
                        "init_args": {"effects": [{"class_path": "MuLaw"}, {"class_path": "ALaw"}], **arguments},
                    }
                ],
                Sources(),
            )


def test_a_model_shares_what_any_of_its_utterances_has() -> None:
    trials = Trials.of(["m", "m", "m", "a"], ["c", "d", "x", "a"], [True, False, True, False])
    table, models = {"a": "1", "b": "2", "c": "2", "d": "3"}, {"m": ["a", "b", "unknown"]}
    kept = without_shared(trials, table, models)
    pairs = [(kept.enroll_ids[i], kept.test_ids[j]) for i, j in zip(kept.enroll, kept.test, strict=True)]
    assert pairs == [("m", "d"), ("m", "x")]


def test_notes_change_no_draw_and_are_kept_only_where_asked_for() -> None:
    class Drawing(Effect):
        def __call__(self, samples: np.ndarray, rate: int, rng: np.random.Generator, speaker: str = "") -> np.ndarray:
            value = rng.random()
            note(rng, value=value, kind="word")
            return np.full(1, value, np.float32)

    noted = NotedRng(generator(0, 0, "u"))
    plain, kept = (Drawing()(noise(1), RATE, rng) for rng in (generator(0, 0, "u"), noted))
    assert plain == kept and noted.notes == {"value": f"{kept[0]:.4g}", "kind": "word"}


@pytest.mark.parametrize("rt60", [0.15, 0.6])
def test_reverberation_time_is_that_of_the_decay(rt60: float) -> None:
    time = np.arange(RATE) / RATE
    response = (np.random.default_rng(0).standard_normal(RATE) * 10 ** (-3 * time / rt60)).astype(np.float32)
    assert reverberation_time(response, RATE) == pytest.approx(rt60, rel=0.05)
    assert reverberation_time(np.ones(1, np.float32), RATE) == 0
