#!/usr/bin/env python3
"""What only a GPU can show; prove.sh calls it. Writes prove.json and PROVE.md, and fails where it is not the CPU's."""

import argparse
import json
import platform
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import same_numbers
import speeds
import torch
from gpu_corpus import ROOT, Setting, write_corpus

Found = dict[str, Any]
PARTS = (
    "peak",
    "features",
    "augmentation",
    "embeddings",
    "resume",
    "one_rank",
    "precision",
    "waiting",
    "modes",
    "networks",
)


def run(setting: Setting, names: list[str], end: float) -> dict[str, Found]:
    """What each of the parts NAMES found, or why there is nothing."""
    if {"augmentation", "resume", "waiting", "modes"} & {*names}:
        write_corpus(setting)
    files = sorted(path.stem for path in (ROOT / "conf" / "network").glob("*.yaml"))
    results: dict[str, Found] = {}
    for name in names:
        began = time.monotonic()
        if began > end:
            results[name] = {"no time": "for it"}
            continue
        if name == "networks":
            peaks = (results.get("peak") or speeds.peak(setting))["TFLOP/s"]
            chosen = list(speeds.SMALL) if setting.small else files
            work = partial(speeds.networks, setting, chosen, peaks, end)
        else:
            work = partial(getattr(speeds, name, None) or getattr(same_numbers, name), setting)
        try:
            found = work()
        except Exception as error:  # the other parts shall be seen all the same
            found = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
        if "tolerance" in found:
            found["passed"] = found["worst"] <= found["tolerance"]
        results[name] = found | {"seconds": round(time.monotonic() - began, 1)}
        print(f"{name}: {verdict(results[name])}, {results[name]['seconds']} s", file=sys.stderr)
    return results


def verdict(found: Found) -> str:
    """In a word."""
    if "error" in found:
        return f"ERROR {found['error']}"
    if "no time" in found:
        return "no time for it"
    if "passed" not in found:
        return "measured"
    word = "as it should be" if found["passed"] else "NOT AS IT SHOULD BE"
    return f"{word} ({found['worst']:.2g}, {found['tolerance']:g} allowed)"


def page(machine: Found, results: dict[str, Found]) -> str:
    """Markdown: the verdicts, then what was measured."""
    lines = ["# What the device shows", "", ", ".join(f"{key} {value}" for key, value in machine.items()), ""]
    lines += ["| part | result | seconds |", "|---|---|---|"]
    lines += [f"| {name} | {verdict(found)} | {found.get('seconds', '')} |" for name, found in results.items()]
    for name, found in results.items():
        rest = {
            key: value
            for key, value in found.items()
            if key not in ("worst", "tolerance", "passed", "seconds", "error")
        }
        table = rest.pop("networks", {})
        if own := rest.pop("page", ""):  # of compare_precision.py, in place of what it is of
            lines += ["", f"## {name}", *own.splitlines()[1:]]
            continue
        if rest or table:
            lines += ["", f"## {name}", ""]
        lines += [f"- {key}: {_text(value)}" for key, value in rest.items()]
        for number, (network, row) in enumerate(table.items()):
            if not number:
                lines += ["", "| network | |", "|---|---|"]
            lines.append(f"| {network} | {_text(row)} |")
    return "\n".join(lines) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_text(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "exp" / "gpu", help="folder for prove.json and PROVE.md")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="seconds on a CPU: that it works, not how fast it is")
    parser.add_argument("--minutes", type=float, default=8.5, help="no part or network begins after that")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)  # what is to be killed
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    end = time.monotonic() + 60 * options.minutes
    only = {*options.only.split(",")}
    names = [name for name in PARTS if name in only]  # in this order: what is measured first may be needed
    if unknown := only - {*PARTS}:
        parser.error(f"no part {', '.join(sorted(unknown))}, only {', '.join(PARTS)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        print("prove.py: no GPU that torch can use; --device cpu --small shows that this works", file=sys.stderr)
        return 2
    device = torch.device("cuda", 0) if options.device == "cuda" else torch.device("cpu")
    if options.train:
        same_numbers.train_into(Setting(device, options.small, options.folder), options.train)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        results = run(Setting(device, options.small, Path(folder)), names, end)
    machine = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {platform.machine()}",
        "torch": torch.__version__,
        "small": options.small,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine, "parts": results}
    (options.out / "prove.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (options.out / "PROVE.md").write_text(page(machine, results), encoding="utf-8")
    return int(any("error" in found or not found.get("passed", True) for found in results.values()))


if __name__ == "__main__":
    sys.exit(main())
