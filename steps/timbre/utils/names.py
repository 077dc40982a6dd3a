"""Names in the order in which a person sorts them. Used by heat maps and the page of a run."""

import re


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Key to sort by: numbers in a name count as numbers, so that noise5 comes before noise10."""
    words = re.split(r"(\d+)", name)
    return [(0, int(word), "") if index % 2 else (1, 0, word) for index, word in enumerate(words)]
