"""Lines of two ids and a third field out of arrays, without an object a field: what trial_text.py reads. For trials.py.

A field is a row of bytes with zeros where it has none; the bytes that are not zero, one after the other, are the text.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from timbre.utils.errors import DataError

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.integer]
Words = npt.NDArray[np.uint64]

_DIGITS = 9  # significant ones of a number
_PLACES = 12  # of a number after the point, at most
_POWERS = 10.0 ** np.arange(_DIGITS - 1 - _PLACES, _DIGITS + 1)
_TENS = 10.0 ** np.arange(_PLACES + 1)
_SURE = 1e-6  # a number is rounded here, unless it is as near to the middle of two


def _pairs(texts: Iterable[bytes]) -> Words:
    """(num_texts, 2): TEXTS of 16 bytes as words, the first byte the lowest of a word."""
    return np.frombuffer(b"".join(texts), "<u8").astype(np.uint64).reshape(-1, 2)


def _mask(start: int, stop: int) -> bytes:
    """16 bytes whose bits are set from byte START to STOP."""
    return bytes(255 * (start <= place < stop) for place in range(16))


def _marks(places: int, sign: bytes) -> bytes:
    """16 bytes with SIGN and point of a number of PLACES, whose last digit is in the last byte."""
    text = bytearray(16)
    text[14 - places - max(_DIGITS - places, 1)] = ord(sign)
    text[15 - places] = ord(".") if places else 0
    return bytes(text)


# of a number with so many places, its digits in 16 bytes: those before the point (once moved to make room for it),
# those after it, the marks between them (negative numbers last); and what is left without so many bytes at the end
_MOVED = _pairs(_mask(15 - places - max(_DIGITS - places, 1), 15 - places) for places in range(_PLACES + 1))
_KEPT = _pairs(_mask(16 - places, 16) for places in range(_PLACES + 1))
_MARKS = _pairs(_marks(places, sign) for sign in (b"\0", b"-") for places in range(_PLACES + 1))
_CUT = _pairs(_mask(0, 16 - count) for count in range(_PLACES + 2))
_FOURS = np.frombuffer("".join(f"{number:04d}" for number in range(10_000)).encode(), "<u4").astype(np.uint64)
_ZEROS = np.uint64(0x3030303030303030)  # "00000000"


def id_bytes(ids: Sequence[str]) -> npt.NDArray[np.void]:
    """(num_ids,) as many bytes as the longest has: IDS in UTF-8.

    Raises:
        DataError: an id has a zero byte
    """
    encoded = [name.encode() for name in ids]
    if any(0 in name for name in encoded):
        raise DataError("an id has a zero byte")
    width = max(map(len, encoded), default=1)
    return np.array(encoded, f"S{width}").view(f"V{width}")


def join_fields(*fields: npt.NDArray[np.void]) -> bytes:
    """Lines of the FIELDS (num_lines,), as `id_bytes` has them, with blanks between."""
    mark = np.dtype(np.uint8)
    text = np.empty(len(fields[0]), [part for field in fields for part in (("", field.dtype), ("", mark))])
    names = text.dtype.names or ()
    for number, field in enumerate(fields):
        text[names[2 * number]], text[names[2 * number + 1]] = field, ord(" ")
    text[names[-1]] = ord("\n")
    flat: Bytes = text.view(np.uint8)
    lines: bytes = flat[flat != 0].tobytes()
    return lines


def number_bytes(values: npt.NDArray[np.floating]) -> npt.NDArray[np.void]:
    """(num_values,) of 16 bytes: VALUES as "%.9g" has them."""
    values = values.astype(np.float64)
    size = np.abs(values)
    places = len(_POWERS) - 1 - np.searchsorted(_POWERS, size, "right")  # that its digits leave after the point
    plain = (places >= 0) & (places <= _PLACES)  # other numbers follow below
    places[~plain] = _DIGITS - 1
    scaled = np.where(plain, size, 0) * _TENS[places]  # to the right within 1e-7
    digits = np.rint(scaled)
    plain &= (np.abs(np.abs(scaled - digits) - 0.5) > _SURE) & (digits < 10**_DIGITS)
    plain |= size == 0
    words = _sixteen_bytes(digits.astype(np.int32), places, np.signbit(values))
    text = words.astype("<u8", copy=False).view(np.uint8)
    for row in np.flatnonzero(~plain).tolist():
        shown = b"%.9g" % float(values[row])
        text[row] = np.frombuffer(shown.ljust(16, b"\0"), np.uint8)
    return text.view("V16").ravel()


def _sixteen_bytes(digits: npt.NDArray[np.int32], places: Integers, negative: npt.NDArray[np.bool_]) -> Words:
    """(num_numbers, 2): the texts of numbers of nine DIGITS, PLACES of them after the point or filled up with zeros."""
    first = digits // 10**8
    rest = digits - first * 10**8
    middle = rest // 10**4
    last = rest - middle * 10**4
    head = (first.astype(np.uint64) << np.uint64(56)) + _ZEROS
    tail = _FOURS[middle] | (_FOURS[last] << np.uint64(32))
    marks = places + (_PLACES + 1) * negative
    words = np.empty((len(digits), 2), np.uint64)
    for word, whole, moved in (
        (0, head, (head >> np.uint64(8)) | (tail << np.uint64(56))),
        (1, tail, tail >> np.uint64(8)),
    ):
        before, after = moved & _MOVED[:, word][places], whole & _KEPT[:, word][places]
        words[:, word] = before | after | _MARKS[:, word][marks]
    round_ones = np.flatnonzero((digits // 10) * 10 == digits)
    rest, after_point = digits[round_ones].astype(np.int64), places[round_ones]
    zeros = np.ones(len(rest), np.int64)
    for power in range(2, _PLACES + 1):
        more = rest % 10**power == 0
        if not more.any():
            break
        zeros += more
    words[round_ones] &= _CUT[np.where(zeros < after_point, zeros, after_point + 1)]
    return words
