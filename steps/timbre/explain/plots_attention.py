"""The picture of attentions over the spectrogram and the phones of an utterance. Called by plot_attention.py."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from timbre.datadir.phones import Phone
from timbre.evaluation.plots import COLORS, GREY, STYLE, save
from timbre.explain.attention import Attentions, Floats, bin_seconds
from timbre.explain.phoneme_classes import SILENCE, phone_class
from timbre.explain.plots_phonemes import CLASS_COLORS


def plot_attentions(
    found: Attentions,
    layers: Sequence[str],
    feats: Floats,
    seconds: Floats,
    phones: Sequence[Phone],
    paths: Iterable[Path],
    title: str,
) -> None:
    """Writes the features, the phones, and below them a panel for each of LAYERS and of the poolings of FOUND.

    Args:
        found: of the utterance
        layers: of found.kernels and found.branches, those to show
        feats: (N, F) what the network saw
        seconds: (N,) where
        phones: of the utterance; empty: without
        paths: files to write (PNG, SVG or PDF by suffix)
        title: above it
    """
    timed = [*[name for name in layers if name in found.kernels], *found.poolings]
    still = [name for name in layers if name in found.branches]
    heights = [2.0, *([0.35] if phones else []), *[1.2] * len(timed), *([1.6] if still else [])]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 0.6 + sum(heights) * 1.15), layout="constrained")
        panels = list(figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
        top = panels.pop(0)
        shift = float(np.median(np.diff(seconds))) if len(seconds) > 1 else 0.01
        edges = np.append(seconds - shift / 2, seconds[-1] + shift / 2)
        top.pcolormesh(edges, np.arange(feats.shape[1] + 1), feats.T, cmap="magma", rasterized=True)
        top.set(ylabel="feature", title=title)
        over_time = [top]
        if phones:
            over_time.append(axes := panels.pop(0))
            _phones(axes, phones)
        for name in timed:
            over_time.append(axes := panels.pop(0))
            if name in found.kernels:
                weights = found.kernels[name]
                axes.stackplot(
                    bin_seconds(len(weights), seconds),
                    weights.T,
                    colors=[COLORS[k % 6] for k in range(weights.shape[1])],
                    labels=[f"kernel {k + 1}" for k in range(weights.shape[1])],
                )
                axes.set(ylim=(0, 1), ylabel="weight")
                axes.set_title(f"{name}: share of each basis kernel", fontsize=9, loc="left")
                axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=7)
            else:
                _pooling(axes, name, found.poolings[name], seconds)
        for axes in over_time:
            axes.set_xlim(edges[0], edges[-1])
            axes.tick_params(labelbottom=axes is over_time[-1])
        over_time[-1].set_xlabel("seconds")
        if still:
            _branches(panels.pop(0), {name: found.branches[name] for name in still})
        save(figure, paths)


def _phones(axes: Axes, phones: Sequence[Phone]) -> None:
    for phone in phones:
        kind = phone_class(phone.name)
        if kind != SILENCE:
            axes.axvspan(phone.start, phone.end, color=CLASS_COLORS[kind], alpha=0.55, linewidth=0)
            axes.text(
                (phone.start + phone.end) / 2, 0.5, phone.name, ha="center", va="center", fontsize=6, clip_on=True
            )
    axes.set(yticks=[], ylim=(0, 1))
    axes.set_ylabel("phone", rotation=0, ha="right", va="center")


def _pooling(axes: Axes, name: str, weights: Floats, seconds: Floats) -> None:
    """Weights (N, T) times T, so that 1 is what a plain mean has: their mean, and where half of several lie."""
    relative = weights * weights.shape[1]
    at = bin_seconds(weights.shape[1], seconds)
    if len(relative) > 1:
        low, high = np.quantile(relative, [0.25, 0.75], axis=0)
        axes.fill_between(at, low, high, color=COLORS[0], alpha=0.25, linewidth=0, label="middle half")
    axes.plot(at, relative.mean(0), color=COLORS[0], linewidth=1.2, label="mean" if len(relative) > 1 else "weight")
    axes.axhline(1, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    count = f", {len(relative):,} attentions" if len(relative) > 1 else ""
    axes.set_title(f"{name}: weight of a frame, 1: as in a plain mean{count}", fontsize=9, loc="left")
    axes.set(ylim=(0, None), ylabel="weight")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=7)


def _branches(axes: Axes, branches: dict[str, Floats]) -> None:
    """The share of each branch by layer: the mean over channels."""
    shares = np.array([weights.mean(1) for weights in branches.values()])
    left = np.zeros(len(shares))
    for number in range(shares.shape[1]):
        axes.barh(range(len(shares)), shares[:, number], left=left, color=COLORS[number], label=f"branch {number + 1}")
        left += shares[:, number]
    axes.set_yticks(range(len(shares)), list(branches))
    axes.set(xlim=(0, 1), xlabel="share, mean over channels")
    axes.invert_yaxis()
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=7)
