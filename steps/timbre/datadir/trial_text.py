"""Lines of three fields in and out of arrays without an object a field: trial lists and score files of 10^8 lines.

A field is looked at as 64-bit words, so that a block of lines is numbered or turned into numbers by a few operations on
arrays. Called by trials.py.
"""

import codecs
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from timbre.datadir.tables import BLANKS, BOM_PROBLEM, CRLF, split_lines
from timbre.utils.errors import DataError
from timbre.utils.number_text import to_float

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_BLOCK = 1 << 21  # bytes of text at a time; what is made of them takes about ten times as much
_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)  # masks of the first bytes of a word
_TENS = 10 ** np.arange(17, dtype=np.uint64)
_ROOM = 8  # slots of a hash table for each name, at least
_EXACT = 2.0**53  # integers below it are doubles, so that one division rounds a decimal number correctly


def _every(byte: int) -> np.uint64:
    return np.uint64(byte * 0x0101010101010101)


@dataclass(frozen=True)
class Lines:
    """A block of lines: number of the first, their text and, (num_lines, 3), where each field starts and ends in it.

    Zeros follow the text, so that words can be read from anywhere in it.
    """

    number: int
    text: bytes
    starts: Ints
    ends: Ints

    def __len__(self) -> int:
        return len(self.starts)

    def field(self, line: int, column: int) -> bytes:
        """One field."""
        return self.text[self.starts[line, column] : self.ends[line, column]]

    def words(self, column: int) -> Words:
        """The fields of a column, filled up with zero bytes: (num_lines, words of the longest)."""
        starts = np.ascontiguousarray(self.starts[:, column])
        lengths = self.ends[:, column] - starts
        count = -(-int(lengths.max()) // 8)
        words = self._read(starts, 8 * count).reshape(-1, count)
        shortest = int(lengths.min())
        for index in range(shortest // 8, count):
            words[:, index] &= _BYTES[np.clip(lengths - 8 * index, 0, 8)]
        return words

    def _read(self, places: Ints, width: int) -> Words:
        """WIDTH bytes, a multiple of 8, from each place of the text on; zeros after its end."""
        windows = np.ndarray((len(self.text) - width + 1,), f"V{width}", buffer=self.text, strides=(1,))
        read: Words = windows[places].view("<u8").astype(np.uint64, copy=False)
        return read

    def floats(self, column: int, path: Path | str) -> npt.NDArray[np.float64]:
        """The fields of a column as numbers, (num_lines,), exactly as float() reads them.

        Raises:
            DataError: a field of PATH is not a number, or NaN
        """
        starts, ends = self.starts[:, column], self.ends[:, column]
        head = self._read(np.ascontiguousarray(starts), 8)
        negative = (head & _BYTES[1]) == ord("-")
        starts = starts + negative
        head = np.where(negative, self._read(starts, 8), head) & _BYTES[np.minimum(ends - starts, 8)]
        point = head ^ _every(ord("."))  # its first zero byte is the decimal point
        point = (point - _every(1)) & ~point & _every(0x80)
        has_point = point != 0
        before = np.where(has_point, np.bitwise_count((point & (~point + np.uint64(1))) - np.uint64(1)) // 8, 8)
        before = np.minimum(before, ends - starts).astype(np.int64)
        after = np.where(has_point, ends - starts - before - 1, 0)
        plain = (has_point | (ends - starts <= 8)) & (before + after > 0) & (after <= 16)
        first, second = np.minimum(after, 8), np.clip(after - 8, 0, 8)
        tail = self._read(starts + before + 1, 16).reshape(-1, 2)
        parts = []
        for word, count in ((head, before), (tail[:, 0], first), (tail[:, 1], second)):
            digits, fine = _digits(word, np.where(plain, count, 0))
            plain &= fine
            parts.append(digits)
        power = np.where(plain, after, 0)
        plain &= (parts[0] + 1) * _TENS[power].astype(np.float64) < _EXACT
        whole = parts[0] * _TENS[power] + parts[1] * _TENS[np.where(plain, second, 0)] + parts[2]
        values = whole / _TENS[power].astype(np.float64)
        np.negative(values, out=values, where=negative)
        for line in np.flatnonzero(~plain).tolist():
            values[line] = self._float(line, column, path)
        if np.isnan(values).any():
            raise DataError("the score is NaN", path, self.number + int(np.isnan(values).argmax()))
        return values

    def _float(self, line: int, column: int, path: Path | str) -> float:
        text = self.field(line, column)
        try:
            return to_float(text)
        except ValueError:
            shown = text.decode(errors="replace")
            raise DataError(f"not a number: '{shown}'", path, self.number + line) from None


def _digits(word: Words, count: Ints) -> tuple[Words, npt.NDArray[np.bool_]]:
    """The number that the first COUNT characters of each word spell, and whether all of them are digits."""
    digits = (word ^ _every(ord("0"))) << (8 * (8 - np.maximum(count, 1))).astype(np.uint64)
    digits[count == 0] = 0
    fine = ((digits | (digits + _every(6))) & _every(0xF0)) == 0
    digits = digits * np.uint64(10) + (digits >> np.uint64(8))  # pairs of digits, then fours and all eight
    low, first, second = np.uint64(0x000000FF000000FF), np.uint64(0x000F424000000064), np.uint64(0x0000271000000001)
    digits = (digits & low) * first + (digits >> np.uint64(16) & low) * second
    return digits >> np.uint64(32), fine


class Names:
    """Numbers for names, in order of appearance: a hash table with open addressing, in arrays."""

    def __init__(self, names: Iterable[bytes] = ()) -> None:
        self._count = 0
        self._rows = np.zeros((1 << 8, 1), np.uint64)  # words of every name, and room for more
        self._slots = np.full(1 << 10, -1, np.int32)  # numbers of names, by hash
        if names := list(names):
            self.add(_words(names))

    def __len__(self) -> int:
        return self._count

    def decoded(self, path: Path | str, indices: Iterable[np.ndarray]) -> list[str]:
        """All names; DataError with the line of PATH, whose names are numbered INDICES, where one is not UTF-8."""
        names: list[str] = []
        raw = self._rows[: self._count].view(f"S{8 * self._rows.shape[1]}").ravel().tolist()
        try:
            names.extend(map(bytes.decode, raw))
        except UnicodeDecodeError:
            before = 0
            for block in indices:
                if (lines := np.flatnonzero(block == len(names))).size:
                    raise DataError("not UTF-8", path, before + int(lines[0]) + 1) from None
                before += len(block)
        return names

    def find(self, words: Words) -> npt.NDArray[np.int32]:
        """The number of each name, (num_names,); -1 for one that is not known."""
        return self._find(words, _hash(words))

    def _find(self, words: Words, hashes: Words) -> npt.NDArray[np.int32]:
        slots = self._slot(hashes)
        found = self._slots[slots]
        pending = np.flatnonzero(found >= 0)
        if len(pending) == len(found):
            pending = np.flatnonzero(~self._equal(words, found))
        else:
            pending = pending[~self._equal(words[pending], found[pending])]
        while len(pending):
            slots[pending] = (slots[pending] + 1) & (len(self._slots) - 1)
            found[pending] = self._slots[slots[pending]]
            pending = pending[found[pending] >= 0]
            pending = pending[~self._equal(words[pending], found[pending])]
        return found

    def add(self, words: Words) -> npt.NDArray[np.int32]:
        """The number of each name, (num_names,); one that is not known gets the next number."""
        hashes = _hash(words)
        found = self._find(words, hashes)
        new = np.flatnonzero(found < 0)
        while len(new):
            _, first = np.unique(hashes[new], return_index=True)
            self._append(words[new[np.sort(first)]])
            found[new] = self._find(words[new], hashes[new])
            new = new[found[new] < 0]  # different names of the same hash
        return found

    def _append(self, words: Words) -> None:
        """Names that are not known, of different hashes."""
        before, self._count = self._count, self._count + len(words)
        rows, width = self._rows.shape
        if self._count > rows or words.shape[1] > width:
            room = rows if self._count <= rows else 2 * self._count
            grown = np.zeros((room, max(width, words.shape[1])), np.uint64)
            grown[:before, :width] = self._rows[:before]
            self._rows = grown
        self._rows[before : self._count, : words.shape[1]] = words
        if _ROOM * self._count > len(self._slots):
            self._slots = np.full(1 << (_ROOM * self._count).bit_length(), -1, np.int32)
            before = 0
        numbers = np.arange(before, self._count, dtype=np.int32)
        slots = self._slot(_hash(self._rows[before : self._count]))
        while len(numbers):
            free = self._slots[slots] < 0
            self._slots[slots[free]] = numbers[free]
            left = self._slots[slots] != numbers
            numbers, slots = numbers[left], (slots[left] + 1) & (len(self._slots) - 1)

    def _slot(self, hashes: Words) -> Ints:
        return (hashes >> np.uint64(65 - len(self._slots).bit_length())).astype(np.int64)

    def are(self, words: Words, numbers: npt.NDArray[np.int32]) -> bool:
        """Whether these names have these NUMBERS."""
        return bool(self._equal(words, numbers).all())

    def _equal(self, words: Words, numbers: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """Of each of NUMBERS, whether its name is that of WORDS."""
        width = words.shape[1]
        known = self._rows.view(f"V{8 * self._rows.shape[1]}").ravel().take(numbers, mode="clip")
        rows: Words = known.view(np.uint64).reshape(len(words), self._rows.shape[1])
        equal: npt.NDArray[np.bool_] = rows[:, 0] == words[:, 0]
        for index in range(1, max(width, rows.shape[1])):
            ours = rows[:, index] if index < rows.shape[1] else np.uint64(0)
            equal &= ours == (words[:, index] if index < width else np.uint64(0))
        return equal


def hashes(names: Iterable[bytes]) -> Words:
    """A number of 64 bits for each name, the same in every process; two names hardly ever share one."""
    return _hash(_words(list(names)))


def _words(names: list[bytes]) -> Words:
    """NAMES filled up with zero bytes: (num_names, words of the longest)."""
    width = 8 * -(-max(map(len, names), default=1) // 8)
    words: Words = np.array(names, f"S{width}").view(np.uint64).reshape(len(names), -1)
    return words


def _hash(words: Words) -> Words:
    """A hash of each row that does not depend on zero words at its end."""
    mix = np.uint64(0x9E3779B97F4A7C15)
    factors = np.multiply.accumulate(np.full(words.shape[1], mix, np.uint64)) if words.shape[1] else words[:0, 0]
    result = np.zeros(len(words), np.uint64)
    for index, factor in enumerate(factors):
        result += words[:, index] * factor
    result ^= result >> np.uint64(32)
    result *= mix
    return result


def read_lines(path: Path | str) -> Iterator[Lines]:
    """Blocks of the lines of PATH.

    Raises:
        DataError: the file cannot be read, or the first line without three fields
    """
    number = 1
    for text in _line_blocks(path):
        if number == 1 and text.startswith(codecs.BOM_UTF8):
            raise DataError(BOM_PROBLEM, path, 1)
        lines = _parse(text, number) or _parse(_plain(path, text, number), number)
        assert lines is not None, "lines of three fields with single blanks"
        yield lines
        number += len(lines)


def _parse(text: bytes, number: int) -> Lines | None:
    """TEXT if it is lines of three fields with one space between them, or one tab in all of them."""
    codes = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(codes <= 32)
    num_lines, rest = divmod(len(ends), 3)
    if rest or codes[ends].tobytes() not in (b"  \n" * num_lines, b"\t\t\n" * num_lines):
        return None
    starts = np.empty_like(ends)
    starts[0], starts[1:] = 0, ends[:-1] + 1
    lengths = ends - starts
    if not lengths.all():
        return None
    return Lines(number, text + bytes(int(lengths.max()) + 32), starts.reshape(-1, 3), ends.reshape(-1, 3))


def _plain(path: Path | str, text: bytes, number: int) -> bytes:
    """TEXT with single blanks; DataError at the first bad line."""
    for line_number, line in enumerate(split_lines(text), start=number):
        if problem := line_problem(line):
            raise DataError(problem, path, line_number)
    fields = text.split()
    return b"%b %b %b\n" * (len(fields) // 3) % tuple(fields)


def line_problem(line: bytes) -> str | None:
    """What keeps LINE from being three fields of text."""
    if line.endswith(b"\r"):
        return CRLF
    try:
        shown = line.decode().strip(BLANKS)
    except UnicodeDecodeError:
        return "not UTF-8"
    fields = line.split()
    if fields and min(map(min, fields)) < 32:
        return f"a control character: {shown!r}"
    return None if len(fields) == 3 else f"three fields are wanted, not {len(fields)}: '{shown}'"


def _line_blocks(path: Path | str) -> Iterator[bytes]:
    """The file in blocks of whole lines, each ending in LF."""
    try:
        with Path(path).open("rb") as file:
            rest = b""
            while block := file.read(_BLOCK):
                head, newline, tail = block.rpartition(b"\n")
                if newline:
                    yield rest + head + newline
                    rest = tail
                else:
                    rest += block
            if rest:
                yield rest + b"\n"
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror or error}", path) from error
