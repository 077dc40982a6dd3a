#!/usr/bin/env python3
"""Trains a speaker network on egs."""

from pathlib import Path

from steps.nnet.options import TrainOptions
from steps.utils.cli import run_step


def train(
    egs_dir: Path,
    model_dir: Path,
    network: Path = Path("conf/network/xvector.yaml"),
    objective: Path = Path("conf/objective/aam.yaml"),
    train: TrainOptions = TrainOptions(),
) -> None:
    """Train a network on EGS_DIR into MODEL_DIR; interrupted at any moment, the same command goes on where it was.

    MODEL_DIR gets config.yaml, spk2int, checkpoints/, log.jsonl, tensorboard/ and, at the end, final.pt. If options or
    egs are no longer those of the checkpoints there, training says so and starts anew. For several processes:
    torchrun --nproc-per-node N steps/train.py ...

    Args:
        egs_dir: directory that steps/get_egs.py wrote
        model_dir: where the model goes
        network: YAML file of the network to train
        objective: YAML file of the loss to train it with
        train: options of training, for instance conf/train/cpu.yaml
    """
    from steps.nnet.train import train as train_network

    train_network(egs_dir, model_dir, network, objective, train)


if __name__ == "__main__":
    run_step(train)
