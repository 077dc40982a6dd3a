"""What a model directory is opened with, and what lets an interrupted run go on as if nothing had happened.

Used by loop.py."""

import logging
import random
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from timbre.nnet.model import read_config, write_config
from timbre.training.options import INCIDENTAL, TrainOptions
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_path, remove_temporaries

_MADE = (
    "final.pt",
    "log.jsonl",
    "epochs.jsonl",
    "tensorboard/events.out.tfevents.*",
    "checkpoints/step-*.*",
    "checkpoints/best-*.*",
)
# what egs_sha256 stands for too, and where things lie
_INCIDENTAL = {"features", "start.init_model", *(f"train.{name}" for name in INCIDENTAL)}

log = logging.getLogger(__name__)


def make_config(
    network: dict[str, Any],
    objective: dict[str, Any],
    feat_dim: int,
    num_speakers: int,
    normalization: dict[str, Any],
    options: TrainOptions,
    augmentation: dict[str, Any] | None,
    egs_sha256: str,
    start: dict[str, Any] | None,
) -> dict[str, Any]:
    """All that a model was made with, as plain values: what config.yaml holds; START: none for one from nothing."""
    return {
        "network": network,
        "objective": objective,
        "feat_dim": feat_dim,
        "num_speakers": num_speakers,
        "normalize": normalization,
        "train": _plain(options),
        "augment": augmentation,
        "egs_sha256": egs_sha256,
    } | ({"start": start} if start else {})


def open_model_dir(model_dir: Path, config: dict[str, Any], spk2int: Path) -> None:
    """Makes MODEL_DIR ready for training with CONFIG: what was trained there with other options or egs is removed.

    Options that do not change the weights (INCIDENTAL) may differ. The new config.yaml comes last, so that a kill in
    between leaves the old one, and the next run removes the rest.
    """
    checkpoints = model_dir / "checkpoints"
    if checkpoints.exists() or (model_dir / "config.yaml").exists():
        try:
            was = read_config(model_dir)
            if isinstance(was.get("train"), dict):  # an option that there was not then was as it is by default
                was["train"] = _plain(TrainOptions()) | was["train"]
        except DataError as error:
            if (model_dir / "config.yaml").exists() or any(checkpoints.iterdir()):
                raise DataError(f"not of a training, choose another folder for the model: {error}", model_dir) from None
            was = config  # of a run that was killed as it began
        if changed := list(differences(was, config)):
            log.warning("%s: starting anew, since it was made otherwise: %s", model_dir, "; ".join(changed))
            for name in _MADE:
                for path in model_dir.glob(name):
                    path.unlink()
    checkpoints.mkdir(parents=True, exist_ok=True)
    remove_temporaries(checkpoints)
    with atomic_path(model_dir / "spk2int") as temporary:
        shutil.copyfile(spk2int, temporary)
    write_config(config, model_dir)


def _plain(options: TrainOptions) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(options).items()}


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


def differences(old: Any, new: Any, name: str = "") -> Iterator[str]:
    """ "name old -> new" of every value in which two nested mappings differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            inner = f"{name}.{key}" if name else str(key)
            if inner not in _INCIDENTAL:
                yield from differences(old.get(key), new.get(key), inner)
    elif old != new:
        yield f"{name} {old} -> {new}"
