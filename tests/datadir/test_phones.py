"""phones.ctm: every fault is told with file and line, and the commands of data directories carry it."""

from pathlib import Path

import pytest

from timbre.datadir.combine import combine
from timbre.datadir.contents import Contents
from timbre.datadir.phones import Phone, read_phones, write_phones
from timbre.datadir.split import split
from timbre.datadir.validate import validate
from timbre.utils.errors import DataError

GOOD = "a-1 1 0.1 0.2 sh\na-1 1 0.3 0.1 iy 0.99\nb-1 1 0 0.5 h#\n"
BAD = {
    "a-1 1 0.1 0.2\n": r":1: 'utterance channel start duration phone' is wanted, not 4 fields",
    "a-1 1 x 0.2 sh\n": r":1: start and duration must be seconds, not 'x 0.2'",
    "a-1 1 nan 0.2 sh\n": r":1: it starts at nan; that must be a number of seconds, 0 or more",
    "a-1 1 -1 0.2 sh\n": r":1: it starts at -1",
    "a-1 1 0.1 0 sh\n": r":1: the duration is 0; it must be above 0",
    "a-1 1 0.1 inf sh\n": r":1: the duration is inf",
    "a-1 1 0.1 0.2 sh\na-1 1 0.2 0.2 iy\n": r":2: 'iy' begins at 0.2 s, before the phone before it ends, at 0.3 s",
    "a-1 1 0.1 0.2 sh\nb-1 1 0.1 0.2 iy\na-1 1 0.3 0.1 s\n": r":3: phones of 'a-1' are in two places",
    "a-1 1 0.1 2.0 sh\n": r":1: 'sh' ends at 2.1 s, past the end of 'a-1', 1 s",
    "a-1 1 0.1 0.2 \xff\n": r":1: not UTF-8",
    "": r": the file is empty",
    "\n": r":1: 'utterance channel start duration phone' is wanted, not 0 fields",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data directory of two speakers with phones."""
    (tmp_path / "a.ark").write_bytes(b"x")
    (tmp_path / "wav.scp").write_text(f"a-1 {tmp_path}/a.ark\nb-1 {tmp_path}/a.ark\n")
    (tmp_path / "utt2spk").write_text("a-1 a\nb-1 b\n")
    (tmp_path / "spk2utt").write_text("a a-1\nb b-1\n")
    (tmp_path / "utt2dur").write_text("a-1 1\nb-1 1\n")
    (tmp_path / "phones.ctm").write_text(GOOD)
    return tmp_path


@pytest.mark.parametrize(("text", "problem"), BAD.items())
def test_a_fault_is_told_by_reading_and_by_validation(folder: Path, text: str, problem: str) -> None:
    path = folder / "phones.ctm"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=rf"phones\.ctm{problem}"):
        read_phones(path, {"a-1": 1.0})
    problems = validate(folder)
    assert len(problems) == 1 and "phones.ctm" in problems[0] and problem.split(": ", 1)[1] in problems[0]


def test_an_utterance_that_is_not_there_is_told_once(folder: Path) -> None:
    assert validate(folder) == []
    (folder / "phones.ctm").write_text(GOOD + "c-1 1 0 0.1 s\nc-1 1 0.2 0.1 s\n")
    assert validate(folder) == [f"{folder}/phones.ctm:4: utterance 'c-1' is not in utt2spk"]


def test_reading_and_writing_are_inverse(tmp_path: Path) -> None:
    phones = {"u": [Phone(0.0, 0.00125, "h#"), Phone(0.00125, 0.5, "'aI")], "a": [Phone(1.5, 0.25, "s")]}
    write_phones(tmp_path / "p", phones)
    assert read_phones(tmp_path / "p") == phones
    with pytest.raises(DataError):
        write_phones(tmp_path / "q", {"u": [Phone(0, 1, "two words")]})
    assert not (tmp_path / "q").exists()


def test_phones_go_where_their_utterances_go(folder: Path, tmp_path: Path) -> None:
    contents = Contents.read(folder)
    assert {utt: [phone.name for phone in phones] for utt, phones in contents.phones.items()} == {
        "a-1": ["sh", "iy"],
        "b-1": ["h#"],
    }
    assert contents.select({"a-1"}).phones.keys() == {"a-1"}
    assert [list(part.phones) for part in split(contents, 2)] == [["a-1"], ["b-1"]]
    other = contents.rename(lambda utt: f"x-{utt}", lambda spk: f"x-{spk}")
    both = combine({"one": contents, "other": other})
    assert list(both.phones) == ["a-1", "b-1", "x-a-1", "x-b-1"]
    both.write(tmp_path / "both")
    assert read_phones(tmp_path / "both" / "phones.ctm") == both.phones
    both.drop(["phones.ctm"]).write(tmp_path / "both")
    assert not (tmp_path / "both" / "phones.ctm").exists()
