"""Speech of a recording cut into overlapping windows, and labelled windows put together as turns again.

Called by make_windows.py, and by cluster_windows.py and resegment_vbx.py when they write RTTM.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.datadir import Segment
from timbre.datadir.rttm import Spans, Turn, Turns, union
from timbre.utils.errors import DataError

_EPSILON = 1e-6  # seconds; sums of 0.75 are exact, those of other periods are not


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
    return [(start, end) for start, end in kept if end - start >= options.min_segment - _EPSILON]


def cut(start: float, end: float, options: WindowOptions) -> list[tuple[float, float]]:
    """Windows of the speech from START to END: equal ones every period, and a last one up to the end."""
    windows = []
    while end - start > options.window + options.max_rest + _EPSILON:
        windows.append((start, start + options.window))
        start += options.period
    return [*windows, (start, end)]


def windows_of(speech: Spans, options: WindowOptions) -> dict[str, Segment]:
    """The windows of all stretches of SPEECH, by name: recording, and beginning and end in hundredths of a second.

    Raises:
        DataError: windows so close together that two have the same name
    """
    windows: dict[str, Segment] = {}
    for recording, spans in speech.items():
        for start, end in spans:
            for begin, stop in cut(start, end, options):
                name = f"{recording}-{round(100 * begin):08d}-{round(100 * stop):08d}"
                if name in windows:
                    raise DataError(f"two windows would be named '{name}': choose a longer period")
                windows[name] = Segment(recording, round(begin, 4), round(stop, 4))
    return windows


def by_recording(segments: Mapping[str, Segment]) -> dict[str, list[str]]:
    """Recording -> its windows by time."""
    lists: dict[str, list[str]] = {}
    for name, segment in sorted(segments.items(), key=lambda item: (item[1].start, item[1].end)):
        lists.setdefault(segment.recording, []).append(name)
    return dict(sorted(lists.items()))


def turns_of(segments: Mapping[str, Segment], labels: Mapping[str, str]) -> Turns:
    """The turns of labelled windows, as Kaldi's make_rttm.py: the overlap of two windows is cut in its middle.

    Windows that touch and have the same speaker are one turn.

    Args:
        segments: windows
        labels: window -> speaker
    """
    turns: Turns = {}
    for recording, names in by_recording(segments).items():
        spans = [[segments[name].start, segments[name].end] for name in names]
        for this, after in pairwise(spans):
            if this[1] > after[0]:
                this[1] = after[0] = (this[1] + after[0]) / 2
        made: list[Turn] = []
        for name, (start, end) in zip(names, spans, strict=True):
            if made and made[-1].speaker == labels[name] and start - made[-1].end <= _EPSILON:
                made[-1] = Turn(made[-1].start, end, labels[name])
            elif end > start:
                made.append(Turn(start, end, labels[name]))
        turns[recording] = made
    return turns
