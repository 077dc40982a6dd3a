"""Lines of two ids and a third field out of arrays, without an object a field: what trial_text.py reads. For trials.py.

A field is a row of bytes with zeros where it has none; the bytes that are not zero, one after the other, are the text.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from timbre.utils.errors import DataError

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.integer]

_FOURS = np.frombuffer("".join(f"{number:04d}" for number in range(10_000)).encode(), np.uint32)
_TENS = np.array([10**place for place in range(13)])
_POWERS = 10.0 ** np.arange(-4, 10)
_DIGITS = 9  # significant ones of a number
_PLACES = 12  # of a number after the point, and before it
_SURE = 1e-6  # a number is rounded here, unless it is as near to the middle of two


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
    """(num_values,) of 26 bytes: VALUES as "%.9g" has them."""
    values = values.astype(np.float64)
    size = np.abs(values)
    exponent = np.searchsorted(_POWERS, size, "right") - 5  # of the first digit; numbers of other sizes follow below
    plain = (exponent >= -4) & (exponent < _DIGITS)
    exponent = np.where(plain, exponent, 0)
    places = _DIGITS - 1 - exponent  # that are left of it after the point
    scaled = np.where(plain, size, 1) * _TENS[places]  # to the right within 1e-7
    digits = np.rint(scaled).astype(np.int64)
    plain &= np.abs(np.abs(scaled - digits) - 0.5) > _SURE
    whole: npt.NDArray[np.int64] = digits // _TENS[places]
    rest = digits - whole * _TENS[places]
    plain &= whole < 10**_DIGITS
    text = np.empty((len(values), 2 * _PLACES + 2), np.uint8)
    text[:, 0] = np.where(np.signbit(values), ord("-"), 0)
    before, after = text[:, 1 : 1 + _PLACES], text[:, 2 + _PLACES :]
    before[:] = _twelve_digits(whole)
    after[:] = _twelve_digits(rest * _TENS[_PLACES - places])
    column = np.arange(_PLACES)
    num_before = np.searchsorted(_TENS[1:_DIGITS], whole, "right") + 1
    before *= column >= _PLACES - num_before[:, None]
    num_after = np.where(rest > 0, _PLACES - (after[:, ::-1] != ord("0")).argmax(1), 0)
    after *= column < num_after[:, None]
    text[:, 1 + _PLACES] = np.where(num_after, ord("."), 0)
    for row in np.flatnonzero(~plain).tolist():
        shown = b"%.9g" % float(values[row])
        text[row] = 0
        text[row, : len(shown)] = np.frombuffer(shown, np.uint8)
    return text.view(f"V{text.shape[1]}").ravel()


def _twelve_digits(numbers: Integers) -> Bytes:
    """(num_numbers, 12) uint8: the digits of NUMBERS, with zeros before them."""
    high, low = np.divmod(numbers, 10**8)
    middle, low = np.divmod(low, 10**4)
    fours = np.stack([_FOURS[high], _FOURS[middle], _FOURS[low]], axis=1)
    return fours.view(np.uint8)
