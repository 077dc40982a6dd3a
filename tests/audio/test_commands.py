"""Commands in wav.scp have a time and a size, and what they say is cut to its end."""

import time
from pathlib import Path

import pytest

from timbre.audio.commands import command_output
from timbre.audio.reading import read_audio
from timbre.utils.errors import DataError


def test_what_a_command_writes() -> None:
    assert command_output("printf 'a\\nb' |") == b"a\nb"


def test_a_command_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIMBRE_COMMAND_MB", "2")
    began = time.monotonic()
    with pytest.raises(DataError, match=r"^yes \|: the command has written more than 2 MB and was stopped"):
        read_audio("yes |")
    assert time.monotonic() - began < 5


def test_a_command_has_a_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIMBRE_COMMAND_SECONDS", "0.5")
    began = time.monotonic()
    with pytest.raises(DataError, match=r"the command took more than 0\.5 s and was stopped: waiting"):
        command_output(f"echo waiting >&2; (sleep 3; touch {tmp_path}/late) & sleep 60 |")
    assert time.monotonic() - began < 2.5
    time.sleep(3)
    assert not (tmp_path / "late").exists()  # what it had started is ended with it


def test_the_last_lines_are_told() -> None:
    with pytest.raises(DataError) as caught:
        command_output("seq 100000 >&2; echo why >&2; exit 3 |")
    assert str(caught.value).endswith("exit status 3: 99999 / 100000 / why")
    with pytest.raises(DataError) as caught:
        command_output("head -c 5000000 /dev/zero | tr '\\0' x >&2; exit 3 |")
    assert len(str(caught.value)) < 2200


def test_bounds_must_be_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("0", "-1", "nan", "1_0", "x"):
        monkeypatch.setenv("TIMBRE_COMMAND_SECONDS", text)
        with pytest.raises(DataError, match="TIMBRE_COMMAND_SECONDS is"):
            command_output("true |")
