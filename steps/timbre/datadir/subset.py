"""Which utterances a part of a data directory is made of: the choices of subset_data_dir.py."""

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timbre.datadir.contents import Contents
from timbre.datadir.datadir import invert, parse_segment
from timbre.datadir.tables import read_ids
from timbre.utils.errors import DataError
from timbre.utils.number_text import to_float


def choose(contents: Contents, choice: str, value: int | Path, seed: int) -> list[str]:
    """Utterances of CONTENTS by one of CHOICES; DataError when there are not as many, or a list names others."""
    if isinstance(value, int) and value < 1:
        raise DataError(f"{choice} is {value}; it must be at least 1")
    return CHOICES[choice](contents, value, seed)


def _first(contents: Contents, count: int, seed: int) -> list[str]:
    return _enough(contents, count)[:count]


def _last(contents: Contents, count: int, seed: int) -> list[str]:
    return _enough(contents, count)[-count:]


def _random(contents: Contents, count: int, seed: int) -> list[str]:
    return random.Random(seed).sample(_enough(contents, count), count)


def _per_spk(contents: Contents, count: int, seed: int) -> list[str]:
    """The draw of a speaker depends on its own utterances only, not on which other speakers there are."""
    chosen = []
    for spk, utts in invert(contents.utt2spk).items():
        chosen += random.Random(f"{seed} {spk}").sample(utts, min(count, len(utts)))
    return chosen


def _shortest(contents: Contents, count: int, seed: int) -> list[str]:
    lengths = _lengths(contents)
    return sorted(_enough(contents, count), key=lambda utt: (lengths[utt], utt))[:count]


def _utt_list(contents: Contents, path: Path, seed: int) -> list[str]:
    return _listed(path, set(contents.utt2spk), "utterance")


def _spk_list(contents: Contents, path: Path, seed: int) -> list[str]:
    spk2utt = invert(contents.utt2spk)
    return [utt for spk in _listed(path, set(spk2utt), "speaker") for utt in spk2utt[spk]]


CHOICES: dict[str, Callable[[Contents, Any, int], list[str]]] = {
    "first": _first,
    "last": _last,
    "random": _random,
    "per_spk": _per_spk,
    "shortest": _shortest,
    "utt_list": _utt_list,
    "spk_list": _spk_list,
}


def _enough(contents: Contents, count: int) -> list[str]:
    utts = sorted(contents.utt2spk)
    if count > len(utts):
        raise DataError(f"{count} utterances are asked for, but there are {len(utts)}")
    return utts


def _listed(path: Path, known: set[str], what: str) -> list[str]:
    ids = read_ids(path)
    for number, name in enumerate(ids, start=1):
        if name not in known:
            raise DataError(f"{what} '{name}' is not in the data directory", path, number)
    return ids


def _lengths(contents: Contents) -> dict[str, float]:
    name = next((name for name in ("utt2dur", "utt2num_frames", "segments") if name in contents.tables), None)
    if name is None:
        raise DataError("none of utt2dur, utt2num_frames and segments is there to tell how long an utterance is")
    lengths = {}
    for utt in contents.utt2spk:
        try:
            lengths[utt] = _length(name, contents.tables[name][utt])
        except (KeyError, ValueError):
            raise DataError(f"{name} does not tell how long '{utt}' is") from None
    return lengths


def _length(name: str, value: str) -> float:
    if name != "segments":
        return to_float(value)
    segment = parse_segment(value)
    return math.inf if segment.end == -1 else segment.end - segment.start
