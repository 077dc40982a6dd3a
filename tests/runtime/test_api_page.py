"""The README of the room: every line of its API runs, and its commands are those of `timbre`."""

import re
import shlex
from pathlib import Path

import pytest
import soundfile

from tests.runtime.made_voices import RATE, made_voice, samples_of
from timbre.people.gallery_store import _FOLLOWING, _SCHEMA
from timbre.people.main import COMMANDS, _parser

PAGE = (Path(__file__).resolve().parents[2] / "steps" / "timbre" / "people" / "README.md").read_text(encoding="utf-8")


def test_every_line_of_the_api_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    lines = [
        line for line in code.splitlines() if ".stream(" not in line and "turn" not in line and "diarize" not in line
    ]
    assert len(lines) > 18  # turns are of the encoder's windows, which the made voice has not: test_timbre_command.py
    for name, speaker, take in (("ann1", 0, 1), ("ann2", 0, 2), ("ann3", 0, 3), ("bo1", 1, 1)):
        soundfile.write(tmp_path / f"{name}.wav", samples_of(speaker, take), RATE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("timbre.people.voice.load", lambda path: made_voice())
    exec(compile("\n".join(lines), "README.md", "exec"), {"soundfile": soundfile})
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("True ") and said[2].startswith("ann ") and said[3] == "['ann', 'Bo']"


def test_its_commands_are_those_of_timbre() -> None:
    found = re.findall(r"^    (timbre .*)$", PAGE, re.MULTILINE)
    words = [shlex.split(line, comments=True)[1:] for line in found]
    assert {line[0] for line in words} == set(COMMANDS)
    for line in words:
        assert _parser(line).parse_args(line).command == line[0]


def test_its_table_is_the_schema() -> None:
    for table, columns in re.findall(r"^\| (about|people|recordings|changes|blocks) \| (.*) \|$", PAGE, re.MULTILINE):
        [body] = re.findall(rf"CREATE TABLE {table} \((.*?)\)(?: WITHOUT ROWID)?;", _SCHEMA + _FOLLOWING, re.DOTALL)
        for name in re.findall(r"(\w+) (?:INTEGER|TEXT|BLOB|REAL)", body):
            assert re.search(rf"\b{name}\b", columns), (table, name)
