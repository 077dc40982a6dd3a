"""Answers to a list of pairs: row by row, in its form; what keeps them from being given."""

import csv
import sys
from pathlib import Path

import pytest

from steps.make_submission import make_submission
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

HEADER = "file_name,file_name_,enroll,test,same,different\n"
ROWS = '"a, one.wav",b.wav,a,b,0,1\nc.wav,a.wav,c,a,0,1\ngone.wav,b.wav,,,0,1\na.wav,b.wav,a,b,0,1\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "rows.csv").write_text(HEADER + ROWS)
    (tmp_path / "scores").write_text("a b 1.25\nc a -0.5\na b 1.25\n")
    (tmp_path / "trials").write_text("x y target\nx z nontarget\n")
    (tmp_path / "dev").write_text("x y 1.25\nx z 1\n")
    return tmp_path


def submit(place: Path, **options: object) -> list[list[str]]:
    make_submission(place / "rows.csv", place / "scores", place / "out.csv", **options)  # type: ignore[arg-type]
    with (place / "out.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_rows_are_answered_in_order_and_those_without_audio_are_empty(place: Path) -> None:
    header, *rows = submit(place, held_out_trials=place / "trials", held_out_scores=place / "dev")
    assert header == ["file_name", "file_name_", "label"]
    names = [["a, one.wav", "b.wav"], ["c.wav", "a.wav"], ["gone.wav", "b.wav"], ["a.wav", "b.wav"]]
    assert rows == [[*pair, answer] for pair, answer in zip(names, ["0", "1", "", "0"], strict=True)]
    assert [row[2] for row in submit(place, threshold=-0.5)[1:]] == ["0", "0", "", "0"]
    assert [row[2] for row in submit(place, threshold=1.3)[1:]] == ["1", "1", "", "1"]
    filled = submit(place, threshold=0, fill="score")
    assert filled[0][2] == "score" and [row[2] for row in filled[1:]] == ["1.25", "-0.5", "", "1.25"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.csv", HEADER, "rows.csv: no rows in it"),
        ("rows.csv", HEADER + "g.wav,h.wav,,,0,1\n", "the audio of no row is there"),
        ("rows.csv", HEADER.replace("same,", "") + ROWS, "rows.csv:1: no column same in its header"),
        ("rows.csv", HEADER + ROWS + "a.wav\n", "rows.csv:6: 6 fields are wanted, not 1"),
        ("rows.csv", HEADER + 'a.wav,"b', "rows.csv:2: not fields with commas between"),
        ("scores", "a b 1\n", "no score for 1 of 3 trials"),
        ("scores", "a b 1\nc a nan\na b 1\n", "scores:2: the score is NaN"),
        ("trials", "x y target\n", "nontarget"),
    ],
)
def test_bad_files_are_told_in_a_line_and_nothing_is_written(place: Path, name: str, text: str, message: str) -> None:
    (place / name).write_text(text)
    with pytest.raises(DataError, match=message):
        submit(place, held_out_trials=place / "trials", held_out_scores=place / "dev")
    assert not (place / "out.csv").exists()


def test_one_threshold_is_wanted(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ([], ["--threshold", "0", "--held-out-trials", "t", "--held-out-scores", "s"]):
        words = ["make_submission.py", *(str(place / name) for name in ("rows.csv", "scores", "out.csv")), *more]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit):
            run_step(make_submission)
        assert "a threshold is wanted: --threshold, or --held-out-trials" in capsys.readouterr().err
