"""Simulated conversations: the audio says what the truth says, and the same seed gives the same files."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from steps.simulate_conversations import simulate_conversations
from timbre.datadir.rttm import Turns, read_rttm, speech_of
from timbre.datadir.tables import read_table, write_table
from timbre.datadir.validate import validate
from timbre.diarization.conversations import ConversationOptions, log_energy
from timbre.utils.errors import DataError

RATE = 8000
TALK = ConversationOptions(3, "talk", 30.0, 2, 4, turn=2.0, pause=0.4, overlap_probability=0.5, overlap=0.5, rate=RATE)


@pytest.fixture(scope="module")
def utterances(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five speakers, each a tone of her own, 4 utterances of 1 s of tone between 0.3 s of faint noise."""
    path = tmp_path_factory.mktemp("utterances")
    rng = np.random.default_rng(0)
    wavs, speakers = {}, {}
    for spk in range(5):
        for number in range(4):
            utt = f"spk{spk}-{number}"
            samples = 1e-4 * rng.standard_normal(round(1.6 * RATE))
            time = np.arange(RATE) / RATE
            samples[round(0.3 * RATE) :][:RATE] += 0.3 * np.sin(2 * np.pi * (300 + 400 * spk) * time)
            wavs[utt], speakers[utt] = str(path / f"{utt}.wav"), f"spk{spk}"
            soundfile.write(wavs[utt], samples, RATE)
    write_table(path / "wav.scp", wavs)
    write_table(path / "utt2spk", speakers)
    return path


@pytest.fixture(scope="module")
def talk(utterances: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("talk") / "set"
    simulate_conversations(utterances, path, TALK, nj=1)
    return path


def test_is_a_data_directory_with_the_truth(talk: Path) -> None:
    assert read_table(talk / "spk2utt") == {name: name for name in ("talk001", "talk002", "talk003")}
    assert validate(talk, need_wav=True) == []
    turns = read_rttm(talk / "rttm")
    numbers = {name: str(len({turn.speaker for turn in listed})) for name, listed in turns.items()}
    assert read_table(talk / "reco2num_spk") == numbers
    assert all(2 <= int(number) <= 4 for number in numbers.values())
    assert set(read_table(talk / "utt2dur").values()) == {"30"}
    info = soundfile.info(talk / "audio" / "talk001.flac")
    assert (info.subtype, info.samplerate, info.frames) == ("PCM_16", RATE, 30 * RATE)


def test_each_tone_sounds_when_its_speaker_speaks(talk: Path) -> None:
    """Power at a speaker's frequency, within her turns and outside of them, edges left out."""
    for name, turns in read_rttm(talk / "rttm").items():
        samples, _ = soundfile.read(talk / "audio" / f"{name}.flac")
        for spk in range(5):
            speaks = np.zeros(len(samples), bool)
            edge = np.zeros(len(samples), bool)
            for turn in (turn for turn in turns if turn.speaker == f"spk{spk}"):
                speaks[round(turn.start * RATE) : round(turn.end * RATE)] = True
                for time in (turn.start, turn.end):
                    edge[max(0, round((time - 0.08) * RATE)) : round((time + 0.08) * RATE)] = True
            time = np.arange(len(samples)) / RATE
            wave = samples * np.exp(-2j * np.pi * (300 + 400 * spk) * time)
            height = np.abs(np.convolve(wave, np.ones(400) / 400, "same"))
            assert speaks.any() == any(turn.speaker == f"spk{spk}" for turn in turns)
            if (speaks & ~edge).any():
                assert height[speaks & ~edge].min() > 0.01
            assert height[~speaks & ~edge].max() < 0.01


def overlap(turns: Turns) -> float:
    return sum(
        sum(turn.end - turn.start for turn in listed) - sum(end - start for start, end in speech_of(turns)[name])
        for name, listed in turns.items()
    )


def test_pauses_and_overlaps_follow_the_options(utterances: Path, talk: Path, tmp_path: Path) -> None:
    turns = read_rttm(talk / "rttm")
    assert overlap(turns) > 0.5
    for listed in turns.values():
        for speaker in {turn.speaker for turn in listed}:
            own = [turn for turn in listed if turn.speaker == speaker]
            assert all(one.end <= after.start for one, after in pairwise(own))
    polite = ConversationOptions(2, "polite", 20.0, 2, 2, turn=1.0, pause=0.3, overlap_probability=0.0, rate=RATE)
    simulate_conversations(utterances, tmp_path / "polite", polite, nj=1)
    assert overlap(read_rttm(tmp_path / "polite" / "rttm")) == 0


def test_the_seed_is_all_that_matters(utterances: Path, talk: Path, tmp_path: Path) -> None:
    simulate_conversations(utterances, tmp_path / "two", TALK, nj=2)
    simulate_conversations(utterances, tmp_path / "other", TALK, seed=1, nj=1)
    for name in ("rttm", "audio/talk001.flac", "audio/talk003.flac"):
        assert (tmp_path / "two" / name).read_bytes() == (talk / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (talk / name).read_bytes()


def test_noise_lies_below_the_speech_as_far_as_asked(utterances: Path, tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.mkdir()
    soundfile.write(noise / "hum.wav", 0.1 * np.random.default_rng(1).standard_normal(3 * RATE), RATE)
    quiet = ConversationOptions(1, "quiet", 20.0, 2, 2, gain=0.0, overlap_probability=0.0, rate=RATE)
    loud = ConversationOptions(
        1, "quiet", 20.0, 2, 2, gain=0.0, overlap_probability=0.0, snr_low=6.0, snr_high=6.0, rate=RATE
    )
    simulate_conversations(utterances, tmp_path / "quiet", quiet, nj=1)
    simulate_conversations(utterances, tmp_path / "loud", loud, noise_dir=noise, rir_dir=None, nj=1)
    clean, _ = soundfile.read(tmp_path / "quiet" / "audio" / "quiet001.flac")
    noisy, _ = soundfile.read(tmp_path / "loud" / "audio" / "quiet001.flac")
    spans = speech_of(read_rttm(tmp_path / "quiet" / "rttm"))["quiet001"]
    speech = np.concatenate([clean[round(start * RATE) : round(end * RATE)] for start, end in spans])
    assert 10 * np.log10(np.mean(speech**2) / np.mean((noisy - clean) ** 2)) == pytest.approx(6, abs=0.3)


def test_a_room_rings_after_the_speech(utterances: Path, tmp_path: Path) -> None:
    rooms = tmp_path / "rooms"
    rooms.mkdir()
    response = np.exp(-np.arange(RATE) / (0.2 * RATE)) * np.random.default_rng(2).standard_normal(RATE)
    response[0] = 20.0
    soundfile.write(rooms / "hall.wav", response / 25, RATE)
    options = ConversationOptions(1, "hall", 10.0, 2, 2, rate=RATE)
    simulate_conversations(utterances, tmp_path / "hall", options, rir_dir=rooms, nj=1)
    samples, _ = soundfile.read(tmp_path / "hall" / "audio" / "hall001.flac")
    dry = tmp_path / "dry"
    simulate_conversations(utterances, dry, options, nj=1)
    assert (dry / "rttm").read_bytes() == (tmp_path / "hall" / "rttm").read_bytes()
    plain, _ = soundfile.read(dry / "audio" / "hall001.flac")
    assert np.corrcoef(samples, plain)[0, 1] < 0.99


def test_chosen_speakers_alone_are_heard(utterances: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("spk1\nspk4\n")
    (tmp_path / "manifest.json").write_text('{"valid_speakers": ["spk1", "spk4"]}')
    options = ConversationOptions(1, "two", 20.0, 2, 2, rate=RATE)
    for name in ("list", "manifest.json"):
        simulate_conversations(utterances, tmp_path / "two", options, tmp_path / name, nj=1)
        assert {turn.speaker for turn in read_rttm(tmp_path / "two" / "rttm")["two001"]} == {"spk1", "spk4"}
    (tmp_path / "list").write_text("spk1\nspk9\n")
    with pytest.raises(DataError, match=r"list: speaker 'spk9' has no utterance"):
        simulate_conversations(utterances, tmp_path / "new", options, tmp_path / "list", nj=1)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match=r"manifest.json: not the manifest"):
        simulate_conversations(utterances, tmp_path / "new", options, tmp_path / "manifest.json", nj=1)


def test_energy_is_that_of_the_frames() -> None:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 4000).astype(np.float32)
    frame = samples[800:1000].astype(np.float64) * 32768
    expected = np.log(np.square(frame - frame.mean()).sum())
    assert log_energy(samples, RATE)[10] == pytest.approx(expected, rel=1e-5)


def test_what_cannot_be_is_an_error(utterances: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="5 speakers, but conversations of up to 6"):
        simulate_conversations(utterances, tmp_path / "new", ConversationOptions(rate=RATE), nj=1)
    with pytest.raises(DataError, match="too short for its utterances"):
        options = ConversationOptions(1, "short", 0.5, 2, 2, rate=RATE)
        simulate_conversations(utterances, tmp_path / "new", options, nj=1)
    with pytest.raises(DataError, match="min_speakers <= max_speakers"):
        ConversationOptions(min_speakers=3, max_speakers=2)
    with pytest.raises(DataError, match="overlap_probability is 2"):
        ConversationOptions(overlap_probability=2.0)
    with pytest.raises(DataError, match="must not be the old one"):
        simulate_conversations(utterances, utterances, TALK, nj=1)
    assert not (tmp_path / "new" / "wav.scp").exists()
