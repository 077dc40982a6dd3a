"""The synthetic corpus: reproducible to the byte, resumable, valid, and as varied as it says."""

import itertools
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from local.prepare_synth import prepare_synth
from timbre.corpora import synth_voice
from timbre.corpora.synth_room import Session, SessionOptions
from timbre.corpora.synth_speaker import SynthOptions
from timbre.corpora.synth_text import sentence
from timbre.corpora.synth_voice import VoiceOptions, draw_voice, vary
from timbre.datadir.phones import read_phones
from timbre.datadir.tables import read_lists, read_table
from timbre.datadir.validate import validate
from timbre.explain.phoneme_classes import phone_class
from timbre.utils.errors import DataError

TINY = SynthOptions(train_speakers=2, eval_speakers=4, utts_per_speaker=4, sessions_per_speaker=2)
COUNTS = ["train_speakers", "eval_speakers", "utts_per_speaker", "sessions_per_speaker"]


def contents(corpus: Path) -> dict[str, bytes]:
    return {str(path.relative_to(corpus)): path.read_bytes() for path in sorted(corpus.rglob("*")) if path.is_file()}


def make(folder: Path, options: SynthOptions = TINY, seed: int = 0, nj: int = 1) -> dict[str, bytes]:
    """A corpus under FOLDER, by a relative path: its tables do not depend on where it is."""
    folder.mkdir(exist_ok=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        prepare_synth(Path("corpus"), options, seed=seed, nj=nj)
    finally:
        os.chdir(before)
    return contents(folder / "corpus")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tiny corpus; the tests of this module run where its paths start."""
    folder = tmp_path_factory.mktemp("synth")
    make(folder)
    before = Path.cwd()
    os.chdir(folder)
    yield folder / "corpus"
    os.chdir(before)


def test_bytes_depend_on_the_seed_and_not_on_jobs_or_time(corpus: Path, tmp_path: Path) -> None:
    time.sleep(1.1)  # espeak-ng seeds itself with the second of the day
    assert make(tmp_path, nj=2) == contents(corpus)
    other = make(tmp_path / "seed", seed=1)
    assert other.keys() == contents(corpus).keys()
    assert not any(other[name] == data for name, data in contents(corpus).items() if name.endswith(".flac"))
    assert other["eval/utt2text"] != contents(corpus)["eval/utt2text"]


def test_more_speakers_leave_the_others_as_they_are(corpus: Path, tmp_path: Path) -> None:
    more = make(tmp_path, replace(TINY, train_speakers=3))
    assert all(more[name] == data for name, data in contents(corpus).items() if name.endswith(".flac"))
    assert len(more) == len(contents(corpus)) + TINY.utts_per_speaker + 1  # and their phones


def test_tables(corpus: Path) -> None:
    for name, speakers in (("train", 2), ("eval", 4)):
        assert validate(corpus / name, need_wav=True) == []
        spk2utt = read_lists(corpus / name / "spk2utt")
        assert [len(utts) for utts in spk2utt.values()] == [TINY.utts_per_speaker] * speakers
        sessions = read_table(corpus / name / "utt2session")
        for spk, utts in spk2utt.items():
            assert len({sessions[utt] for utt in utts}) == TINY.sessions_per_speaker
            assert all(utt.startswith(sessions[utt] + "-") and sessions[utt].startswith(spk + "-") for utt in utts)
        for utt, wav in read_table(corpus / name / "wav.scp").items():
            info = soundfile.info(wav)
            assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
            assert float(read_table(corpus / name / "utt2dur")[utt]) == pytest.approx(info.duration, abs=6e-4)
    assert sorted(read_table(corpus / "eval" / "spk2gender").values()) == ["f", "f", "m", "m"]
    assert not read_table(corpus / "train" / "utt2spk").keys() & read_table(corpus / "eval" / "utt2spk").keys()


def test_phones_lie_where_they_are_heard(corpus: Path) -> None:
    """Pauses are quieter than what is said; hissing consonants lie higher than vowels (centre of the spectrum)."""
    loud: dict[str, list[float]] = {"pause": [], "speech": []}
    high: dict[str, list[float]] = {"vowels": [], "s": []}
    for name in ("train", "eval"):
        wavs, phones = read_table(corpus / name / "wav.scp"), read_phones(corpus / name / "phones.ctm")
        assert phones.keys() == wavs.keys()
        for utt, wav in wavs.items():
            samples, rate = soundfile.read(wav)
            for phone in phones[utt]:
                part = samples[round(phone.start * rate) : round(phone.end * rate)]
                if phone.duration < 0.06:
                    continue
                kind = phone_class(phone.name)
                loud["pause" if kind == "silence" else "speech"].append(float(np.log(np.mean(part**2) + 1e-12)))
                power = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
                centre = float(np.sum(power * np.fft.rfftfreq(len(part), 1 / rate)) / np.sum(power))
                if phone.name.strip("',") in ("s", "S", "tS"):
                    high["s"].append(centre)
                elif kind == "vowels":
                    high["vowels"].append(centre)
    assert len(loud["pause"]) >= 5 and np.median(loud["pause"]) < np.median(loud["speech"]) - 1
    assert np.median(high["s"]) > 2 * np.median(high["vowels"])


def test_trials_are_those_of_a_brute_force_count(corpus: Path) -> None:
    spk, sessions, sex = (read_table(corpus / "eval" / name) for name in ("utt2spk", "utt2session", "spk2gender"))
    everything, hard = set(), set()
    for one, other in itertools.combinations(sorted(spk), 2):
        label = "target" if spk[one] == spk[other] else "nontarget"
        everything.add((one, other, label))
        if sex[spk[one]] == sex[spk[other]] and sessions[one] != sessions[other]:
            hard.add((one, other, label))
    for name, expected in (("trials_all", everything), ("trials", hard)):
        lines = [tuple(line.split()) for line in (corpus / "eval" / name).read_text().splitlines()]
        assert len(lines) == len(expected)
        assert set(lines) == expected


def test_sampled_trials_keep_the_rules(corpus: Path, tmp_path: Path) -> None:
    few = make(tmp_path, replace(TINY, nontargets=1))
    for name in ("trials", "trials_all"):
        drawn = few[f"eval/{name}"].splitlines()
        assert set(drawn) < set((corpus / "eval" / name).read_bytes().splitlines())
        assert sum(b"nontarget" in line for line in drawn) == len(drawn) / 2


def test_resumes_with_the_same_bytes(tmp_path: Path) -> None:
    whole = make(tmp_path)
    audio = tmp_path / "corpus" / "audio"
    (audio / "e0001" / "e0001-a-001.flac").unlink()
    (audio / "t0002").rename(audio / ".t0002.tmp99999999")
    (tmp_path / "corpus" / "eval" / "trials").unlink()
    kept = (audio / "e0002" / "e0002-a-001.flac").stat().st_mtime_ns
    assert make(tmp_path) == whole
    assert (audio / "e0002" / "e0002-a-001.flac").stat().st_mtime_ns == kept


def test_a_corpus_notes_the_code_that_made_it(corpus: Path) -> None:
    """Another version of it makes the audio anew."""
    noted = json.loads((corpus / "synth.json").read_text())["code"]
    assert {"synth_room.py", "synth_speaker.py", "synth_text.py", "synth_voice.py"} == noted.keys()


def test_survives_kill(corpus: Path, tmp_path: Path, root: Path) -> None:
    options = [f"--synth.{name}={getattr(TINY, name)}" for name in COUNTS]
    command = [sys.executable, root / "local" / "prepare_synth.py", "corpus", "--nj", "1", *options]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    while process.poll() is None and not list(tmp_path.glob("corpus/audio/*/*.flac")):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert make(tmp_path) == contents(corpus)


def test_other_options_start_anew(tmp_path: Path) -> None:
    make(tmp_path)
    eight = replace(TINY, rate=8000)
    assert make(tmp_path, eight) == make(tmp_path / "fresh", eight)
    assert soundfile.info(tmp_path / "corpus" / "audio" / "t0001" / "t0001-a-001.flac").samplerate == 8000


def test_audio_of_others_is_left_alone(tmp_path: Path) -> None:
    song = tmp_path / "audio" / "song.flac"
    song.parent.mkdir()
    song.touch()
    with pytest.raises(DataError, match="audio: exists, and is no corpus of synthetic voices"):
        prepare_synth(tmp_path, TINY)
    assert song.exists()


def test_levels(corpus: Path) -> None:
    for wav in read_table(corpus / "train" / "wav.scp").values():
        samples, rate = soundfile.read(wav)
        assert 0.005 < np.abs(samples).max() < 0.96
        assert 2 < len(samples) / rate < 7
        silence = samples[: rate // 10]
        assert 0 < np.std(silence) < np.std(samples)


def test_sexes_differ_in_pitch_and_speakers_more_than_utterances() -> None:
    options, rng = VoiceOptions(), random.Random(0)
    men, women = ([draw_voice(rng, sex, options) for _ in range(300)] for sex in "mf")
    assert np.median([voice.f0 for voice in men]) == pytest.approx(options.male_f0, rel=0.05)
    assert np.median([voice.f0 for voice in women]) == pytest.approx(options.female_f0, rel=0.05)
    between = np.std([np.log(voice.f0) for voice in men])
    within = np.std([np.log(vary(men[0], rng, options).f0) for _ in range(300)])
    assert between == pytest.approx(options.f0_spread, rel=0.15)
    assert within == pytest.approx(options.f0_jitter, rel=0.15)


def test_pitch_of_the_speech_is_that_of_the_voice(tmp_path: Path) -> None:
    """Measured in the recordings: the periods of men are longer than those of women."""
    steady = SynthOptions(
        2, 4, 2, 2, voice=VoiceOptions(f0_spread=0, f0_jitter=0), session=SessionOptions(snr=(40, 40), reverberation=0)
    )
    make(tmp_path, steady)
    for spk, sex in read_table(tmp_path / "corpus" / "eval" / "spk2gender").items():
        samples = np.concatenate(
            [soundfile.read(wav)[0] for wav in sorted((tmp_path / "corpus" / "audio" / spk).glob("*.flac"))]
        )
        assert _pitch(samples, 16000) == pytest.approx(105 if sex == "m" else 185, rel=0.15)


def _pitch(samples: np.ndarray, rate: int) -> float:
    """Median over frames of the lag of the largest autocorrelation."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, rate // 20)[:: rate // 40]
    frames = frames[np.std(frames, axis=1) > np.std(samples)]
    power = np.abs(np.fft.rfft(frames - frames.mean(axis=1, keepdims=True), 4096)) ** 2
    correlation = np.fft.irfft(power)[:, rate // 350 : rate // 60]
    return rate / float(np.median(np.argmax(correlation, axis=1) + rate // 350))


def test_sessions_sound_different_and_one_session_alike() -> None:
    speech = np.random.default_rng(0).standard_normal(16000).astype(np.float32)

    def spectrum(session: int, utt: int) -> np.ndarray:
        recorded = Session(random.Random(session), 16000, SessionOptions()).record(speech, random.Random(f"utt {utt}"))[
            0
        ]
        power = np.abs(np.fft.rfft(recorded)) ** 2
        bands = np.array([band.mean() for band in np.array_split(power, 40)])
        return 10 * np.log10(bands / bands.mean())

    within = [np.abs(spectrum(session, 0) - spectrum(session, 1)).mean() for session in range(10)]
    between = [np.abs(spectrum(session, 0) - spectrum(session + 1, 1)).mean() for session in range(10)]
    assert np.mean(between) > 3 * np.mean(within)


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_has_the_level_asked_for(snr: float) -> None:
    speech = np.sin(np.arange(32000) * 0.3).astype(np.float32)
    options = SessionOptions(snr=(snr, snr), jitter=0, reverberation=0, silence=(1, 1), noise_slope=(0, 6))
    for seed in range(5):
        recorded = Session(random.Random(seed), 16000, options).record(speech, random.Random(seed))[0]
        noise, both = np.mean(recorded[:16000] ** 2), np.mean(recorded[16000:-16000] ** 2)
        assert 10 * np.log10((both - noise) / noise) == pytest.approx(snr, abs=1.0)


def test_texts_hardly_ever_repeat() -> None:
    rng = random.Random(0)
    assert len({sentence(rng) for _ in range(7200)}) > 7150


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eval_speakers": 1}, "eval_speakers is 1; it must be at least 2"),
        ({"train_speakers": 0}, "train_speakers is 0"),
        ({"utts_per_speaker": 1}, "utts_per_speaker is 1; it must be at least 4"),
        ({"sessions_per_speaker": 1}, "sessions_per_speaker is 1; it must be at least 2"),
        ({"rate": 44100}, "rate is 44100; it must be at most 22050"),
        ({"nontargets": 0}, "nontargets is 0"),
    ],
)
def test_impossible_sizes(options: dict[str, int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SynthOptions(**options)


def test_impossible_sounds() -> None:
    with pytest.raises(DataError, match=r"snr is 3 to 2; a range goes from low to high"):
        SessionOptions(snr=(3, 2))
    with pytest.raises(DataError, match="rt60 must be above 0"):
        SessionOptions(rt60=(0, 1))
    with pytest.raises(DataError, match="reverberation must be from 0 to 1"):
        SessionOptions(reverberation=2)
    with pytest.raises(DataError, match="f0_spread is -1; it must not be negative"):
        VoiceOptions(f0_spread=-1)


def test_without_espeak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(DataError, match="espeak-ng cannot be loaded"):
        prepare_synth(tmp_path / "corpus", TINY)
    assert not (tmp_path / "corpus").exists()


def test_with_broken_espeak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    library = synth_voice._load()[0]
    monkeypatch.setattr(synth_voice, "_load", lambda: (library, tmp_path / "nothing"))
    with pytest.raises(DataError, match="nothing: espeak-ng does not start with this data"):
        prepare_synth(tmp_path / "corpus", TINY, nj=1)


def test_full_disk(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))  # as good as a full disk
    try:
        with pytest.raises(DataError, match=r"t0001-a-001\.flac: cannot write: File too large"):
            prepare_synth(tmp_path, TINY, nj=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path for path in (tmp_path / "audio").rglob("*") if path.is_file()] == [tmp_path / "audio" / ".timbre"]


def test_unreadable_audio_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    broken = tmp_path / "corpus" / "audio" / "e0001" / "e0001-a-001.flac"
    broken.write_bytes(b"")
    with pytest.raises(DataError, match=r"e0001-a-001.flac: .* Delete it and run this again."):
        make(tmp_path)


def test_default_yaml_says_the_defaults(root: Path) -> None:
    stated = yaml.safe_load((root / "conf" / "synth" / "default.yaml").read_text())
    actual = asdict(SynthOptions())
    for part in ("voice", "session"):
        for name, value in actual[part].items():
            assert stated[part][name] == (list(value) if isinstance(value, tuple) else value), name
    assert stated.keys() == actual.keys()
    assert all(stated[name] == actual[name] for name in stated if name not in ("voice", "session"))


def test_smoke_corpus_takes_seconds(tmp_path: Path, root: Path) -> None:
    before = os.times()
    script = root / "local" / "prepare_synth.py"
    subprocess.run([script, tmp_path, "--synth", root / "conf" / "synth" / "smoke.yaml"], check=True)
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < 15  # seconds of one core; it is about 5
    assert len(read_table(tmp_path / "train" / "utt2spk")) == 36 * 8


def test_needs_no_torch(root: Path) -> None:
    """Speakers are recorded in forks, and a process that has used torch's threads is not safely forked."""
    code = "import local.prepare_synth, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
