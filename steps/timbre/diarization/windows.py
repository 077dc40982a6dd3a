"""Speech of a recording cut into overlapping windows, and labelled windows put together as turns again.

Called by make_windows.py, and by cluster_windows.py and resegment_vbx.py when they write RTTM.
"""

from collections.abc import Mapping

from timbre.datadir.datadir import Segment
from timbre.datadir.rttm import Spans, Turn, Turns
from timbre.runtime.spans import WindowOptions, cut, joined
from timbre.utils.errors import DataError


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
        spans = [(segments[name].start, segments[name].end) for name in names]
        turns[recording] = [Turn(*one) for one in joined(spans, [labels[name] for name in names])]
    return turns
