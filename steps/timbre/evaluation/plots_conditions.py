"""The plot of a breakdown: EER of each group of trials, a dot with its interval. Called by analyze_trials.py."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from timbre.evaluation.breakdown import Group
from timbre.evaluation.plots import COLORS, GREY, STYLE, save


def plot_conditions(groups: Sequence[Group], paths: Iterable[Path], title: str = "") -> None:
    """Writes the EERs of GROUPS, all trials first, in one row each, into each of PATHS."""
    lines: list[Group | str] = []  # a heading, or a group
    for before, group in zip([None, *groups], groups, strict=False):
        if before is not None and group.condition != before.condition:
            lines.append(group.condition)
        lines.append(group)
    with mpl.rc_context(STYLE | {"text.parse_math": False}):
        figure = Figure(figsize=(7.2, 0.9 + 0.22 * len(lines)), layout="constrained")
        axes = figure.add_subplot()
        right = axes.get_yaxis_transform()  # x from 0 to 1 across the frame, y in rows
        ends = [100 * value for group in groups for value in (group.eer_ci or (group.eer,))]
        for row, line in enumerate(lines):
            if isinstance(line, str):
                axes.text(-0.02, row, line, transform=right, ha="right", va="center", fontweight="bold")
                continue
            axes.text(-0.02, row, line.group + " *" * bool(line.borrowed), transform=right, ha="right", va="center")
            counts = f"{line.num_target:,} / {line.num_nontarget:,}"
            axes.text(1.02, row, counts, transform=right, ha="left", va="center", color=GREY, fontsize=8)
            color = COLORS[0] if line.condition else COLORS[6]
            if line.eer_ci:
                axes.plot([100 * end for end in line.eer_ci], [row, row], color=color, linewidth=1.5)
            axes.plot(100 * line.eer, row, "o", color=color, markersize=5, fillstyle="full" if line.eer_ci else "none")
        axes.axvline(100 * groups[0].eer, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
        axes.text(1.02, -1.1, "target / nontarget", transform=right, ha="left", va="center", color=GREY, fontsize=8)
        remark = "; * with all trials of the class that it lacks" if any(group.borrowed for group in groups) else ""
        axes.set(xlabel=f"EER (%), with 95 % interval where speakers are enough{remark}", ylim=(len(lines) - 0.4, -0.6))
        axes.set_xlim(max(0, min(ends) - 0.08 * (max(ends) - min(ends)) - 0.1), None)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x", color="#e4e4e4", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_title(title, fontsize=10, pad=14)
        save(figure, paths)
