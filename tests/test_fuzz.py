"""Some of fuzz.py in every run of the tests: mutated files are refused in one line, whatever reads them."""

import random

import pytest

from fuzz import fuzz, mutated


@pytest.mark.parametrize("seed", [0, 1])
def test_mutated_files_are_read_or_refused(seed: int) -> None:
    counts, failures = fuzz(4_000, seed, seconds=8)
    assert not failures, "\n".join(f"{name}\n{text}\n{data[:300]!r}" for name, (text, data) in failures.items())
    assert set(counts) <= {"read", "refused"} and counts["refused"] > counts["read"] > 100


def test_mutations_change_files() -> None:
    rng = random.Random(0)
    assert sum(mutated(b"a table\n", rng) != b"a table\n" for _ in range(200)) > 180
