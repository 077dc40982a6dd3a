"""Pictures of maps over spectrograms. Called by map_files.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from timbre.evaluation.plots import COLORS, STYLE, save
from timbre.explain.explained_score import Part
from timbre.explain.layer_shapes import Map

_FOR, _AGAINST = COLORS[1], COLORS[0]
_MOST = 99.5  # percentile of the values that has the full colour: single ones may be many times larger


@dataclass(frozen=True)
class Panel:
    """A title, an utterance, and its map (num_frames, num_bins)."""

    title: str
    part: Part
    values: Map


def plot_panels(panels: Sequence[Panel], path: Path, title: str, shift: float, words: Sequence[str]) -> None:
    """Writes PATH, a picture: of each utterance the spectrogram, and the same with the map on it, beside each other.

    Values above 0 are orange, those below 0 blue, by the same scale in all utterances. A line below tells the frames
    that are voiced.

    Args:
        panels: the utterances
        path: PNG
        title: above all
        shift: seconds between frames
        words: what values above 0 stand for, and, if there may be any, those below 0
    """
    seen = [np.abs(panel.values[panel.part.seen]).ravel() for panel in panels]
    most = float(np.percentile(np.concatenate(seen), _MOST)) or float(max(part.max() for part in seen)) or 1.0
    lengths = [max(len(panel.values), 100) for panel in panels]  # a second at least is that wide
    with mpl.rc_context(STYLE):
        width = float(np.clip(0.02 * sum(lengths), 7, 10))
        figure = Figure(figsize=(width, 4.8), layout="constrained")
        grid = figure.add_gridspec(3, len(panels), width_ratios=lengths, height_ratios=(1, 1, 0.07))
        for column, panel in enumerate(panels):
            upper, lower, strip = (figure.add_subplot(grid[row, column]) for row in range(3))
            for axes, darkness in ((upper, 1.0), (lower, 0.5)):
                _draw_spectrogram(axes, panel.part.feats, shift, darkness)
                axes.tick_params(labelbottom=False)
            lower.imshow(_colors(panel.values, most).swapaxes(0, 1), **_placed(panel.values, shift))
            upper.set_title(_short(panel.title, 60 * lengths[column] // sum(lengths) + 14), fontsize=9)
            if column == 0:
                upper.set_ylabel("bin")
                lower.set_ylabel("bin, with the map")
            voiced = panel.part.seen if panel.part.voiced is None else panel.part.voiced
            shown = np.where(voiced, 1.0, np.nan)[:, None]
            strip.imshow(shown.T, **_placed(shown, shift), cmap=ListedColormap([COLORS[2]]))
            strip.set(yticks=[], xlabel="seconds")
            strip.set_xlim(lower.get_xlim())
        named = [*zip(words, (_FOR, _AGAINST), strict=False), ("voiced", COLORS[2])]
        handles = [Patch(color=color, label=word) for word, color in named]
        figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
        figure.suptitle(title, fontsize=9, wrap=True)
        save(figure, [path])


def _draw_spectrogram(axes: Axes, feats: Map, shift: float, darkness: float) -> None:
    low, high = np.percentile(feats, [2, 99.5])
    most = low + (high - low) / darkness + 1e-6
    axes.imshow(feats.T, **_placed(feats, shift), cmap="gray_r", vmin=float(low), vmax=float(most))
    axes.grid(False)


def _placed(values: np.ndarray, shift: float) -> dict[str, Any]:
    """VALUES (num_frames, ...) with time to the right, from 0 s, and the lowest bin at the bottom."""
    extent = (0, len(values) * shift, -0.5, values.shape[1] - 0.5)
    return {"origin": "lower", "aspect": "auto", "interpolation": "nearest", "extent": extent}


def _colors(values: Map, most: float) -> np.ndarray:
    """(num_frames, num_bins, 4): the colour of what speaks for or against, as opaque as it is large, up to MOST."""
    colors = np.empty((*values.shape, 4))
    for rows, color in ((values >= 0, _FOR), (values < 0, _AGAINST)):
        colors[rows, :3] = to_rgb(color)
    colors[..., 3] = np.clip(np.abs(values) / most, 0, 1)
    return colors


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 3]}..."
