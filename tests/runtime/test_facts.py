"""Facts of a signal: level, clipping, zeros, offset, and which copies its hash finds."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from timbre.audio.reading import read_audio
from timbre.audit.audit_table import HEADER, AuditTable, audit_line
from timbre.runtime.facts import AudioFacts, measure
from timbre.utils.errors import DataError


def sine(amplitude: float, seconds: float = 1.0, hertz: float = 200.0, rate: int = 16000) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def test_level_and_peak_of_a_sine() -> None:
    facts = measure(sine(0.5) + np.float32(0.1), 16000)
    assert facts.level == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)  # the offset is no sound
    assert facts.peak == pytest.approx(20 * np.log10(0.6), abs=0.01)
    assert facts.dc == pytest.approx(0.1, abs=1e-4)
    assert (facts.rate, facts.seconds, facts.clipped) == (16000, 1.0, 0)


def test_silence_has_a_level_and_no_hash() -> None:
    facts = measure(np.zeros(800, np.float32), 8000)
    assert (facts.peak, facts.level, facts.zeros, facts.content) == (-120, -120, 1, 0)


@pytest.mark.parametrize(
    "values, clipped",
    [
        ([1, 1], 0),  # a peak may touch the end of the range with two samples
        ([1, 1, 1], 3),
        ([-1, -1, -1, -1], 4),
        ([1, 1, -1, -1, 1, 1], 0),
        ([0.998, 0.998, 0.998, 0.998], 0),
        ([1, 1, 1, 0, -1, -1, -1, 0, 1], 6),
        ([1.5, 1.2, 1.1], 3),  # what a lossy codec makes of clipped audio
    ],
)
def test_only_runs_at_full_scale_are_clipped(values: list[float], clipped: int) -> None:
    samples = np.zeros(100, np.float32)
    samples[10 : 10 + len(values)] = values
    assert measure(samples, 16000).clipped == clipped / 100
    assert measure(np.array(values, np.float32), 16000).clipped == clipped / len(values)  # at both ends


def test_a_sine_driven_too_far_is_clipped_and_one_that_just_fits_is_not() -> None:
    assert measure(np.clip(sine(2.0), -1, 1), 16000).clipped == pytest.approx(2 / 3, abs=0.01)
    assert measure(sine(0.99), 16000).clipped == 0


def test_copies_in_other_containers_have_the_same_hash(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).normal(0, 3000, 4000).astype(np.int16)
    for name, values, rate, subtype in (
        ("a.wav", samples, 8000, "PCM_16"),
        ("a.flac", samples, 8000, "PCM_16"),
        ("deep.flac", samples, 8000, "PCM_24"),
        ("a.w64", samples, 8000, "PCM_16"),
        ("rate.wav", samples, 16000, "PCM_16"),
        ("padded.wav", np.pad(samples, (100, 7)), 8000, "PCM_16"),
    ):
        soundfile.write(tmp_path / name, values, rate, subtype=subtype)
    hashes = {path.name: measure(*read_audio(str(path))).content for path in tmp_path.iterdir()}
    assert len(hashes) == 6
    wanted = hashes.pop("a.wav")
    assert {name for name, found in hashes.items() if found != wanted} == set()


@pytest.mark.parametrize("change", ["gain", "one sample", "start", "sign"])
def test_other_audio_has_another_hash(change: str) -> None:
    samples = sine(0.3)
    other = {
        "gain": samples * np.float32(0.9),
        "one sample": samples + (np.arange(len(samples)) == 77).astype(np.float32) * np.float32(1 / 32768),
        "start": samples[100:],
        "sign": -samples,
    }[change]
    assert measure(other, 16000).content != measure(samples, 16000).content


def test_table_round_trip(tmp_path: Path) -> None:
    facts = AudioFacts(8000, 12345.625, -1.5, -20.25, 0.125, 0.5, -0.0625, 2**64 - 1)
    lines = [
        audit_line("a\u2028b", "cat x\ty |", facts, (10, 20)),
        audit_line("b", "/no where/b.wav", problem="cut\nshort"),
    ]
    (tmp_path / "utt2audit.tsv").write_text(HEADER + "".join(lines), encoding="utf-8")
    table = AuditTable.read(tmp_path / "utt2audit.tsv")
    assert table.utts == ["a\u2028b", "b"] and table.path == ["cat x y |", "/no where/b.wav"]
    assert table.problem == ["", "cut short"] and table.readable.tolist() == [True, False]
    for name in ("rate", "seconds", "peak", "level", "clipped", "zeros", "dc", "content"):
        assert getattr(table, name)[0].item() == getattr(facts, name), name
    assert table.speech.tolist() == [10, 0] and table.nonspeech.tolist() == [20, 0]


@pytest.mark.parametrize(
    "text, problem",
    [
        ("utt\n", ":1: not a table of an audit"),
        (HEADER + "a\tb\n", ":2: 13 columns are wanted, not 2"),
        (HEADER + audit_line("a", "x").replace("\t0\t", "\tzero\t", 1), ": not a number in it"),
    ],
)
def test_damaged_table_is_told(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "utt2audit.tsv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        AuditTable.read(path)
    assert str(caught.value).startswith(f"{path}{problem}")


def test_table_without_utterances(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(HEADER)
    assert len(AuditTable.read(tmp_path / "t")) == 0


def test_long_audio_is_measured_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = np.random.default_rng(0).standard_normal(10_000).astype(np.float32) * 0.3 + 0.01
    wave[:50], wave[-70:], wave[400:420] = 0, 0, 1
    whole = measure(wave, 8000)
    monkeypatch.setattr("timbre.runtime.facts._BLOCK", 999)
    parts = measure(wave, 8000)
    assert (parts.content, parts.clipped, parts.zeros, parts.peak) == (
        whole.content, whole.clipped, whole.zeros, whole.peak,
    )  # fmt: skip
    assert parts.level == pytest.approx(whole.level, abs=1e-9) and parts.dc == pytest.approx(whole.dc, abs=1e-12)
