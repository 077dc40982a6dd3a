#!/usr/bin/env python3
"""One network trained in float32, TF32, fp16, bf16 and compiled: time, memory and error rates of each."""

from pathlib import Path

from timbre.training.options import TrainOptions
from timbre.utils.cli import run_step


def compare_precision(
    egs_dir: Path,
    out_dir: Path,
    network: Path | None = None,
    objective: Path | None = None,
    modes: str = "none,tf32,fp16,bf16,compile",
    train: TrainOptions = TrainOptions(),
) -> None:
    """Train a network on EGS_DIR in each of MODES, with one seed and the same batches, and write the table OUT_DIR.

    OUT_DIR gets PRECISION.md, precision.json, precision.png (losses by step) and a model directory for each mode. A
    row has minutes an epoch, peak memory in GB, seconds of start (compiling), accuracies and EER in %, losses, the
    score threshold of the EER, and minDCF at the priors 0.01 and 0.001, on what EGS_DIR holds out. Each mode trains in
    a process of its own, one after the other: nothing else should run on the machine. Interrupted, the same command
    goes on where it was; modes that are there with the same settings are not trained again. One that fails has a row
    that says so, and the exit status is 1 at the end.

    Args:
        egs_dir: directory that steps/get_egs.py wrote
        out_dir: where the comparison goes; what is in it with other settings is made anew
        network: YAML file of the network; default: conf/network/xvector.yaml
        objective: YAML file of the loss; default: conf/objective/aam.yaml
        modes: what to compare, the first being what the others are compared with: none (float32 throughout), tf32 (a
            GPU's TensorFloat-32 products), fp16 and bf16 (mixed precision), compile (float32 by torch.compile),
            bf16+compile. A mode that the device has not (fp16 and tf32 need a GPU) is left out, and the page says why
        train: options of training, as of train.py; the mode stands for amp and compile, and log_interval is at most a
            twentieth of all steps
    """
    from timbre.training import precision_page, precision_run  # torch takes seconds: not for --help
    from timbre.training.plots import plot_modes
    from timbre.training.precision_modes import Machine, choose, read_modes
    from timbre.utils.errors import DataError

    names = read_modes(modes)
    machine = Machine.here(train.device)
    chosen, lacking = choose(names, machine)
    comparison = precision_run.Comparison(egs_dir, out_dir, network, objective, train)
    found = precision_run.run_modes(comparison, chosen, machine)
    curves = precision_page.read_curves(out_dir, found)
    title = f"Precisions of training: {(network or Path('xvector')).stem}"
    rows = precision_page.compared(found, curves)
    print(precision_page.write_page(out_dir, title, machine, rows, lacking), end="")
    if curves:
        plot_modes(curves, [out_dir / "precision.png"], title)
    if failed := [f"{name}: {row['failed']}" for name, row in rows.items() if "failed" in row]:
        raise DataError(f"{len(failed)} of {len(rows)} modes failed: {'; '.join(failed)}", out_dir / "PRECISION.md")


if __name__ == "__main__":
    run_step(compare_precision)
