"""The picture of frames by speaker and by phoneme class. Called by plot_phonemes.py."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from timbre.evaluation.plots import COLORS, STYLE, save
from timbre.explain.phoneme_classes import CLASSES
from timbre.explain.phoneme_frames import Floats, LabelledFrames, Strings

CLASS_COLORS = dict(zip(CLASSES, COLORS, strict=True))
_MARKERS = ("o", "^", "s", "D")


def plot_phoneme_frames(
    systems: Mapping[str, tuple[LabelledFrames, Floats]], notes: Mapping[str, Mapping[str, str]], paths: Iterable[Path]
) -> None:
    """Writes a row of two maps for each of SYSTEMS, its frames at their places (N, 2): by speaker, by phoneme class.

    Args:
        systems: by name
        notes: of each, what stands below its maps: of "speaker", of "phoneme class"
        paths: files to write (PNG, SVG or PDF by suffix)
    """
    speakers = sorted({str(name) for frames, _ in systems.values() for name in frames.speakers})
    colors = {name: COLORS[place % 6] for place, name in enumerate(speakers)}
    markers = {name: _MARKERS[place % 4] for place, name in enumerate(speakers)}
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9.2, 0.5 + 3.9 * len(systems)), layout="constrained")
        panels = figure.subplots(len(systems), 2, squeeze=False)
        for row, (name, (frames, places)) in zip(panels, systems.items(), strict=True):
            _scatter(row[0], places, frames.speakers, colors, markers)
            _scatter(row[1], places, frames.classes, CLASS_COLORS, dict.fromkeys(CLASSES, "o"))
            for axes, what in zip(row, ("speaker", "phoneme class"), strict=True):
                axes.set_title(f"{name}, by {what}", fontsize=10)
                axes.set_xlabel(notes[name].get(what, "too few frames"), fontsize=8, color="#404040")
        for column, title in ((0, "speaker"), (1, "phoneme class")):
            handles = {
                word: handle
                for axes in panels[:, column]
                for handle, word in zip(*axes.get_legend_handles_labels(), strict=True)
            }
            order = [word for word in (speakers, CLASSES)[column] if word in handles]
            panels[0, column].legend(
                [handles[word] for word in order],
                order,
                loc="lower left",
                bbox_to_anchor=(0, 1.08),
                ncols=3,
                frameon=False,
                fontsize=8,
                title=title,
                title_fontsize=8,
                alignment="left",
                markerscale=2.0,
            )
        save(figure, paths)


def _scatter(
    axes: Axes, places: Floats, labels: Strings, colors: Mapping[str, str], markers: Mapping[str, str]
) -> None:
    size = float(np.clip(6000 / len(places), 3, 24))
    for name, color in colors.items():
        rows = labels == name
        if rows.any():
            axes.scatter(
                places[rows, 0],
                places[rows, 1],
                s=size,
                color=color,
                marker=markers[name],
                alpha=0.7,
                linewidths=0,
                label=name,
                rasterized=True,
            )
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    for spine in axes.spines.values():
        spine.set(visible=True, color="#d0d0d0")
