#!/usr/bin/env python3
"""Training with a teacher, and on segments, beside training without: examples per second, and their ratio.

Prints one JSON line. The examples and the loop of bench_train.py, `--network` (ecapa128) from a teacher that is the
same network; the limit of a step with a teacher is one step and, of the teacher, a forward pass: 4/3 of the work where
a backward pass is twice a forward one. Each is measured `--rounds` times in turn, and the best of each counts.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from bench_train import ROOT, measure, write_random_egs

from timbre.nnet.options import SegmentOptions
from timbre.training.options import TeacherOptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="ecapa128", help="a name in conf/network")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    network = ROOT / "conf" / "network" / f"{arguments.network}.yaml"
    with tempfile.TemporaryDirectory() as folder:
        egs, teacher = write_random_egs(Path(folder)), Path(folder) / "teacher"
        measure(egs, teacher, network, 1, arguments.device)
        cases: dict[str, dict[str, Any]] = {
            "plain": {},
            "teacher": {"teacher": TeacherOptions(teacher)},
            "teacher_of_twice_the_frames": {"teacher": TeacherOptions(teacher, student_frames=100)},
            "plain_of_half_the_frames": {"min_frames": 100, "max_frames": 100},
            "segments": {"segments": SegmentOptions(100, heads=2)},
            "segments_maps": {"segments": SegmentOptions(100, kind="maps", heads=2)},
        }
        rates = dict.fromkeys(cases, 0.0)
        for number in range(arguments.rounds):
            for name, options in cases.items():
                model = Path(folder) / f"{name}{number}"
                figures = measure(egs, model, network, arguments.steps, arguments.device, **options)
                rates[name] = max(rates[name], figures["examples_per_s"])
    ratios = {name: round(rates["plain"] / rate, 2) for name, rate in rates.items()}
    result = {"bench": "teacher", "network": arguments.network, "threads": torch.get_num_threads()}
    print(json.dumps(result | {"examples_per_s": rates, "time_to_plain": ratios}))


if __name__ == "__main__":
    main()
