"""Plots of the audit of a corpus: durations, levels, clipping, speakers, and the two EERs of the channel check."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from numpy.typing import NDArray

from timbre.audit.audited import AuditedSet
from timbre.audit.channel_leak import Leak
from timbre.evaluation.plots import COLORS, GREY, STYLE, plot_det, save


def plot_audit(sets: Sequence[AuditedSet], leaks: Sequence[Leak], folder: Path) -> list[str]:
    """Writes durations.png, levels.png, speakers.png, and of LEAKS channel.png and det_<list>.png; their names."""
    names = ["durations.png", "levels.png", "speakers.png"]
    with mpl.rc_context(STYLE):
        height = 0.9 + 0.9 * len(sets)
        figure = Figure(figsize=(7.2, height), layout="constrained")
        _histograms(figure, sets, [part.table.seconds for part in sets], "seconds", log=True)
        save(figure, [folder / names[0]])

        figure = Figure(figsize=(9.6, max(height, 3.2)), layout="constrained")
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.3, 1))[0]
        _histograms(left, sets, [part.table.level for part in sets], "level (dBFS)")
        _clipping(right.add_subplot(), sets)
        save(figure, [folder / names[1]])

        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        _speakers(figure.add_subplot(), sets)
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
        save(figure, [folder / names[2]])
        if leaks:
            names.append("channel.png")
            save(_channel(leaks), [folder / names[-1]])
    for leak in leaks:
        names.append(f"det_{leak.name}.png")
        plot_det({"speech": leak.speech.curve, "non-speech": leak.nonspeech.curve}, [folder / names[-1]], leak.name)
    return names


def _histograms(
    figure: FigureBase, sets: Sequence[AuditedSet], values: Sequence[NDArray[Any]], label: str, log: bool = False
) -> None:
    """A panel for each set, of its VALUES (N,) where they could be read."""
    values = [part[audited.table.readable] for part, audited in zip(values, sets, strict=True)]
    everything = np.concatenate(values)
    low, high = (float(everything.min()), float(everything.max())) if len(everything) else (1.0, 1.0)
    edges = (
        np.geomspace(max(low, 1e-3) * 0.98, max(high, 1e-3) * 1.02, 81) if log else np.linspace(low - 1, high + 1, 81)
    )
    panels = figure.subplots(len(sets), 1, sharex=True, squeeze=False)[:, 0]
    for index, (axes, audited, part) in enumerate(zip(panels, sets, values, strict=True)):
        share = np.histogram(part, edges)[0] * (100 / max(len(part), 1))
        color = COLORS[index % len(COLORS)]
        axes.stairs(share, edges, fill=True, color=color, alpha=0.3)
        axes.stairs(share, edges, color=color, linewidth=1.0)
        axes.set_title(f"{audited.name} ({len(part):,})", fontsize=8, loc="left", color=color)
        axes.set_ylim(bottom=0)
    if log:
        panels[-1].set_xscale("log")
        panels[-1].xaxis.set_major_formatter("{x:g}")
    panels[-1].set_xlabel(label)
    figure.supylabel("utterances (%)", fontsize=9)


def _clipping(axes: Axes, sets: Sequence[AuditedSet]) -> None:
    """How many utterances have at least so much of their samples clipped."""
    for index, part in enumerate(sets):
        clipped = np.sort(100 * part.table.clipped[part.table.clipped > 0])[::-1]
        if len(clipped):
            share = 100 * np.arange(1, len(clipped) + 1) / len(part.table)
            axes.step(clipped, share, where="pre", color=COLORS[index % len(COLORS)], linewidth=1.2, label=part.name)
    if axes.lines:
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
        axes.legend(frameon=False, fontsize=8)
    else:
        axes.text(0.5, 0.5, "nothing is clipped", ha="center", va="center", transform=axes.transAxes, color=GREY)
    axes.set_title("Clipping", fontsize=10)
    axes.set(xlabel="samples clipped (%), at least", ylabel="utterances (%)")


def _speakers(axes: Axes, sets: Sequence[AuditedSet]) -> None:
    """Utterances of each speaker, the most first."""
    for index, part in enumerate(sets):
        counts = np.sort(part.utts_of())[::-1]
        marker = "." if len(counts) < 100 else ""
        axes.plot(
            np.arange(1, len(counts) + 1),
            counts,
            color=COLORS[index % len(COLORS)],
            linewidth=1.2,
            marker=marker,
            label=f"{part.name} ({len(counts):,} speakers)",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_title("Utterances of each speaker", fontsize=10)
    axes.set(xlabel="speaker, by number of utterances", ylabel="utterances")


def _channel(leaks: Sequence[Leak]) -> Figure:
    """Both EERs of each list with their intervals, and chance."""
    figure = Figure(figsize=(7.2, 1.4 + 0.45 * len(leaks)), layout="constrained")
    axes = figure.add_subplot()
    for index, leak in enumerate(leaks):
        for shift, kind, result, color in (
            (-0.12, "frames without speech", leak.nonspeech, COLORS[1]),
            (0.12, "frames of speech", leak.speech, COLORS[0]),
        ):
            low, high = result.record.eer_ci or (result.record.eer, result.record.eer)
            axes.plot([100 * low, 100 * high], [index + shift] * 2, color=color, linewidth=1.5)
            label = kind if index == 0 else None
            axes.plot(100 * result.record.eer, index + shift, "o", color=color, markersize=5, label=label)
    axes.axvline(50, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), label="chance")
    axes.set_yticks(range(len(leaks)), [leak.name for leak in leaks])
    axes.set(xlabel="EER (%), with 95 % interval over speakers", ylim=(len(leaks) - 0.5, -0.5))
    axes.set_xlim(left=0)
    axes.set_title("What tells the speakers apart", fontsize=10)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure
