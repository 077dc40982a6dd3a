"""steps/audit_data.py as it is called: every fault is found exactly, a clean corpus has none, bad input is one line."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from audit_corpus import RATE, SMALL, write_set
from steps.audit_data import audit_data
from timbre.audit.findings import Limits
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_table, write_lists, write_table
from timbre.feats.options import MfccOptions
from timbre.utils.cli import run_step

ROOT = Path(__file__).resolve().parents[2]
MFCC = MfccOptions(sample_frequency=RATE, high_freq=3700, num_ceps=10)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clean one: data/train of 8 speakers, data/eval of 5 others, data/noise without speakers. Nothing is plotted
    until the test undoes MONKEYPATCH."""
    monkeypatch.setattr("timbre.audit.audit_page.plot_audit", lambda *_: [])
    write_set(tmp_path / "data" / "train", range(8), 6)
    write_set(tmp_path / "data" / "eval", range(20, 25), 4)
    (tmp_path / "data" / "noise").mkdir()
    (tmp_path / "data" / "noise" / "wav.scp").write_text("n1 n1.wav\n")
    return tmp_path / "data"


def audit(corpus: Path, **options: Any) -> dict[str, Any]:
    """audit.json of CORPUS."""
    out = corpus.parent / "audit"
    audit_data(corpus, out, mfcc=MFCC, draws=20, nj=1, **options)
    content: dict[str, Any] = json.loads((out / "audit.json").read_text())
    return content


def found(corpus: Path, **options: Any) -> dict[tuple[str, str], int]:
    """(kind, sets) -> how many."""
    findings = audit(corpus, **options)["findings"]
    assert [finding["serious"] for finding in findings] == sorted((f["serious"] for f in findings), reverse=True)
    return {(finding["kind"], finding["sets"]): finding["count"] for finding in findings}


def wave(corpus: Path, utt: str, samples: np.ndarray | None = None, rate: int = RATE) -> np.ndarray:
    """The samples of a training or test utterance, replaced by SAMPLES where they are given."""
    place = next(path for path in corpus.glob(f"*/wav/{utt}.wav"))
    if samples is not None:
        soundfile.write(place, samples, rate, subtype="PCM_16")
    return np.asarray(soundfile.read(place)[0])


