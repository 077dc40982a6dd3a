"""The command timbre with an exported pack: answers of the recipe's steps, exit statuses, JSON, patterns, bad input."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import timbre
from steps.enroll_gallery import enroll_gallery
from steps.identify import identify
from steps.verify import verify
from timbre.people.main import COMMANDS, main


@pytest.fixture(scope="module")
def run(small_run: Path) -> Path:
    return small_run


@pytest.fixture
def say(run: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """What the command says: (status, output, errors), words with {pack} and {wav} filled in."""

    def call(*words: str) -> tuple[int, str, str]:
        filled = [word.format(pack=run / "small.timbre", wav=run / "dev" / "wav") for word in words]
        try:
            status = main(filled)
        except SystemExit as error:
            status = int(error.code or 0)
        return status, *capsys.readouterr()

    return call


def test_verify_says_what_the_step_says(run: Path, say: Any, capsys: pytest.CaptureFixture[str]) -> None:
    wav = run / "dev" / "wav"
    for files in (["s10-0", "s10-1", "s10-3"], ["s10-0", "s11-3"], ["s12-1", "s12-2"]):
        paths = [wav / f"{name}.wav" for name in files]
        verify(paths, run / "decision", prior=0.3, json=True)
        wanted = json.loads(capsys.readouterr().out)
        status, out, _ = say("verify", "{pack}", *map(str, paths), "--prior", "0.3", "--json")
        found = json.loads(out)
        assert found["same"] == wanted["same"] and status == (0 if found["same"] else 1)
        assert found["llr"] == pytest.approx(wanted["llr"], abs=2e-3)
        assert found["threshold"] == pytest.approx(wanted["threshold"])
        verify(paths, run / "decision", prior=0.5)
        first = capsys.readouterr().out.splitlines()[-1]
        assert say("verify", "{pack}", *map(str, paths))[1].splitlines()[-1] == first


def test_enroll_identify_and_the_gallery(
    run: Path, say: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = str(tmp_path / "people.db")
    own = tmp_path / "own"
    for name in ("s10", "s11", "s12"):
        (own / name).mkdir(parents=True)
        for take in (0, 1):
            (own / name / f"{take}.wav").write_bytes((run / "dev" / "wav" / f"{name}-{take}.wav").read_bytes())
    status, out, _ = say("enroll", "{pack}", people, "--folders", str(own), "--keep", "audio", "--json")
    assert status == 0 and json.loads(out)["enrolled"] == ["s10", "s11", "s12"]
    assert say("enroll", "{pack}", people, "ann", "{wav}/s13-[01].wav")[1].endswith(
        ": 2 recordings of ann; it has 4 people\n"
    )
    enroll_gallery(own, tmp_path / "gallery", run / "decision")
    assert say("gallery", "remove", people, "ann")[0] == 0
    for name in ("s10-3", "s12-2", "s15-3"):
        file = run / "dev" / "wav" / f"{name}.wav"
        identify(file, tmp_path / "gallery", run / "decision", json=True)
        wanted = json.loads(capsys.readouterr().out)
        status, out, _ = say("identify", "{pack}", people, str(file), "--json")
        found = json.loads(out)
        assert found["name"] == wanted["name"] and status == (1 if found["name"] is None else 0)
        assert found["unknown"] == pytest.approx(wanted["unknown"], abs=2e-3)
        assert [one["name"] for one in found["matches"]] == [one["name"] for one in wanted["matches"]]
    status, out, _ = say("identify", "{pack}", people, "{wav}/s1[0-1]-3.wav", "--json")
    assert [Path(json.loads(line)["recording"]).name for line in out.splitlines()] == ["s10-3.wav", "s11-3.wav"]
    assert say("gallery", "rename", people, "s10", "Zoë")[0] == 0
    assert [one["name"] for one in json.loads(say("gallery", "list", people, "--json")[1])] == ["s11", "s12", "Zoë"]
    assert "2 recordings" in say("gallery", "list", people)[1] and say("gallery", "check", people)[0] == 0
    assert say("gallery", "export", people, str(tmp_path / "out.zip"))[0] == 0
    new = str(tmp_path / "new.db")
    assert "6 recordings" in say("gallery", "import", new, str(tmp_path / "out.zip"), "--pack", "{pack}")[1]
    assert "6 recordings" in say("gallery", "re-enroll", new, "--pack", "{pack}")[1]
    assert json.loads(say("info", new, "--json")[1])["people"] == 3


def test_embed_and_info(run: Path, say: Any, tmp_path: Path) -> None:
    status, out, _ = say("embed", "{pack}", "{wav}/s10-*.wav")
    lines = [json.loads(line) for line in out.splitlines()]
    assert status == 0 and len(lines) == 4
    say("embed", "{pack}", "{wav}/s10-*.wav", "--output", str(tmp_path / "out.npz"))
    with np.load(tmp_path / "out.npz", allow_pickle=False) as saved:
        assert np.allclose(saved["vectors"], [line["vector"] for line in lines]) and len(saved["names"]) == 4
    info = json.loads(say("info", "{pack}", "--json")[1])
    assert info["kind"] == "pack" and info["dim"] == 12 and info["backend"] == "plda" and len(info["thresholds"]) == 8
    assert "prior 0.5: llr" in say("info", "{pack}")[1]


def test_no_decision_and_errors(run: Path, say: Any, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", 0.1 * np.random.default_rng(0).normal(size=1600), 8000)
    short, people = str(tmp_path / "short.wav"), str(tmp_path / "people.db")
    status, out, _ = say("verify", "{pack}", "{wav}/s10-0.wav", short, "--json")
    assert status == 3 and json.loads(out)["same"] is None and "short.wav" in json.loads(out)["reason"]
    assert say("enroll", "{pack}", people, "ann", short)[0] == 3
    say("enroll", "{pack}", people, "ann", "{wav}/s10-0.wav")
    status, out, _ = say("identify", "{pack}", people, short)
    assert status == 3 and out.startswith("NO DECISION: ")
    (tmp_path / "own" / "bo").mkdir(parents=True)
    (tmp_path / "own" / "bo" / "a.wav").write_bytes(Path(short).read_bytes())
    assert say("enroll", "{pack}", people, "--folders", str(tmp_path / "own"))[0] == 3
    for words in (
        ["verify", "{pack}", "{wav}/s10-0.wav"],
        ["verify", "{pack}", "{wav}/s10-0.wav", "{wav}/none.wav"],
        ["verify", "{pack}", "{wav}/s10-0.wav", "{wav}/none*.wav"],
        ["verify", "{pack}", "-", "-"],
        ["verify", "{pack}", "{wav}/s10-0.wav", "{wav}/s10-1.wav", "--prior", "2"],
        ["verify", "{pack}", "{wav}/s10-0.wav", "{wav}/s10-1.wav", "--far", "0.3"],
        ["verify", "{pack}", "{wav}/s10-0.wav", "{wav}/s10-1.wav", "--threads", "0"],
        ["verify", "{pack}", "{wav}/s10-0.wav", "{wav}/s10-1.wav", "--no-such"],
        ["verify", "{wav}/s10-0.wav", "{wav}/s10-0.wav", "{wav}/s10-1.wav"],
        ["identify", "{pack}", str(tmp_path / "none.db"), "{wav}/s10-0.wav"],
        ["identify", "{pack}", short, "{wav}/s10-0.wav"],
        ["identify", "{pack}", people, "{wav}/s10-0.wav", "--prior", "nan"],
        ["enroll", "{pack}", people],
        ["enroll", "{pack}", people, "a\nb", "{wav}/s10-0.wav"],
        ["enroll", "{pack}", people, "ann", "--folders", "{wav}"],
        ["gallery", "rename", people, "ann"],
        ["gallery", "import", people, short],
        ["gallery", "shout", people],
        ["info", str(tmp_path)],
        ["calibrate", "{pack}", str(tmp_path / "own")],
        ["calibrate", "{pack}", "{wav}", str(tmp_path / "out.wav")],
        ["calibrate", "{pack}", "{wav}", "--draws", "0"],
        ["no-such"],
        [],
    ):
        status, out, errors = say(*words)
        assert status == 2 and not out and errors.startswith("timbre: error: ") and errors.count("\n") == 1, words


def test_help_tells_the_exit_status(say: Any) -> None:
    assert all(name in say("--help")[1] for name in COMMANDS)
    for name in COMMANDS:
        status, out, _ = say(name, "--help")
        assert status == 0 and "exit status: 0 done" in out and f"usage: timbre {name}" in out


def test_standard_input_and_the_api(run: Path, tmp_path: Path) -> None:
    """As a process of its own: a recording through a pipe; what `timbre.load` gives answers alike."""
    wav = run / "dev" / "wav"
    command = [sys.executable, "-m", "timbre.people.main", "verify", run / "small.timbre", wav / "s10-0.wav", "-"]
    done = subprocess.run([*command, "--json"], input=(wav / "s10-3.wav").read_bytes(), capture_output=True)
    voice = timbre.load(run / "small.timbre")
    verdict = voice.verify(wav / "s10-0.wav", io.BytesIO((wav / "s10-3.wav").read_bytes()))
    assert json.loads(done.stdout)["llr"] == verdict.llr and done.returncode == (0 if verdict.same else 1)
    samples, rate = soundfile.read(wav / "s10-3.wav", dtype="float32")
    assert np.array_equal(voice.embed(samples, rate).vector, voice.embed(wav / "s10-3.wav").vector)
    assert voice.verify([wav / "s10-0.wav", wav / "s10-1.wav"], (samples, rate)).same is not None
    same = voice.verify(wav / "s10-3.wav", (samples, rate))
    assert "the same recording is on both sides" in same.warnings[-1]
    with voice.gallery(tmp_path / "people.db") as people:
        people.enroll("ann", [wav / "s10-0.wav", wav / "s10-1.wav"])
        assert people.identify(wav / "s10-3.wav").matches[0][0] == "ann"
        assert isinstance(voice.diarize(wav / "s10-3.wav", people), list)
        assert all(turn.end > turn.start for turn in people.stream([samples[:4000], samples[4000:]], rate))
    with pytest.raises(AttributeError, match="no attribute 'save'"):
        timbre.save  # noqa: B018


def test_calibrate(run: Path, say: Any, tmp_path: Path) -> None:
    for path in sorted((run / "dev" / "wav").glob("*.wav")):
        (tmp_path / "own" / path.stem[:3]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "own" / path.stem[:3] / path.name).write_bytes(path.read_bytes())
    new = str(tmp_path / "own.timbre")
    status, out, _ = say("calibrate", "{pack}", str(tmp_path / "own"), new, "--draws", "20", "--json")
    content = json.loads(out)
    assert status == 0 and content["speakers"] == 7 and content["recordings"] == 28
    status, out, _ = say("calibrate", "{pack}", str(tmp_path / "own"), "--draws", "20")
    assert "28 recordings of 7 speakers: 42 pairs of one speaker, 336 of two." in out
    info = json.loads(say("info", new, "--json")[1])
    assert (
        info["calibrated_on"] == "21 targets, 21 nontargets"
        and info["network"] == json.loads(say("info", "{pack}", "--json")[1])["network"]
    )
    assert say("verify", new, "{wav}/s10-0.wav", "{wav}/s10-1.wav")[0] in (0, 1)
