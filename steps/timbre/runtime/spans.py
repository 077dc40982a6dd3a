"""Stretches of time: speech of a VAD decision, its windows, unions. Called by datadir, diarization and diarize.py."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from timbre.utils.errors import DataError

T = TypeVar("T")
EPSILON = 1e-6  # seconds; sums of 0.75 are exact, those of other periods are not


@dataclass(frozen=True)
class WindowOptions:
    """How speech is cut, as Kaldi's get_uniform_subsegments.py does in its diarization recipes.

    Args:
        window: length of a window in seconds
        period: seconds from the beginning of a window to that of the next
        max_rest: a last window may be longer than the others by this much, in seconds, for there to be no shorter one
        min_segment: shorter speech is not looked at, in seconds
        max_gap: pauses up to this length, in seconds, do not end a stretch of speech
        padding: seconds by which each stretch of speech of the VAD is made longer, at both ends
    """

    window: float = 1.5
    period: float = 0.75
    max_rest: float = 0.5
    min_segment: float = 0.25
    max_gap: float = 0.0
    padding: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.period <= self.window:
            raise DataError(f"windows: 0 < period <= window is wanted, not {self.period:g} and {self.window:g}")
        for name in ("max_rest", "min_segment", "max_gap", "padding"):
            if getattr(self, name) < 0:
                raise DataError(f"windows: {name} is {getattr(self, name):g}; it must not be negative")


def speech_of_vad(voiced: NDArray[np.bool_], shift: float, duration: float) -> list[tuple[float, float]]:
    """Stretches of voiced frames in seconds: frame i stands for the time from i SHIFT on, the last up to DURATION.

    voiced: (num_frames,); shift: seconds between frames; duration: of the recording.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], voiced, [False]]).astype(np.int8)))
    spans = []
    for start, end in edges.reshape(-1, 2).tolist():
        last = duration if end == len(voiced) else end * shift
        if last > start * shift:
            spans.append((start * shift, last))
    return spans


def smooth(spans: Sequence[tuple[float, float]], duration: float, options: WindowOptions) -> list[tuple[float, float]]:
    """SPANS padded, with short pauses filled and then short stretches left out; within 0 and DURATION."""
    padded = [(max(0.0, start - options.padding), min(duration, end + options.padding)) for start, end in spans]
    joined = union((start, end + options.max_gap) for start, end in padded)
    kept = [(start, end - options.max_gap) for start, end in joined]
    return [(start, end) for start, end in kept if end - start >= options.min_segment - EPSILON]


def cut(start: float, end: float, options: WindowOptions) -> list[tuple[float, float]]:
    """Windows of the speech from START to END: equal ones every period, and a last one up to the end."""
    windows = []
    while end - start > options.window + options.max_rest + EPSILON:
        windows.append((start, start + options.window))
        start += options.period
    return [*windows, (start, end)]


def joined(spans: Sequence[tuple[float, float]], labels: Sequence[T]) -> list[tuple[float, float, T]]:
    """(start, end, label) of labelled windows by time, as Kaldi's make_rttm.py.

    The overlap of two is cut in its middle. Windows that touch and have the same label are one.
    """
    edges = [list(span) for span in spans]
    for this, after in pairwise(edges):
        if this[1] > after[0]:
            this[1] = after[0] = (this[1] + after[0]) / 2
    made: list[tuple[float, float, T]] = []
    for (start, end), label in zip(edges, labels, strict=True):
        if made and made[-1][2] == label and start - made[-1][1] <= EPSILON:
            made[-1] = made[-1][0], end, label
        elif end > start:
            made.append((start, end, label))
    return made


def union(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """SPANS by time, those that touch or overlap as one."""
    joined: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((start, end))
    return joined
