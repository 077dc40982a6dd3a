"""What a decision pack was tested on: its errors by condition, and the range of its recordings.

Made by packing.py; verify.py warns of recordings outside the range.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from timbre.datadir.datadir import DataDir
from timbre.decision.thresholds import OperatingPoint
from timbre.feats.options import FrameOptions
from timbre.feats.speech_quality import Speech, measure_speech

Ranges = Mapping[str, tuple[float, float]]  # measure -> its least and greatest value

_NAMES = ("seconds", "snr", "band")
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
    columns = {name: [getattr(one, name) for one in found] for name in _NAMES}
    known_columns = {name: values for name, values in columns.items() if values and None not in values}
    return {
        name: (float(low), float(high))
        for name, values in known_columns.items()
        for low, high in [np.percentile(values, _SHARES)]
    }


def read_ranges(content: object) -> dict[str, tuple[float, float]]:
    """What is in pack.yaml as `tested`; ValueError, TypeError or OverflowError where it is something else."""
    ranges = {str(name): (float(low), float(high)) for name, (low, high) in dict(content or {}).items()}  # type: ignore[call-overload]
    if wrong := [name for name, (low, high) in ranges.items() if name not in _NAMES or not low <= high]:
        raise ValueError(f"tested: '{wrong[0]}' is none of {', '.join(_NAMES)}, or its range is none")
    return ranges


def outside(measures: Mapping[str, float], ranges: Ranges) -> list[str]:
    """In words, what of a recording with MEASURES (seconds, snr, band) lies outside RANGES."""
    told = []
    for name, (low, high) in ranges.items():
        value = measures.get(name)
        if value is None:
            continue
        if name == "seconds" and not low <= value <= high:
            told.append(f"{value:.1f} s of speech, and tested were {low:.1f} to {high:.1f} s")
        if name == "snr" and value < low:
            told.append(f"a signal-to-noise ratio of {value:z.0f} dB, and tested were {low:z.0f} dB and more")
        if name == "band" and value < low:
            told.append(
                f"little above 4 kHz, as of a telephone ({value:z.0f} dB), and tested were {low:z.0f} dB and more"
            )
    return [f"outside what the pack was tested on: {text}" for text in told]
