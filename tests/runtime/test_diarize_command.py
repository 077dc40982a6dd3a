"""`timbre diarize` and `timbre serve` as commands: what they write, and how they end."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile

from tests.runtime.made_people import RATE, HumEncoder, HumGallery, HumScorer, conversation
from timbre.datadir.rttm import read_rttm
from timbre.people import voice as voices
from timbre.people.diarize import DiarizeOptions, diarize
from timbre.people.main import main


@pytest.fixture
def meeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording of ann and a stranger; people who hum instead of a pack."""

    def of_file(source: str, gallery: HumGallery | None, options: object) -> object:
        wave, rate = soundfile.read(source, dtype="float32")
        return diarize(wave, rate, HumEncoder(), HumScorer(), gallery, None, options)  # type: ignore[arg-type]

    voice = SimpleNamespace(diarize=of_file, gallery=lambda path: HumGallery({"ann lee": 0}))
    monkeypatch.setattr(voices, "load", lambda path: voice)
    path = tmp_path / "a meeting.wav"
    soundfile.write(path, conversation([(0, 3.0), (1, 3.0), (0, 2.5)])[0], RATE)
    (tmp_path / "people.db").touch()
    return path


def test_text_json_and_rttm(meeting: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["diarize", "my.timbre", str(meeting), "--gallery", str(tmp_path / "people.db")]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1] for line in lines] == ["ann lee", "unknown 1", "ann lee"]
    assert main([*words, "--format", "json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["speakers"]) == ["ann lee", "unknown 1"]
    out = tmp_path / "out.rttm"
    assert main([*words, "--format", "rttm", "--output", str(out)]) == 0 and capsys.readouterr().out == ""
    assert [turn.speaker for turn in read_rttm(out)["a_meeting"]] == ["ann_lee", "unknown_1", "ann_lee"]
    assert main(["diarize", "my.timbre", str(meeting), str(meeting), "--speakers", "1"]) == 0
    assert capsys.readouterr().out.count("a meeting.wav: 1 speaker\n") == 2


def test_it_clusters_as_the_api_does(
    meeting: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unless told otherwise; --help says how."""
    asked: list[DiarizeOptions] = []
    fake = SimpleNamespace(diarize=lambda source, gallery, options: asked.append(options) or [])
    monkeypatch.setattr(voices, "load", lambda path: fake)
    for words in ([], ["--speakers", "3"], ["--threshold", "2"]):
        assert main(["diarize", "my.timbre", str(meeting), *words]) == 0
    assert asked == [DiarizeOptions(), DiarizeOptions(speakers=3), DiarizeOptions(threshold=2.0)]
    with pytest.raises(SystemExit):
        main(["diarize", "--help"])
    assert f"(default {DiarizeOptions().threshold:g})" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gallery", "none.db"], "none.db: no such gallery"),
        (["--speakers", "0"], "0 speakers; it must be at least 1"),
        (["--threshold", "nan"], "a threshold of nan; it must be finite"),
        (["--output", "/no/such/folder/x"], "cannot be written"),
    ],
)
def test_what_is_wrong_is_one_line(
    meeting: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diarize", "my.timbre", str(meeting), *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


HUMS = """
import sys
from timbre.people import voice
from tests.runtime.hum_voice import HumVoice
if __name__ == "__main__":
    from timbre.people.main import main
    voice.load = lambda path: HumVoice()
    sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_serve_prints_where_it_is_and_ends_when_asked(host: str, tmp_path: Path, root: Path) -> None:
    import httpx

    (tmp_path / "hums.py").write_text(HUMS)
    words = ["serve", "my.timbre", "--gallery", str(tmp_path / "people.db"), "--port", "0", "--host", host]
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "hums.py"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(rf"open (http://{re.escape(host)}:\d+/)(\?token=[\w-]{{32,}})?  ", line)
        assert found and (found[2] is None) == (host == "127.0.0.1")
        address = found[1].replace("0.0.0.0", "127.0.0.1")
        assert httpx.get(address).status_code == (200 if found[2] is None else 401)
        if found[2]:
            bearer = {"authorization": f"Bearer {found[2].removeprefix('?token=')}"}
            assert httpx.get(address, headers=bearer).text.startswith("<!doctype html>")
        process.terminate()
        assert process.wait(20) in (0, -15, 143)
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("words", [["--port", "99999"], ["--workers", "0"], ["--gallery", "/no/such/folder/people.db"]])
def test_serve_refuses_what_makes_no_sense(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "my.timbre", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1
