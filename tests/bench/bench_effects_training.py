#!/usr/bin/env python3
"""Training on waveforms, without effects and with those of robust.conf, beside training on features: in turns.

The egs of two runs are needed (`./run.sh ... --stop-stage 3`: of features, and of waveforms). In each of `--rounds`
rounds each kind trains `--steps` updates of 64 examples, ECAPA 128 by default, after others that are not counted: the
first 9,000 examples of effects wait for voices and rooms to be read. Each round is told on standard error; one JSON
line has the examples a second of each, their medians, and the median over the rounds of (features) / (the kind), which
is to be at most 1.3.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from timbre.training.train_log import read_log

ROOT = Path(__file__).resolve().parent.parent.parent
WARM = 140  # updates


def rate(egs: Path, steps: int, network: Path, more: list[str]) -> float:
    """Examples a second over STEPS updates after WARM ones."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, ROOT / "steps" / "train.py", egs, folder, "--network", network]
        command += ["--objective", ROOT / "conf" / "objective" / "aam.yaml"]
        command += ["--train", ROOT / "conf" / "train" / ("waveform_cpu.yaml" if "wave" in egs.name else "cpu.yaml")]
        command += ["--train.num_steps", WARM + steps, "--train.log_interval", WARM, "--train.average", 1]
        command += ["--train.valid_interval", WARM + steps, "--train.checkpoint_interval", WARM + steps, *more]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        rates = [float(line["examples_per_s"]) for line in read_log(Path(folder) / "log.jsonl")[1:]]
    return len(rates) / sum(1 / each for each in rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("features", type=Path, help="egs of features, such as data/CORPUS/fbank80/egs_cpu")
    parser.add_argument("waveforms", type=Path, help="egs of waveforms, such as data/CORPUS/fbank80/egs_waveform_cpu")
    parser.add_argument("speech_dir", help="data dir of the voices of babble: data/CORPUS/train")
    parser.add_argument("rir_dir", help="data dir of rooms: data/CORPUS/rooms_test")
    parser.add_argument("--network", type=Path, default=ROOT / "conf" / "network" / "ecapa128.yaml")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    robust = ["--augment-conf", str(ROOT / "conf" / "augment" / "robust.yaml")]
    robust += ["--speech-dir", arguments.speech_dir, "--rir-dir", arguments.rir_dir]
    kinds = {
        "features": (arguments.features, []),
        "waveforms": (arguments.waveforms, []),
        "robust": (arguments.waveforms, robust),
    }
    rates: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(arguments.rounds):
        for kind, (egs, more) in kinds.items():
            rates[kind].append(round(rate(egs, arguments.steps, arguments.network, more), 1))
        print({kind: each[-1] for kind, each in rates.items()}, file=sys.stderr, flush=True)
    ratios = {
        kind: round(statistics.median(a / b for a, b in zip(rates["features"], each, strict=True)), 3)
        for kind, each in rates.items()
    }
    medians = {kind: statistics.median(each) for kind, each in rates.items()}
    print(json.dumps({"examples_per_s": rates, "median": medians, "features_over_it": ratios, "goal": 1.3}))


if __name__ == "__main__":
    main()
