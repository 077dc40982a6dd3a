"""Kaldi's text tables."""

import random
import subprocess
from pathlib import Path

import pytest

from timbre.datadir.tables import read_ids, read_lists, read_table, split_blanks, split_key, write_lists, write_table
from timbre.utils.errors import DataError

ODD_VALUES = [
    "a b",
    "C:\\Program Files\\x.wav",
    "sox 'a b.flac' -t wav - |",
    "x" * 300,
    "é\u00a0ü",
    "$(rm -rf /);`x`",
    "a\tb",
]


def random_table(seed: int) -> dict[str, str]:
    generator = random.Random(seed)
    alphabet = "abzAZ09-_.,;:|&$\"'\\*?[](){}<>!~#%@^=+/é漢\u00a0\u3000🙂"
    keys = ["".join(generator.choices(alphabet, k=generator.randint(1, 12))) for _ in range(generator.randint(1, 60))]
    return {key: generator.choice(ODD_VALUES) for key in keys}


@pytest.mark.parametrize("seed", range(20))
def test_a_table_of_odd_ids_and_values_survives_writing_and_reading(seed: int, tmp_path: Path) -> None:
    table = random_table(seed)
    write_table(tmp_path / "t", table)
    assert read_table(tmp_path / "t", ordered=True) == table


def test_order_is_that_of_lc_all_c_sort(tmp_path: Path) -> None:
    table = {key: "x" for seed in range(20) for key in random_table(seed)}
    write_table(tmp_path / "t", table)
    ranked = subprocess.run(["sort"], input=(tmp_path / "t").read_bytes(), capture_output=True, env={"LC_ALL": "C"})
    assert (tmp_path / "t").read_bytes() == ranked.stdout


def test_kaldis_lists_read_as_plain_splitting_does(kaldi: Path) -> None:
    for path in (kaldi / "lists").glob("wav*.scp"):
        lines = [line.split() for line in path.read_text().splitlines()]
        assert read_table(path) == dict(lines)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a 1\nb 2\na 3\n", "t:3: 'a' is already on line 1"),
        (b"a 1\n\nb 2\n", "t:2: empty line"),
        (b"a 1\n  \t\nb 2\n", "t:2: empty line"),
        (b"a 1\r\nb 2\r\n", "t:1: Windows line end"),
        (b"a 1\nb 2\r\n", "t:2: Windows line end"),
        (b"a 1\nb\nc 3\n", "t:2: 'b' has no value"),
        (b"a 1\nb \nc 3\n", "t:2: 'b' has no value"),
        (b"a 1\nb \xff\xfe\n", "t:2: not UTF-8"),
        (b"a 1\nb caf\xe9\n", "t:2: not UTF-8"),
        (b"\n", "t:1: empty line"),
        (b"a 1\nb \0\n", "t:2: a NUL byte"),
    ],
)
def test_a_malformed_table_is_told_with_its_line(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "t")


def test_unsorted_is_an_error_only_where_order_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("b 1\na 2\nc 3\n")
    assert list(read_table(tmp_path / "t")) == ["b", "a", "c"]
    with pytest.raises(DataError, match="t:2: not sorted"):
        read_table(tmp_path / "t", ordered=True)


@pytest.mark.parametrize("data", [b"a 1\nb 2 3\n", b"a 1\nb 2 3", b" a\t1\nb  2 3 \n", b"a\v1\nb \t 2 3\t\n"])
def test_blanks_and_a_missing_last_line_end_do_not_matter(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(data)
    assert read_table(tmp_path / "t") == {"a": "1", "b": "2 3"}


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing: cannot read: No such file"):
        read_table(tmp_path / "nothing")


def test_unicode_spaces_are_part_of_an_id() -> None:
    assert split_key("a\u3000b c") == ("a\u3000b", "c")
    assert split_blanks("a\u00a0b  c\u2028d") == ["a\u00a0b", "c\u2028d"]


@pytest.mark.parametrize("table", [{"a b": "1"}, {"": "1"}, {"a\n": "1"}, {"a": ""}, {"a": "1\nb 2"}, {"a\tb": "1"}])
def test_nothing_is_written_that_could_not_be_read_back(table: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot"):
        write_table(tmp_path / "t", table)
    assert not list(tmp_path.iterdir())


def test_lists_survive_and_ids_are_first_fields(tmp_path: Path) -> None:
    lists = {"s1": ["u1", "u2"], "s0": ["u3"]}
    write_lists(tmp_path / "t", lists)
    assert read_lists(tmp_path / "t") == lists
    assert read_ids(tmp_path / "t") == ["s0", "s1"]
    (tmp_path / "ids").write_text("b\na\nb\n")
    with pytest.raises(DataError, match="ids:3: 'b' is already on line 1"):
        read_ids(tmp_path / "ids")
