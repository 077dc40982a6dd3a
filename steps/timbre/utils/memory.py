"""How much memory there is, and a word instead of a killed process where something would take more."""

import os

from timbre.utils.errors import DataError


def check_memory(what: str, num_bytes: float) -> None:
    """DataError where NUM_BYTES, which WHAT takes, are more than the memory of this machine."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if num_bytes > there:
        raise DataError(f"{what} would take {num_bytes / 2**30:,.3g} GiB; this machine has {there / 2**30:.3g} GiB")
