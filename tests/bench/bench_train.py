#!/usr/bin/env python3
"""Training steps per second of each network of conf/network, and the share of the time spent waiting for examples.

Prints one JSON line. The whole of steps/train.py, checkpoints and log apart: batches of 64 examples of 200 x 80 from
egs on disk, AAM-softmax of 500 speakers, AdamW, precision "auto", all cores (or OMP_NUM_THREADS). The first steps of a
network are not counted. `--networks xvector,ecapa128` measures some of them only, `--steps N` so many steps of each.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from timbre.datadir.ark import ArkWriter
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.egs.egs_writer import write_egs
from timbre.egs.options import EgsOptions
from timbre.runtime.normalize import NormalizeOptions
from timbre.training.loop import train
from timbre.training.options import TrainOptions
from timbre.training.train_log import read_log

ROOT = Path(__file__).resolve().parent.parent.parent
SPEAKERS, UTTS, FRAMES, LENGTH, DIM, WARM = 500, 2, 400, 200, 80, 2
GOAL_WAITING = 0.02


def write_random_egs(folder: Path) -> Path:
    """Examples of noise: speed does not depend on what is learned."""
    rng = np.random.default_rng(0)
    names = [f"spk{speaker:03d}-utt{utt}" for speaker in range(SPEAKERS) for utt in range(UTTS)]
    with ArkWriter(folder / "feats.ark") as feats:
        for name in names:
            feats.write(name, rng.standard_normal((FRAMES, DIM), np.float32))
    write_table(folder / "feats.scp", feats.scp)
    write_table(folder / "utt2spk", {name: name[:6] for name in names})
    options = EgsOptions(LENGTH, LENGTH, num_repeats=1, num_valid_speakers=0, num_valid_utts=0)
    write_egs(DataDir.read(folder), folder / "egs", options, NormalizeOptions(cmn="none", vad=False), 1, 0)
    return folder / "egs"


def measure(egs: Path, model_dir: Path, network: Path, steps: int, device: str, **others: Any) -> dict[str, float]:
    """examples_per_s, steps_per_s and waiting over STEPS steps after WARM ones, with OTHERS of the options."""
    options = TrainOptions(
        num_steps=WARM + steps,
        log_interval=WARM,
        valid_interval=WARM + steps,
        checkpoint_interval=WARM + steps,
        keep=1,
        average=1,
        tensorboard=False,
        device=device,
        **others,
    )
    train(egs, model_dir, network, ROOT / "conf" / "objective" / "aam.yaml", options)
    lines = read_log(model_dir / "log.jsonl")[1:]
    rates = np.array([line["examples_per_s"] for line in lines])
    shares = np.array([line["waiting"] for line in lines])
    rate = len(rates) / (1 / rates).sum()
    return {
        "examples_per_s": round(float(rate), 1),
        "steps_per_s": round(float(rate) / options.batch_size, 2),
        "waiting": round(float((shares / rates).sum() / (1 / rates).sum()), 5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default="", help="names in conf/network, with commas between; default: all")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    names = [name for name in arguments.networks.split(",") if name]
    names = names or sorted(path.stem for path in (ROOT / "conf" / "network").glob("*.yaml"))
    with tempfile.TemporaryDirectory() as folder:
        egs = write_random_egs(Path(folder))
        networks = {
            name: measure(
                egs, Path(folder) / name, ROOT / "conf/network" / f"{name}.yaml", arguments.steps, arguments.device
            )
            for name in names
        }
    waiting = max(figures["waiting"] for figures in networks.values())
    result = {"bench": "train", "threads": torch.get_num_threads(), "networks": networks, "waiting": waiting}
    print(json.dumps(result | {"goal_waiting": GOAL_WAITING}))


if __name__ == "__main__":
    main()
