"""Who speaks when as a picture, the truth above what was found. Called by score_der.py."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from timbre.datadir.rttm import Turn, Turns
from timbre.evaluation.plots import COLORS, STYLE, save
from timbre.utils.errors import DataError

_EXTRA = "#b0b0b0"  # of speakers that are found and match none
_WIDTH = 11.0  # inches


def plot_timelines(
    reference: Turns, hypothesis: Turns, out_dir: Path, recordings: Sequence[str] = (), path: Path | None = None
) -> None:
    """Writes OUT_DIR/<recording>.png and .svg of RECORDINGS, or of all of REFERENCE, which was read from PATH.

    Raises:
        DataError: REFERENCE does not have one of RECORDINGS
    """
    for recording in recordings:
        if recording not in reference:
            raise DataError(f"no recording '{recording}' in it", path)
    for recording in recordings or reference:
        name = recording.replace("/", "%2F")
        paths = [out_dir / f"{name}{suffix}" for suffix in (".png", ".svg")]
        plot_timeline(reference[recording], hypothesis.get(recording, []), paths, recording)


def plot_timeline(
    reference: Sequence[Turn], hypothesis: Sequence[Turn], paths: Iterable[Path], title: str = ""
) -> None:
    """Writes the turns of one recording into each of PATHS (PNG, SVG or PDF by suffix): a line for each speaker.

    Speakers of HYPOTHESIS have the colour of the one of REFERENCE that they share most time with, in the mapping that
    has most time in common; those without a partner are grey, and hatched.
    """
    partners = match(reference, hypothesis)
    known = _speakers(reference)
    colors = {speaker: _color(place) for place, speaker in enumerate(known)}
    found = sorted(
        _speakers(hypothesis), key=lambda name: known.index(partners[name]) if name in partners else len(known)
    )
    rows = [(speaker, colors[speaker], "", reference) for speaker in known]
    rows += [
        (name, colors[partners[name]] if name in partners else _EXTRA, "" if name in partners else "////", hypothesis)
        for name in found
    ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, 1.2 + 0.24 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        for row, (speaker, color, hatch, turns) in enumerate(rows):
            bars = [(turn.start, turn.end - turn.start) for turn in turns if turn.speaker == speaker]
            axes.broken_barh(bars, (row - 0.4, 0.8), facecolor=color, hatch=hatch, edgecolor="none")
        axes.axhline(len(known) - 0.5, color="#303030", linewidth=1)
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        for place, text in ((0.5 * (len(known) - 1), "reference"), (len(known) + 0.5 * (len(found) - 1), "found")):
            axes.text(1.005, place, text, transform=axes.get_yaxis_transform(), rotation=270, va="center")
        end = max(turn.end for turn in [*reference, *hypothesis])
        axes.set(xlabel="time (s)", xlim=(0, end), ylim=(len(rows) - 0.4, -0.6))
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_title(title, fontsize=10)
        save(figure, paths)


def match(reference: Sequence[Turn], hypothesis: Sequence[Turn]) -> Mapping[str, str]:
    """Speaker that was found -> speaker of the reference, so that they have as much time in common as can be."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    known, found = _speakers(reference), _speakers(hypothesis)
    common = np.zeros((len(found), len(known)))
    for one in hypothesis:
        for other in reference:
            shared = min(one.end, other.end) - max(one.start, other.start)
            if shared > 0:
                common[found.index(one.speaker), known.index(other.speaker)] += shared
    rows, columns = linear_sum_assignment(-common)
    return {found[row]: known[column] for row, column in zip(rows, columns, strict=True) if common[row, column] > 0}


def _speakers(turns: Sequence[Turn]) -> list[str]:
    """In the order in which they begin to speak."""
    return list(dict.fromkeys(turn.speaker for turn in sorted(turns)))


def _color(place: int) -> str:
    if place < len(COLORS):
        return COLORS[place]
    return mpl.colors.to_hex(mpl.colormaps["tab20b"](place % 20))
