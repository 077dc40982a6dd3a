"""Words and digits of text against dictionaries and float()."""

import re
from pathlib import Path

import numpy as np
import pytest

from timbre.datadir import trial_text
from timbre.datadir.trial_text import Names, read_lines
from timbre.utils.errors import DataError

NUMBERS = """0 -0 1 -1 7. .5 -.5 0.0 -0.0 12345678 123456789 1234567.5 12345678.5 -1234567.25 9007199254740993 0.1 0.25
1e5 -1.5e-07 +3 inf -inf Infinity 0.12345678 0.123456789 0.1234567890123456 0.12345678901234567 99999999.99999999
00000000.5 0000.5 3.4028235e+38 0.9999999999999999 9999999.999999999 123.4567890123 1.000000000000000"""


def read_numbers(path: Path, numbers: list[str]) -> np.ndarray:
    path.write_text("".join(f"a b {number}\n" for number in numbers))
    return np.concatenate([lines.floats(2, path) for lines in read_lines(path)])


def test_numbers_are_those_of_float(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 10.0 ** rng.integers(-6, 9, 20_000)).tolist()
    forms = ["%.9g", "%.6f", "%g", "%.0f", "%.17g", "%.3e", "%.8f"]
    numbers = NUMBERS.split() + [forms[place % len(forms)] % value for place, value in enumerate(values)]
    read = read_numbers(tmp_path / "scores", numbers)
    expected = np.array(list(map(float, numbers)))
    assert np.array_equal(read, expected)
    assert np.array_equal(np.signbit(read), np.signbit(expected))


@pytest.mark.parametrize(
    "bad", [".", "-", "-.", "1.2.3", "--1", "1-", "12a", "0x1p3", "1,5", "1.5e", "/0", "0:", "0.5/", "١٢x"]
)
def test_what_is_no_number_is_told(bad: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape(f"scores:3: not a number: '{bad}'")):
        read_numbers(tmp_path / "scores", ["0.5", "-1", bad, "2"])


@pytest.mark.parametrize("block", [300, 1 << 21])
def test_names_are_numbered_as_a_dictionary_would(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of 1 to 40 bytes that share beginnings and ends, in blocks whose longest differ."""
    monkeypatch.setattr(trial_text, "_BLOCK", block)
    rng = np.random.default_rng(1)
    pool = [
        ("x" * length + "é" * (length % 3) + str(number))[-40:]
        for number, length in enumerate(rng.integers(0, 40, 4000))
    ]
    chosen = [pool[index] for index in rng.integers(0, len(pool), 20_000)]
    (tmp_path / "list").write_text("".join(f"{name}\t{name[::-1]}\t-\n" for name in chosen))
    names, backwards = Names(), Names(pool_name[::-1].encode() for pool_name in pool[:100])
    numbers, found = [], []
    for lines in read_lines(tmp_path / "list"):
        numbers.append(names.add(lines.words(0)))
        found.append(backwards.find(lines.words(1)))
    index = {name: number for number, name in enumerate(dict.fromkeys(chosen))}
    assert np.concatenate(numbers).tolist() == [index[name] for name in chosen]
    assert names.decoded(tmp_path / "list", numbers) == list(index)
    known = {name[::-1]: number for number, name in enumerate(pool[:100])}
    assert np.concatenate(found).tolist() == [known.get(name[::-1], -1) for name in chosen]


def test_names_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_text, "_hash", lambda words: words[:, 0] & np.uint64(1))
    words = np.array([[5, 1], [7, 0], [4, 0], [5, 0], [7, 0], [5, 1], [6, 3]], np.uint64)
    names = Names()
    assert sorted(set(names.add(words).tolist())) == list(range(5))
    assert len(names) == 5
    numbers = names.find(words)
    assert len({*numbers.tolist()}) == 5
    assert (numbers[0], numbers[1]) == (numbers[5], numbers[4])
    assert names.find(np.array([[9, 0], [5, 0]], np.uint64)).tolist() == [-1, numbers[3]]


def test_a_control_character_is_told(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a b target\na\x01 b target\n")
    with pytest.raises(DataError, match="list:2: a control character"):
        list(read_lines(tmp_path / "list"))
