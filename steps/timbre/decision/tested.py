"""What a decision pack was tested on: its errors by condition, and the range of its recordings.

Made by packing.py; verify.py warns of recordings outside the range.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from timbre.datadir.datadir import DataDir
from timbre.feats.options import FrameOptions
from timbre.feats.speech_quality import Speech, measure_speech
from timbre.runtime.tested_ranges import RANGE_NAMES
from timbre.runtime.thresholds import OperatingPoint

_SHARES = (0.5, 99.5)  # percentiles: what lies outside is nowhere near what was tested
_UTTS = 1000  # utterances of a list that are measured, drawn


@dataclass(frozen=True)
class Condition:
    """Errors on a list: points have the thresholds of the pack, and the misses and false alarms of this list."""

    name: str
    num_speakers: int
    eer: float
    points: Sequence[OperatingPoint]


def ranges_of(
    lists: Sequence[tuple[DataDir, Sequence[str]]], options: FrameOptions, nj: int
) -> dict[str, tuple[float, float]]:
    """Seconds of speech, signal-to-noise ratio (dB) and `high_band` (dB) of utterances, from data directories with
    features of OPTIONS and VAD; those that are in none are passed over."""
    found: list[Speech] = []
    for data, utts in lists:
        if not data.has("feats.scp") or not data.has("vad.scp"):
            continue
        known = np.array(sorted({*utts} & data.table("feats.scp").keys() & data.table("vad.scp").keys()), dtype=object)
        drawn = np.random.default_rng(0).permutation(known)[:_UTTS].tolist()
        found += measure_speech(data, nj, drawn, options).values() if drawn else []
    columns = {name: [getattr(one, name) for one in found] for name in RANGE_NAMES}
    known_columns = {name: values for name, values in columns.items() if values and None not in values}
    return {
        name: (float(low), float(high))
        for name, values in known_columns.items()
        for low, high in [np.percentile(values, _SHARES)]
    }
