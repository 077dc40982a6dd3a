"""Lines out of arrays: every number as C prints it, every id as it is."""

import numpy as np
import pytest

from timbre.datadir.line_text import id_bytes, join_fields, number_bytes
from timbre.utils.errors import DataError

ODD = [
    *(0.0, -0.0, 1, -1, 100, 0.1, 0.5, 123456789, 1e-4, 9.9999999999e-5, 0.00099999999995, 99999999.95),
    *(123456788.5, 123456789.5, 999999999.4, 999999999.5, 999999999.6, 1e9, -1e9, 1e22, 1e-300, 5e-324),
    *(float("inf"), float("-inf"), 0.123456789, 0.1234567895, 0.12345678949999, 1.000000005, 2.000000015),
]


def shown(values: np.ndarray) -> list[bytes]:
    return join_fields(number_bytes(values)).split(b"\n")[:-1]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_numbers_are_those_of_c(kind: type) -> None:
    rng = np.random.default_rng(0)
    size = 50_000
    for values in (
        rng.standard_normal(size),
        10.0 ** rng.uniform(-8, 14, size) * rng.choice([-1, 1], size),
        rng.integers(-(10**9), 10**9, size) / 1e3,
        rng.integers(0, 2**24, size) / 2**24,  # many of them in the middle of two decimals
        np.array(ODD),
    ):
        values = values.astype(kind)
        assert shown(values) == [b"%.9g" % value for value in values.tolist()]


def test_lines_have_the_fields_as_they_are() -> None:
    ids = ["a", "longer-é", "b", "12345678901234567890"]
    encoded = id_bytes(ids)
    lines = join_fields(encoded[[1, 0]], encoded[[3, 0]], number_bytes(np.array([0.5, -3])))
    assert lines.decode() == "longer-é 12345678901234567890 0.5\na a -3\n"
    with pytest.raises(DataError, match="an id has a zero byte"):
        id_bytes(["a\0b"])
