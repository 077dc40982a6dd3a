#!/usr/bin/env python3
"""Averages checkpoints into the network that is used."""

from pathlib import Path

from timbre.utils.cli import run_step


def average_checkpoints(model_dir: Path, last: int = 3) -> None:
    """Write MODEL_DIR/final.pt anew, the mean of the last checkpoints (training has done so with its own `average`).

    Args:
        model_dir: directory that steps/train.py wrote
        last: so many checkpoints; those that were not kept cannot be had
    """
    from timbre.nnet import checkpoint
    from timbre.utils.errors import DataError

    paths = checkpoint.list_checkpoints(model_dir)
    if not 1 <= last <= len(paths):
        raise DataError(f"{last} checkpoints are asked for, {len(paths)} are kept", model_dir / "checkpoints")
    checkpoint.write_final(paths[-last:], model_dir)


if __name__ == "__main__":
    run_step(average_checkpoints)
