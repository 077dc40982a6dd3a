"""What lets an interrupted run go on as if nothing had happened. Used by train.py."""

import logging
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from steps.nnet.model import read_config, write_config
from steps.nnet.options import INCIDENTAL
from steps.utils.errors import DataError
from steps.utils.files import atomic_path

log = logging.getLogger(__name__)


def open_model_dir(model_dir: Path, config: dict[str, Any], spk2int: Path) -> None:
    """Makes MODEL_DIR ready for training with CONFIG: what was trained there with other options or egs is removed.

    Options that do not change the weights (INCIDENTAL) may differ. The new config.yaml comes last, so that a kill in
    between leaves the old one, and the next run removes the rest.
    """
    checkpoints = model_dir / "checkpoints"
    if checkpoints.exists() or (model_dir / "config.yaml").exists():
        try:
            changed = list(_differences(read_config(model_dir), config))
        except DataError as error:
            changed = [str(error)]
        if changed:
            log.warning("%s: starting anew, since it was made otherwise: %s", model_dir, "; ".join(changed))
            for name in ("final.pt", "log.jsonl"):
                (model_dir / name).unlink(missing_ok=True)
            shutil.rmtree(model_dir / "tensorboard", ignore_errors=True)
            shutil.rmtree(checkpoints, ignore_errors=True)
    checkpoints.mkdir(parents=True, exist_ok=True)
    for unfinished in checkpoints.glob(".*.tmp*"):  # by a kill
        unfinished.unlink()
    with atomic_path(model_dir / "spk2int") as temporary:
        shutil.copyfile(spk2int, temporary)
    write_config(config, model_dir)


def rng_state(device: torch.device) -> dict[str, Any]:
    """State of every random generator of this process, of types that a safe load admits."""
    numpy_state: dict[str, Any] = np.random.get_state(legacy=False)  # noqa: NPY002
    numpy_state["state"]["key"] = numpy_state["state"]["key"].tolist()
    return {
        "python": random.getstate(),
        "numpy": numpy_state,
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_rng_state(state: dict[str, Any], device: torch.device) -> None:
    """Puts back what rng_state gave."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """ "name: old -> new" of every value in which two nested mappings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if name != "train" or key not in INCIDENTAL:
                yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
    elif old != new:
        yield f"{name} {old} -> {new}"
