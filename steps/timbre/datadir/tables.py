"""Kaldi's text tables, "key rest-of-line" in UTF-8, sorted as LC_ALL=C sorts: the one parser of them all."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write
from timbre.utils.number_text import to_float

BLANKS = " \t\v\f"  # what Kaldi splits on; never str.split(), which also splits on Unicode spaces
CRLF = "Windows line end (CRLF); convert with dos2unix"
BOM = "\ufeff"  # the byte order mark that some editors put before UTF-8
BOM_PROBLEM = "begins with a byte order mark (BOM); save it without"
_ID = re.compile(f"[^{BLANKS}\n\r]+")
_ODD = ("\0", "\t", "\v", "\f", "\r", "  ", " \n", "\n ", "\n\n")  # text without any of these needs no careful parsing


@dataclass(frozen=True)
class Line:
    """One line of a table, and what is wrong with it (None: nothing); key and value are what can be made of it."""

    number: int
    key: str
    value: str
    problem: str | None


def read_table(path: Path | str, *, ordered: bool = False) -> dict[str, str]:
    """The table PATH as {key: rest of the line}, in file order; an empty file is an empty table.

    Args:
        path: the file
        ordered: refuse keys that are not sorted

    Raises:
        DataError: no such file, or the first line that is empty, not UTF-8, CRLF, lacks a value or repeats a key
    """
    data = read_bytes(path)
    table = _parse_plain(data)
    if table is None:
        table = {}
        for line in parse_lines(data):
            if line.problem:
                raise DataError(line.problem, path, line.number)
            table[line.key] = line.value
    if ordered:
        check_order(table, path)
    return table


def check_order(table: Mapping[str, object], path: Path | str) -> None:
    """DataError at the first line of PATH whose key is not in C order; TABLE is all of it."""
    if unsorted := first_unsorted(list(table)):
        index, key, before = unsorted
        raise DataError(unsorted_problem(key, before), path, index + 1)


def write_table(path: Path | str, table: Mapping[str, str]) -> None:
    """Writes TABLE sorted by key; the file appears under its name only when complete.

    Raises:
        DataError: a key that `check_id` refuses, a value that is empty or has a line break; a full disk
    """
    for key, value in table.items():
        check_id(key, path)
        if not value or "\n" in value or "\r" in value:
            raise DataError(f"'{key}' cannot have the value {value!r}", path)
    with atomic_write(path) as file:
        file.writelines(f"{key} {table[key]}\n" for key in sorted(table))  # code points sort as UTF-8 bytes do


def check_id(name: str, path: Path | str | None = None) -> None:
    """DataError (in PATH) unless NAME can be the id of an utterance, speaker or recording: not empty, no blanks."""
    if not _ID.fullmatch(name):
        raise DataError(f"{name!r} cannot be an id: it is empty or has a blank", path)


def read_lists(path: Path | str) -> dict[str, list[str]]:
    """A table whose values are lists, such as spk2utt: {key: items}. Raises as `read_table`."""
    return {key: split_blanks(value) for key, value in read_table(path).items()}


def read_ids(path: Path | str) -> list[str]:
    """The first field of every line, in file order: a list of utterances or speakers, or the keys of a table."""
    ids = []
    for line in parse_lines(read_bytes(path), values=False):
        if line.problem:
            raise DataError(line.problem, path, line.number)
        ids.append(line.key)
    return ids


def read_numbers(path: Path | str) -> dict[str, float]:
    """A table of numbers, such as utt2dur: {key: number}.

    Raises:
        DataError: as `read_table`, and at the first line whose value is not a finite number
    """
    numbers = {}
    for number, (key, text) in enumerate(read_table(path).items(), start=1):
        try:
            numbers[key] = to_float(text)
        except ValueError:
            raise DataError(f"'{key}' has the value '{text}', which is not a number", path, number) from None
        if not math.isfinite(numbers[key]):
            raise DataError(f"the value of '{key}' is not finite", path, number)
    return numbers


def write_lists(path: Path | str, lists: Mapping[str, list[str]]) -> None:
    """Writes {key: items} such as spk2utt, sorted by key."""
    write_table(path, {key: " ".join(items) for key, items in lists.items()})


def read_bytes(path: Path | str) -> bytes:
    """The whole file; DataError when it cannot be read."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror or error}", path) from error


def parse_lines(data: bytes, *, values: bool = True) -> Iterator[Line]:
    """Every line of a table's DATA, the bad ones with their problem; one that repeats a key is bad.

    Args:
        data: the table
        values: whether every key must have a value
    """
    first_seen: dict[str, int] = {}
    for number, raw in enumerate(split_lines(data), start=1):
        problem = None
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            problem, text = "not UTF-8", raw.decode(errors="replace")
        if number == 1 and text.startswith(BOM):
            problem, text = problem or BOM_PROBLEM, text[1:]
        if text.endswith("\r"):
            problem, text = problem or CRLF, text.rstrip("\r")
        if "\0" in text:
            problem, text = problem or "a NUL byte: this is not text", text.replace("\0", "\ufffd")
        key, value = split_key(text)
        if not key:
            problem = problem or "empty line"
        elif values and not value:
            problem = problem or f"'{key}' has no value"
        elif key in first_seen:
            problem = problem or f"'{key}' is already on line {first_seen[key]}"
        if not problem:
            first_seen[key] = number
        yield Line(number, key, value, problem)


def split_lines(data: bytes) -> list[bytes]:
    """Lines of DATA at LF only, without it; a last line without LF counts."""
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def split_key(line: str) -> tuple[str, str]:
    """("key", "rest of the line") at the first run of blanks, both stripped of blanks."""
    key, *rest = re.split(f"[{BLANKS}]+", line.strip(BLANKS), maxsplit=1)
    return key, "".join(rest)


def split_blanks(text: str) -> list[str]:
    """Fields of TEXT between runs of Kaldi's blanks (Unicode spaces are part of a field)."""
    if not text.isascii():
        return [field.decode() for field in text.encode().split()]
    return text.split()


def first_unsorted(keys: list[str]) -> tuple[int, str, str] | None:
    """(index, key, the greater key before it) of the first key out of C order, or None."""
    if keys == sorted(keys):
        return None
    return next((i, key, keys[i - 1]) for i, key in enumerate(keys) if i and key < keys[i - 1])


def unsorted_problem(key: str, before: str) -> str:
    """What is said of a KEY that should stand above the one BEFORE it."""
    return f"not sorted (LC_ALL=C): '{key}' comes after '{before}'"


def _parse_plain(data: bytes) -> dict[str, str] | None:
    """The table when every line is "key value" without anything odd; None: it needs parse_lines."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    text = text.removesuffix("\n")
    if not text:
        return None if data else {}
    if text[0] in BLANKS + BOM + "\n" or text[-1] in BLANKS + "\n" or any(odd in text for odd in _ODD):
        return None
    lines = text.split("\n")
    try:
        table = dict(line.split(" ", 1) for line in lines)
    except ValueError:  # a line without a value
        return None
    return table if len(table) == len(lines) else None
