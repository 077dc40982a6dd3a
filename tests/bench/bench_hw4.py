#!/usr/bin/env python3
"""The four baselines of HW4 (NTU ML 2023) by ./run.sh, on made features in its layout (tests/made_hw4.py).

Prints one JSON line: of each baseline, the accuracy on what training held out with its 95 % interval, and on the test
set, by its submission.csv: the speakers of made features are known; and whether the order is that of the published
accuracies. The corpus and the runs (exp/hw4_made/) stay: what is up to date is passed over.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))

from made_hw4 import Made, make_hw4

ROOT = Path(__file__).resolve().parents[2]
BASELINES = ("simple", "medium", "strong", "boss")


def train_options(steps: int) -> str:
    """conf/train/hw4.yaml with so many STEPS, and what counts them in proportion."""
    lines = (ROOT / "conf" / "train" / "hw4.yaml").read_text().splitlines()
    part = max(1, steps // 35)
    counts = {"num_steps": steps, "warmup_steps": max(1, steps // 70), "valid_interval": part}
    counts["checkpoint_interval"] = part
    return "\n".join(
        f"{name}: {counts[name]}" if (name := line.partition(":")[0]) in counts else line for line in lines
    )


def main() -> None:
    """Makes the corpus unless it is there, runs the study, prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "made_hw4")
    parser.add_argument("--steps", type=int, default=1500, help="updates of each network (70,000 in the source)")
    parser.add_argument("--systems", default=",".join(BASELINES))
    parser.add_argument("--name", default="hw4_made")
    parser.add_argument("--speakers", type=int, default=Made.speakers)
    parser.add_argument("--utts", type=int, default=Made.utts)
    parser.add_argument("--tests", type=int, default=Made.tests)
    parser.add_argument("--shift", type=float, default=Made.shift)
    parser.add_argument("--ridge", type=float, default=Made.ridge)
    parser.add_argument("--junk", type=float, default=Made.junk)
    args = parser.parse_args()
    sizes = {name: getattr(args, name) for name in ("speakers", "utts", "tests", "shift", "ridge", "junk")}
    corpus = args.folder / "_".join(f"{value:g}" for value in sizes.values())
    truth = args.folder / f"{corpus.name}.json"
    if not truth.exists():
        truth.parent.mkdir(parents=True, exist_ok=True)
        truth.write_text(json.dumps(make_hw4(corpus, Made(**sizes))))
    train, partial = args.folder / f"steps{args.steps}.yaml", args.folder / "partial.yaml"
    train.write_text(train_options(args.steps))
    partial.write_text("partial: true\n")
    command = [ROOT / "run.sh", "--config", "conf/study/hw4.conf", "--name", args.name, "--systems", args.systems]
    command += ["--corpus-dir", corpus, "--corpus-conf", partial, "--train-conf", train, "--nj", "1"]
    subprocess.run(list(map(str, command)), cwd=ROOT, stdout=sys.stderr, check=True, env=os.environ)
    speakers, figures = json.loads(truth.read_text()), {}
    for system in args.systems.split(","):
        exp = ROOT / "exp" / args.name / system
        rates = json.loads((exp / "classification" / "train" / "closed_set.json").read_text())
        with (exp / "submission.csv").open(newline="") as file:
            right = [row["Category"] == speakers[row["Id"]] for row in csv.DictReader(file)]
        own = {"held_out": rates["top"]["1"], "ci": rates["ci"], "test": sum(right) / len(right)}
        figures[system] = own | {"published": rates["published"]}
    order = [figures[system]["held_out"] for system in BASELINES if system in figures]
    print(json.dumps({"bench": "hw4", "steps": args.steps, **figures, "order_as_published": order == sorted(order)}))


if __name__ == "__main__":
    main()
