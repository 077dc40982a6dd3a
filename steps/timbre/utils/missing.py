"""What could not be made of many things: one table of it, and whether the rest is enough to go on (--allow-missing)."""

import logging
import math
import re
from collections.abc import Mapping
from pathlib import Path

from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

Allowed = int | str  # a number, or a share such as 2%

_NUM_SHOWN = 20

log = logging.getLogger(__name__)


def count_allowed(allowed: Allowed, total: int, option: str = "allow_missing") -> int:
    """How many of TOTAL things ALLOWED, an OPTION, stands for; DataError where it is neither a number nor a share."""
    text = str(allowed).strip()
    if re.fullmatch(r"\d+", text):
        return int(text)
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text):
        return math.floor(total * float(match[1]) / 100 + 1e-9)
    raise DataError(f"{option} is '{text}'; a number, or a share such as 2%, is wanted")


def check_missing(
    failures: Mapping[str, str], total: int, allowed: Allowed, table: Path, what: str, kind: str = "utterances"
) -> None:
    """Writes TABLE, what failed and why, or removes it where nothing did.

    Args:
        failures: name -> reason
        total: how many there are in all
        allowed: how many may fail
        table: the file
        what: what they lack
        kind: what they are

    Raises:
        DataError: too many, or all of them
    """
    table.unlink(missing_ok=True)
    limit = count_allowed(allowed, total)
    if not failures:
        return
    lines = [f"{name} {' '.join(reason.split())}" for name, reason in sorted(failures.items())]
    with atomic_write(table) as file:
        file.writelines(f"{line}\n" for line in lines)
    for name, reason in sorted(failures.items())[:_NUM_SHOWN]:
        log.warning("%s: no %s: %s", name, what, reason)
    if len(lines) > _NUM_SHOWN:
        log.warning("and %d more, see %s", len(lines) - _NUM_SHOWN, table)
    number = f"{len(lines)} of {total} {kind} have no {what}"
    name, reason = min(failures.items())
    if len(lines) > limit or len(lines) == total:
        advice = f"; --allow-missing {len(lines)} goes on without" if len(lines) < total else ""
        raise DataError(f"{number}, {limit} may; the first is '{name}': {reason}{advice}", table)
    log.warning("%s: %s and are left out", table, number)
