"""The picture of a map of embeddings. Called by plot_embeddings.py."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from timbre.evaluation.plots import COLORS, GREY, STYLE, save
from timbre.explain.embedding_map import Floats, ranked

_COLORS = COLORS[:6]  # without black
_MARKERS = ("o", "^", "s", "D")
MOST_LABELS = len(_COLORS) * len(_MARKERS)


def plot_map(
    places: Floats, labels: Sequence[str], paths: Iterable[Path], title: str, note: str, most: int = MOST_LABELS
) -> None:
    """Writes utterances at PLACES (N, 2) by label into PATHS (PNG, SVG or PDF by suffix).

    The MOST labels with most utterances have a colour and a marker of their own, which colour-blind eyes tell apart
    too, and their count in the legend; the others are small and grey.

    Args:
        places: where the utterances are
        labels: of each, its label; "" for all is a map without labels
        paths: files to write
        title: above the map
        note: below it
        most: labels in the legend, at most MOST_LABELS
    """
    counts, names = Counter(labels), ranked(labels)
    shown, others = names[:most], names[most:]
    column = np.array(labels)
    size = float(np.clip(4000 / len(places), 4, 40))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 5.8), layout="constrained")
        axes = figure.add_subplot()
        pixels = len(places) > 2000  # as drawing they would make a large file
        if others:
            rest = np.isin(column, others)
            count = f"{len(others):,} others ({int(rest.sum()):,})"
            axes.scatter(
                places[rest, 0],
                places[rest, 1],
                s=0.5 * size,
                color="#b4b4b4",
                alpha=0.6,
                linewidths=0,
                label=count,
                rasterized=pixels,
            )
        for place, name in reversed(list(enumerate(shown))):  # rare labels below frequent ones would not be seen less
            axes.scatter(
                places[column == name, 0],
                places[column == name, 1],
                s=size,
                color=GREY if names == [""] else _COLORS[place % len(_COLORS)],
                marker=_MARKERS[place // len(_COLORS)],
                alpha=0.8,
                linewidths=0,
                label=f"{_short(name)} ({counts[name]:,})",
                rasterized=pixels,
            )
        axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
        figure.supxlabel(note, fontsize=8, color="#404040")
        for spine in axes.spines.values():
            spine.set(visible=True, color="#d0d0d0")
        axes.set_title(title, fontsize=10)
        if names != [""]:
            handles, words = axes.get_legend_handles_labels()
            first = int(bool(others))
            order = [*range(len(words) - 1, first - 1, -1), *range(first)]  # as ranked, the others last
            figure.legend(
                [handles[i] for i in order],
                [words[i] for i in order],
                loc="outside right upper",
                frameon=False,
                fontsize=8,
                markerscale=float((36 / size) ** 0.5),
            )
        save(figure, paths)


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:25]}..."
