"""RTTM and UEM: what is read, what is written, and what is said of a file that is wrong."""

from pathlib import Path

import pytest

from timbre.datadir.rttm import Turn, read_rttm, read_uem, speech_of, write_rttm
from timbre.runtime.spans import union
from timbre.utils.errors import DataError

GOOD = "SPEAKER rec 1 0.5 1.25 <NA> <NA> anna <NA> <NA>"


def rttm(folder: Path, *lines: str) -> Path:
    path = folder / "some.rttm"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


def test_turns_by_recording_and_time(tmp_path: Path) -> None:
    """Nine fields are fine too, and so are tabs, comments and lines of other types."""
    path = rttm(
        tmp_path,
        ";; a comment",
        "SPKR-INFO rec 1 <NA> <NA> <NA> unknown anna <NA>",
        "SPEAKER\trec\t1\t3\t1\t<NA>\t<NA>\tbert\t<NA>",
        GOOD,
        "",
        "SPEAKER other 1 0 0.25 <NA> <NA> anna 0.9 <NA>",
    )
    turns = read_rttm(path)
    assert turns == {"other": [Turn(0, 0.25, "anna")], "rec": [Turn(0.5, 1.75, "anna"), Turn(3, 4, "bert")]}


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    turns = {"a": [Turn(0.0, 1.5, "x"), Turn(1.25, 2.0, "ü")], "b": [Turn(7.0, 7.125, "x")]}
    write_rttm(tmp_path / "rttm", turns)
    assert read_rttm(tmp_path / "rttm") == turns
    assert (tmp_path / "rttm").read_text(encoding="utf-8").startswith("SPEAKER a 1 0.000 1.500 <NA> <NA> x <NA> <NA>\n")
    (tmp_path / "uem").write_text("a 1 0.000 2.000\na 1 3.000 4.500\n")
    assert read_uem(tmp_path / "uem") == {"a": [(0.0, 2.0), (3.0, 4.5)]}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (GOOD.replace("0.5", "-0.5"), "the start is -0.5; it must be a number of seconds, 0 or more"),
        (GOOD.replace("1.25", "-1"), "the duration is -1; it must be a number of seconds, 0 or more"),
        (GOOD.replace("1.25", "0"), "the duration is 0; it must be above 0"),
        (GOOD.replace("0.5", "half"), "the start is 'half', not a number"),
        (GOOD.replace("0.5", "nan"), "the start is nan"),
        (GOOD.replace("1.25", "inf"), "the duration is inf"),
        (GOOD.replace("anna", "<NA>"), "no speaker"),
        ("SPEAKER rec 1 0.5 1.25 anna", "6 fields; RTTM has 9 or 10"),
        ("rec 1 0.5 1.75 anna", "is wanted, not 'rec'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = rttm(tmp_path, GOOD, line)
    with pytest.raises(DataError) as caught:
        read_rttm(path)
    assert str(caught.value).startswith(f"{path}:2: ") and message in str(caught.value)


def test_bad_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no SPEAKER line"):
        read_rttm(rttm(tmp_path, ";; nothing"))
    with pytest.raises(DataError, match=r"missing: cannot read"):
        read_rttm(tmp_path / "missing")
    (tmp_path / "latin").write_bytes(GOOD.replace("anna", "J\u00fcrgen").encode("latin-1"))
    with pytest.raises(DataError, match=r"latin:1: not UTF-8"):
        read_rttm(tmp_path / "latin")
    (tmp_path / "uem").write_text("rec 1 0 5\nrec 1 5 5\n")
    with pytest.raises(DataError, match=r"uem:2: it ends at 5, not after its start 5"):
        read_uem(tmp_path / "uem")
    with pytest.raises(DataError, match="cannot be an id"):
        write_rttm(tmp_path / "out", {"rec": [Turn(0, 1, "two words")]})
    assert not (tmp_path / "out").exists()


def test_where_anyone_speaks() -> None:
    assert union([(3, 4), (0, 1), (0.5, 2), (2, 2.5)]) == [(0, 2.5), (3, 4)]
    assert speech_of({"a": [Turn(0, 2, "x"), Turn(1, 3, "y")]}) == {"a": [(0, 3)]}
