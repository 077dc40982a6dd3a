"""How many GPUs a run takes by itself, on a machine that says it has some."""

import os
import subprocess
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("visible", "settings", "expected"),
    [
        (None, "batch_size: 256", "4"),
        ("2,3", "batch_size: 256", "2"),
        ("0,1,2", "batch_size: 256", "2"),  # which three cannot share evenly
        ("0,1,2", "batch_size: 96 # of all\naccumulation: 24", "2"),
        (None, "lr: 0.1", "4"),  # batches of 64 unless said
        ("", "", "0"),
        ("-1", "", "0"),
    ],
)
def test_all_gpus_that_can_share_a_batch(
    root: Path, tmp_path: Path, visible: str | None, settings: str, expected: str
) -> None:
    (tmp_path / "nvidia-smi").write_text('#!/bin/sh\nfor i in 0 1 2 3; do echo "GPU $i: of a kind"; done\n')
    (tmp_path / "nvidia-smi").chmod(0o755)
    (tmp_path / "train.yaml").write_text(settings + "\n")
    script = f". steps/stages/engine.sh; . steps/stages/04_train.sh; train_conf={tmp_path}/train.yaml; gpus_to_use"
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    if visible is not None:
        environment["CUDA_VISIBLE_DEVICES"] = visible
    done = subprocess.run(["bash", "-euc", script], cwd=root, env=environment, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (expected, "")
