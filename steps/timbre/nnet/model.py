"""A model directory: config.yaml, spk2int, checkpoints/, final.pt, log.jsonl, epochs.jsonl.

The room training writes it; extraction reads it through load_model.
"""

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from timbre.datadir.tables import read_table
from timbre.nnet import checkpoint
from timbre.nnet.network import SpeakerNetwork, build_network
from timbre.nnet.options import SegmentOptions
from timbre.runtime.normalize import NormalizeOptions
from timbre.utils.configure import check
from timbre.utils.documents import read_yaml
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write


def write_config(config: dict[str, Any], model_dir: Path) -> None:
    """Writes MODEL_DIR/config.yaml."""
    with atomic_write(model_dir / "config.yaml") as file:
        yaml.safe_dump(config, file, sort_keys=False)


def read_config(model_dir: Path) -> dict[str, Any]:
    """What MODEL_DIR/config.yaml holds.

    Raises:
        DataError: there is none, or it is damaged
    """
    path = model_dir / "config.yaml"
    if not path.exists():
        raise DataError("no such file: not a model directory", path)
    config = read_yaml(path)
    if not isinstance(config, dict) or not {"network", "feat_dim", "normalize"} <= config.keys():
        raise DataError("not the configuration of a model: it lacks network, feat_dim or normalize", path)
    return config


def segments_of(config: dict[str, Any]) -> SegmentOptions | None:
    """How a model with this CONFIG, as read_config gives it, cuts up utterances; None: it does not.

    Raises:
        DataError: the options are damaged
    """
    train = config.get("train")
    options = train.get("segments") if isinstance(train, dict) else None
    return None if options is None else check(SegmentOptions, options, set())()


def read_classes(spk2int: Path) -> dict[str, int]:
    """The class of each speaker, from the file of that name of a model or of egs.

    Raises:
        DataError: they are not numbered from 0 on
    """
    try:
        classes = {name: int(number) for name, number in read_table(spk2int).items()}
    except ValueError as error:
        raise DataError(f"not a table of speakers and their numbers: {error}", spk2int) from error
    if sorted(classes.values()) != list(range(len(classes))):
        raise DataError("speakers are not numbered from 0 on", spk2int)
    return classes


def read_objective(model_dir: Path) -> dict[str, Tensor]:
    """Weights of the objective of a trained model: the mean of those of the checkpoints that final.pt is the mean of.

    Raises:
        DataError: final.pt does not say of which, they are no longer there, or damaged
    """
    path = model_dir / "final.pt"
    steps = checkpoint.load(path).get("steps")
    if not isinstance(steps, list) or not steps or not all(type(step) is int for step in steps):
        raise DataError("does not say which checkpoints it is the mean of, which have the objective", path)
    found = {step: checkpoint.find(model_dir, step) for step in steps}
    paths = [path for path in found.values() if path is not None]
    if missing := [step for step, path in found.items() if path is None]:
        raise DataError("no such file, which has the objective", checkpoint.checkpoint_path(model_dir, missing[0]))
    return checkpoint.average(paths, "objective")


def load_model(model_dir: Path, device: torch.device | str = "cpu") -> tuple[SpeakerNetwork, NormalizeOptions]:
    """The trained network of MODEL_DIR in evaluation mode, and the normalisation of the features it was trained on.

    Raises:
        DataError: training has not finished there, or a file is damaged or not safe to load
    """
    config = read_config(model_dir)
    path = model_dir / "final.pt"
    if not path.is_file():
        raise DataError("no such file: training did not finish there", path)
    try:
        normalization = NormalizeOptions(**config["normalize"])
        network = build_network(config["network"], config["feat_dim"])
        network.segments = segments = segments_of(config)
        if segments is not None and segments.test_length < network.min_frames:
            raise DataError(f"segments of {segments.test_length} frames; the network needs {network.min_frames}")
    except (TypeError, DataError) as error:
        raise DataError(str(error), model_dir / "config.yaml") from error
    state = checkpoint.load(path)
    try:
        network.load_state_dict(state["network"])
    except (KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise DataError(f"not the network of config.yaml: {str(error).splitlines()[0]}", path) from error
    network.to(device).eval().trunk.fuse()
    return network, normalization
