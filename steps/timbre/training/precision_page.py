"""The table of a network trained in several numerics: PRECISION.md, precision.json. Called by compare_precision.py."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from timbre.evaluation.results import percent, write_json
from timbre.evaluation.results_page import table
from timbre.training.precision_modes import Machine
from timbre.training.train_log import read_log
from timbre.utils.escape import escaped
from timbre.utils.files import atomic_write

Figures = Mapping[str, Any]  # of a mode, as run_modes gives them
Curve = Mapping[int, float]  # step -> loss

COLUMNS = (
    *("mode", "min an epoch", "speed-up", "peak memory (GB)", "times the first's", "start (s)", "train accuracy (%)"),
    *("valid accuracy (%)", "train loss", "valid loss", "EER (%)", "threshold", "minDCF 0.01", "minDCF 0.001"),
    "largest difference of loss (step)",
)
NONE = "-"


def read_curves(out_dir: Path, found: Mapping[str, Figures]) -> dict[str, Curve]:
    """The losses of the modes FOUND that were trained, by step."""
    trained = [name for name, figures in found.items() if "failed" not in figures]
    logs = {name: read_log(out_dir / name / "log.jsonl") for name in trained}
    return {name: {int(line["step"]): float(line["loss"]) for line in lines} for name, lines in logs.items()}


def largest_difference(one: Curve, other: Curve) -> tuple[float, int]:
    """Of the losses at the steps that both have, and the step; NaN where there is none."""
    differences = [(abs(one[step] - other[step]), step) for step in sorted(one.keys() & other.keys())]
    known = [pair for pair in differences if not math.isnan(pair[0])]
    return max(known, key=lambda pair: pair[0], default=(math.nan, 0))


def compared(found: Mapping[str, Figures], curves: Mapping[str, Curve]) -> dict[str, dict[str, Any]]:
    """FOUND, and beside the figures of each mode speed_up, memory_ratio and loss_difference to the first trained."""
    first = next(iter(curves), "")
    rows: dict[str, dict[str, Any]] = {}
    for name, figures in found.items():
        rows[name] = dict(figures)
        if name not in curves:
            continue
        reference = found[first]
        difference, step = largest_difference(curves[first], curves[name])
        rows[name] |= {
            "speed_up": reference["seconds_per_epoch"] / figures["seconds_per_epoch"],
            "memory_ratio": figures["peak_bytes"] / reference["peak_bytes"],
            "loss_difference": None if math.isnan(difference) else difference,
            "loss_difference_step": step,
        }
    return rows


def markdown(title: str, machine: Machine, rows: Mapping[str, Figures], lacking: Mapping[str, str]) -> str:
    """The page: what was trained where, the table of ROWS, and what is not in it and why."""
    lines = [f"# {escaped(title)}", "", f"{escaped(machine.name)}; same seed and same batches in each mode.", ""]
    lines += [table(COLUMNS, [_row(name, figures) for name, figures in rows.items()]), ""]
    lines += [f"Failed: {name}: {escaped(row['failed'])}" for name, row in rows.items() if "failed" in row]
    if lacking:
        lines.append(f"Left out: {'; '.join(f'{name} ({escaped(reason)})' for name, reason in lacking.items())}")
    lines += [""] * bool(lines[-1])
    if machine.device == "cuda":
        memory = "what torch has allocated on the GPU"
    else:
        before = max((row.get("peak_bytes_before", 0) for row in rows.values()), default=0)
        memory = f"that of the process, {_gigabytes(before)} GB of it before training"
        memory += "" if machine.bf16 else "; this CPU does not compute in bfloat16 itself, so bf16 cannot be fast"
    lines.append(
        "Minutes an epoch are the median over the log, without the start; start is what the first steps took beyond "
        "that: compiling, searching for kernels. Speed-up, memory and losses are compared with the first mode. "
        "Training figures are means of the last epoch, the others are of the final network, computed as it was "
        f"trained. Peak memory is {memory}."
    )
    return "\n".join(lines) + "\n"


def write_page(
    out_dir: Path, title: str, machine: Machine, rows: Mapping[str, Figures], lacking: Mapping[str, str]
) -> str:
    """Writes PRECISION.md and precision.json into OUT_DIR; the text of the former."""
    text = markdown(title, machine, rows, lacking)
    write_json(out_dir / "precision.json", {"device": machine.name, "modes": rows, "left_out": lacking})
    with atomic_write(out_dir / "PRECISION.md") as file:
        file.write(text)
    return text


def _row(name: str, row: Figures) -> list[str]:
    if "failed" in row:
        return [name, "failed", *[NONE] * (len(COLUMNS) - 2)]
    difference = _number(row.get("loss_difference"), ".2g")
    return [
        name,
        f"{row['seconds_per_epoch'] / 60:.3g}",
        f"{row['speed_up']:.2f}",
        _gigabytes(row["peak_bytes"]),
        f"{row['memory_ratio']:.2f}",
        f"{row['start_seconds']:.1f}",
        *(NONE if row.get(key) is None else percent(row[key]) for key in ("accuracy", "valid_accuracy")),
        *(_number(row.get(key), ".3f") for key in ("loss", "valid_loss")),
        NONE if row.get("eer") is None else percent(row["eer"]),
        *(_number(row.get(key), ".3f") for key in ("eer_threshold", "min_dcf.0.01", "min_dcf.0.001")),
        difference
        if difference == NONE or not row["loss_difference"]
        else f"{difference} ({row['loss_difference_step']})",
    ]


def _number(value: float | None, form: str) -> str:
    return NONE if value is None or math.isnan(value) else f"{value:{form}}"


def _gigabytes(number: int) -> str:
    return f"{number / 1e9:.3g}"
