"""What lets an interrupted run go on as if nothing had happened. Used by train.py."""

import logging
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from steps.nnet import checkpoint
from steps.nnet.model import read_config, write_config
from steps.nnet.options import INCIDENTAL
from steps.utils.errors import DataError

log = logging.getLogger(__name__)


def open_model_dir(model_dir: Path, config: dict[str, Any], spk2int: Path) -> None:
    """Makes MODEL_DIR ready for training with CONFIG: what was trained there with other options or egs is removed.

    Options that do not change the weights (INCIDENTAL) may differ.
    """
    if checkpoint.list_checkpoints(model_dir) or (model_dir / "config.yaml").exists():
        try:
            changed = list(_differences(read_config(model_dir), config))
        except DataError as error:
            changed = [str(error)]
        if changed:
            log.warning("%s: training starts anew, because of other options: %s", model_dir, "; ".join(changed))
            for name in ("checkpoints", "tensorboard"):
                shutil.rmtree(model_dir / name, ignore_errors=True)
            for name in ("config.yaml", "final.pt", "log.jsonl"):
                (model_dir / name).unlink(missing_ok=True)
    (model_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
    for stale in (model_dir / "checkpoints").glob(".*.tmp*"):  # left by a kill in the middle of writing
        stale.unlink()
    shutil.copyfile(spk2int, model_dir / "spk2int")
    write_config(config, model_dir)


def rng_state(device: torch.device) -> dict[str, Any]:
    """State of every random generator of this process, as values a safe load admits."""
    version, numbers, gauss = random.getstate()
    kind, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "python": (version, numbers, gauss),
        "numpy": (kind, torch.from_numpy(keys.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_rng_state(state: dict[str, Any], device: torch.device) -> None:
    """Puts back what rng_state gave."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)


def _differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """ "name: old -> new" of every value in which two nested mappings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if not (name == "train" and key in INCIDENTAL):
                yield from _differences(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
    elif old != new:
        yield f"{name} {old} -> {new}"
