"""The last lines of run.sh: the lowest EER on each trial list with its interval, and where to look.

python -m timbre.recipe.last_lines exp/NAME
"""

import sys
from pathlib import Path
from typing import Any

from timbre.utils.documents import read_json
from timbre.utils.errors import DataError

MOST_LISTS = 4


def summarize(exp: Path) -> list[str]:
    """Up to six lines about the run in EXP; none where it has no results.

    A list's line names the system of the lowest EER among those that score whole utterances.
    """
    try:
        records: list[dict[str, Any]] = read_json(exp / "results.json")
        by_list: dict[str, list[dict[str, Any]]] = {}
        for record in records:
            if "@" not in record["backend"]:
                by_list.setdefault(record["trials"], []).append(record)
        names = sorted(by_list, key=lambda name: name.startswith("dev_"))  # speakers held out of training come last
        lines = [_line(name, by_list[name]) for name in names]
    except (DataError, KeyError, TypeError):
        return []
    if len(lines) > MOST_LISTS:
        lines[MOST_LISTS - 1 :] = [f"... and {len(lines) - MOST_LISTS + 1} more lists: {exp}/RESULTS.md"]
    width = max((line.index("  ") for line in lines if "  " in line), default=0)
    lines = [line.replace("  ", " " * (width - line.index("  ") + 2), 1) if "  " in line else line for line in lines]
    lines.append(f"Report: {exp}/report.html    scores: {exp}/scores/    plan: {exp}/plan.tsv")
    if (exp / "decision" / "pack.yaml").is_file():
        lines.append(f"Decide: steps/verify.py ONE.wav OTHER.wav --pack {exp}/decision")
    return lines


def _line(name: str, records: list[dict[str, Any]]) -> str:
    best = min(records, key=lambda record: record["eer"])
    line = f"{name}:  EER {100 * best['eer']:.2f} %"
    if best.get("eer_ci"):
        low, high = best["eer_ci"]
        line += f" [{100 * low:.1f}, {100 * high:.1f}]"
    return f"{line} by {best['backend']}, the lowest of {len(records)} systems"


if __name__ == "__main__":
    print("\n".join(summarize(Path(sys.argv[1]))))
