#!/usr/bin/env python3
"""Training curves: loss, accuracy, EER, learning rate and speed by step."""

from pathlib import Path

from timbre.utils.cli import run_step


def plot_training(model_dir: Path, out: Path | None = None) -> None:
    """Plot what training logged in MODEL_DIR/log.jsonl.

    Args:
        model_dir: directory that steps/train.py wrote, or is still writing
        out: file to write, .png, .svg or .pdf; default: MODEL_DIR/training.png and MODEL_DIR/training.svg
    """
    from timbre.training.plots import plot_training as plot
    from timbre.training.train_log import read_log
    from timbre.utils.errors import DataError

    lines = read_log(model_dir / "log.jsonl")
    if not lines:
        raise DataError("nothing has been logged", model_dir / "log.jsonl")
    if out is not None and out.suffix not in (".png", ".svg", ".pdf"):
        raise DataError("a plot is .png, .svg or .pdf", out)
    plot(lines, [out] if out else [model_dir / "training.png", model_dir / "training.svg"], str(model_dir))


if __name__ == "__main__":
    run_step(plot_training)