def test_a_clean_corpus_has_no_findings(
    corpus: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    content = audit(corpus, strict=True)
    assert content["findings"] == [] and content["notes"] == []
    train, test = content["sets"]
    assert (train["name"], train["num_speakers"], train["num_utts"], train["seconds"]) == ("train", 8, 48, 48)
    assert (test["name"], test["num_speakers"], test["num_utts"], test["median"]) == ("eval", 5, 20, 1)
    assert [(group["name"], group["num_speakers"]) for group in test["sex"]] == [("f", 3), ("m", 2)]
    (channel,) = content["channel"]
    assert channel["trials"] == "eval" and channel["num_trials_left_out"] == 0 and not channel["leaks"]
    out = corpus.parent / "audit"
    page = (out / "AUDIT.md").read_text()
    assert "**0 serious findings, 0 others.**" in page and "## Findings\n\nNone.\n" in page
    assert "| eval, f | 3 | 12 |" in page
    for name in ("durations", "levels", "speakers", "channel", "det_eval"):
        assert f"(plots/{name}.png)" in page and (out / "plots" / f"{name}.png").stat().st_size > 5000
    assert capsys.readouterr().out.startswith("channel: eval: EER by non-speech ")


def test_faults_of_audio_are_found_exactly(corpus: Path) -> None:
    wave(corpus, "s000-00", 0.001 * wave(corpus, "s000-00"))  # -80 dBFS
    wave(corpus, "s000-01", np.zeros(RATE))
    wave(corpus, "s001-00", np.clip(20 * wave(corpus, "s001-00"), -1, 1))
    wave(corpus, "s001-01", wave(corpus, "s001-01")[RATE // 4 : RATE // 2])
    wave(corpus, "s001-02", wave(corpus, "s001-02") + 0.1)
    wave(corpus, "s002-00", wave(corpus, "s002-00") * (np.arange(RATE) < RATE // 3))
    wave(corpus, "s002-01", np.repeat(wave(corpus, "s002-01"), 2), rate=2 * RATE)
    (corpus / "train" / "wav" / "s002-02.wav").write_bytes(b"RIFF")
    (corpus / "eval" / "wav" / "s020-00.wav").unlink()
    assert found(corpus) == {
        ("near-silent", "train"): 2,
        ("clipped", "train"): 1,
        ("too short", "train"): 1,
        ("offset", "train"): 1,
        ("digital silence", "train"): 1,
        ("wrong sample rate", "train"): 1,
        ("unreadable", "train"): 1,
        ("unreadable", "eval"): 1,
    }
    findings = json.loads((corpus.parent / "audit" / "audit.json").read_text())["findings"]
    examples = {finding["kind"]: finding["examples"] for finding in findings if finding["sets"] == "train"}
    folder = corpus / "train" / "wav"
    assert examples["near-silent"] == [f"s000-01 ({folder}/s000-01.wav): -120 dBFS", *examples["near-silent"][1:]]
    assert examples["too short"] == [f"s001-01 ({folder}/s001-01.wav): 0.25 s"]
    assert examples["wrong sample rate"] == [f"s002-01 ({folder}/s002-01.wav): {2 * RATE} Hz"]
    assert "damaged" in examples["unreadable"][0]


def test_speakers_and_audio_in_both_sets_are_serious(corpus: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = DataDir.read(corpus / "eval")
    soundfile.write(corpus / "copy.flac", wave(corpus, "s003-03"), RATE)  # in another container
    utt2spk = {utt: spk.replace("s020", "s007") for utt, spk in test.utt2spk.items()}
    wavs = test.wavs | {"s022-01": str(corpus / "copy.flac")}
    DataDir(test.path, wavs, utt2spk).write(test.path)
    assert found(corpus) == {("speaker overlap", "train and eval"): 1, ("duplicate audio", "train and eval"): 1}
    said = capsys.readouterr().out
    assert "serious: speaker overlap in train and eval: 1 of 5 speakers of eval are speakers of train too\n" in said
    page = (corpus.parent / "audit" / "AUDIT.md").read_text()
    assert "- s007: 6 utterances in train, 4 in eval\n" in page
    assert f"- s022-01 ({corpus}/copy.flac) is s003-03 ({corpus}/train/wav/s003-03.wav)\n" in page


def test_copies_within_a_set_and_on_both_sides_of_a_trial(corpus: Path) -> None:
    wave(corpus, "s001-01", wave(corpus, "s001-00"))
    wave(corpus, "s002-05", wave(corpus, "s004-05"))
    wave(corpus, "s021-01", wave(corpus, "s021-00"))
    assert found(corpus) == {
        ("repeated audio", "train"): 2,
        ("repeated audio", "eval"): 1,
        ("same audio on both sides", "eval"): 1,
    }
    page = (corpus.parent / "audit" / "AUDIT.md").read_text()
    assert "of another of the set, 1 of them under another speaker." in page
    assert "- s021-00 s021-01\n" in page and "1 of them target trials" in page


def test_segments_of_one_recording_in_both_sets(corpus: Path) -> None:
    for name, part, spk in (("train", "0 0.5", "s001"), ("eval", "0.5 1", "s021")):
        data = DataDir.read(corpus / name)
        shared = str(corpus / "train" / "wav" / "s001-00.wav")
        segments = {utt: f"{utt} 0 1" for utt in data.utts} | {f"{spk}-99": f"shared {part}"}
        write_table(corpus / name / "wav.scp", data.wavs | {"shared": shared})
        write_table(corpus / name / "segments", segments)
        write_table(corpus / name / "utt2spk", data.utt2spk | {f"{spk}-99": spk})
    assert found(corpus) == {("shared recording", "train and eval"): 1}


def test_speakers_of_one_utterance_or_session(corpus: Path) -> None:
    data = DataDir.read(corpus / "train")
    kept = {utt: spk for utt, spk in data.utt2spk.items() if spk != "s005" or utt == "s005-02"}
    DataDir(data.path, {utt: data.wavs[utt] for utt in kept}, kept).write(data.path)
    sessions = read_table(corpus / "train" / "utt2session")
    write_table(corpus / "train" / "utt2session", sessions | {f"s006-{utt:02}": "day0" for utt in range(6)})
    assert found(corpus) == {("one utterance", "train"): 1, ("one session", "train"): 1}
    (corpus / "train" / "utt2session").unlink()
    assert found(corpus) == {("one utterance", "train"): 1}
    notes = json.loads((corpus.parent / "audit" / "audit.json").read_text())["notes"]
    assert notes == ["sessions are not known, without utt2session, in train"]


def test_limits_and_rates_are_options(corpus: Path) -> None:
    assert found(corpus, limits=Limits(min_seconds=1.5)) == {("too short", "train"): 48, ("too short", "eval"): 20}
    wave(corpus, "s002-01", np.repeat(wave(corpus, "s002-01"), 2), rate=2 * RATE)
    out = corpus.parent / "audit"
    down = MfccOptions(sample_frequency=RATE, high_freq=3700, num_ceps=10, allow_downsample=True)
    audit_data(corpus, out, mfcc=down, draws=20, nj=1, strict=True)
    assert json.loads((out / "audit.json").read_text())["findings"] == []


def test_speech_that_the_vad_does_not_find(corpus: Path) -> None:
    wave(corpus, "s000-00", np.random.default_rng(0).normal(0, 5 / 32768, RATE))
    assert found(corpus, limits=Limits(min_level=-90)) == {("no speech found", "train"): 1}


def test_languages_are_counted(corpus: Path) -> None:
    write_table(corpus / "eval" / "utt2lang", {f"s020-{utt:02}": "ar" for utt in range(4)})
    write_table(corpus / "train" / "spk2lang", {f"s{spk:03}": "en" for spk in range(8)})
    train, test = audit(corpus)["sets"]
    assert [(group["name"], group["num_utts"]) for group in train["language"]] == [("en", 48)]
    assert [(group["name"], group["num_utts"]) for group in test["language"]] == [("ar", 4), ("unknown", 16)]


def call(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "steps" / "audit_data.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def test_strict_fails_on_a_serious_finding_only(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wave(corpus, "s001-01", wave(corpus, "s001-00"))
    done = call(corpus, corpus.parent / "audit", "--strict", *SMALL)
    assert done.returncode == 0 and "minor: repeated audio" in done.stdout, done.stderr
    wave(corpus, "s020-01", wave(corpus, "s001-00"))
    for strict, status in (("true", 1), ("false", 0)):
        monkeypatch.setattr(
            sys, "argv", ["audit_data.py", *map(str, [corpus, corpus.parent / "audit", "--strict", strict, *SMALL])]
        )
        if status:
            with pytest.raises(SystemExit) as caught:
                run_step(audit_data)
            assert caught.value.code == 1
        else:
            run_step(audit_data)
        assert "**1 serious finding, 1 other.**" in (corpus.parent / "audit" / "AUDIT.md").read_text()


def test_bad_input_is_one_line(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = corpus.parent / "audit"

    def refused(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["audit_data.py", *map(str, [*words, *SMALL])])
        with pytest.raises(SystemExit) as caught:
            run_step(audit_data)
        said = capsys.readouterr().err
        assert caught.value.code in (1, 2) and said.startswith("audit_data.py: error: ") and said.count("\n") == 1
        return said

    assert "absent: no such folder" in refused(corpus / "absent", out)
    assert "no data directory 'train' in it, nor any other" in refused(corpus / "train", out)
    assert "no data directory 'dev' in it, only eval, train" in refused(corpus, out, "--train-set", "dev")
    assert "guard is -1" in refused(corpus, out, "--guard", -1)
    assert "min_frames is 0" in refused(corpus, out, "--min-frames", 0)
    assert "shares lie between 0 and 1" in refused(corpus, out, "--limits.max_clipped", 2)
    assert not out.exists()
    utt2spk = corpus / "eval" / "utt2spk"
    good = utt2spk.read_text()
    for text, said in (("", "the file is empty"), (good + "s099-00 s099\n", ":21: utterance 's099-00' is not in")):
        utt2spk.write_text(text)
        assert f"eval/utt2spk:{said.removeprefix(':') if said[0] == ':' else ' ' + said}" in refused(corpus, out)
    utt2spk.write_text(good)
    (corpus / "eval" / "trials").write_text("s020-00 s020-01\n")
    assert "eval/trials:1: three fields are wanted" in refused(corpus, out)
    (corpus / "eval" / "wav.scp").unlink()
    assert "wav.scp" in refused(corpus, out)


def test_corpora_without_tests_or_audio_that_can_be_read(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(corpus / "eval")
    content = audit(corpus)
    assert content["findings"] == [] and content["channel"] == []
    assert content["notes"] == ["the channel check: no set but the training set has a trial list"]
    monkeypatch.undo()
    shutil.rmtree(corpus / "train" / "wav")
    assert found(corpus) == {("unreadable", "train"): 48}


def test_removed_sets_leave_nothing_behind(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    audit(corpus)
    (corpus / "eval" / "trials").rename(corpus / "eval" / "trials_new")
    write_lists(corpus / "eval" / "enroll.spk2utt", {"s020-00": ["s020-00"]})
    assert [leak["trials"] for leak in audit(corpus)["channel"]] == ["eval_new"]
    assert not (corpus.parent / "audit" / "plots" / "det_eval.png").exists()
