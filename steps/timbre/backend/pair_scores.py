"""Scores of trials by the head that a siamese model was trained with; steps/score_siamese.py calls it."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from timbre.nnet import checkpoint
from timbre.nnet.model import read_config
from timbre.nnet.network import build_network
from timbre.nnet.objectives import Objective, Siamese, build_objective
from timbre.nnet.objectives.pair_losses import PairHead
from timbre.utils.errors import DataError

Vectors = npt.NDArray[np.float32]
Integers = npt.NDArray[np.integer[Any]]

_BLOCK = 1024  # trials at a time: with a hidden layer of 512 they take 4 MB, about what a core's cache holds
_ROWS = 8192  # embeddings at a time


def load_pair_head(model_dir: Path) -> PairHead:
    """The head of MODEL_DIR, in evaluation mode: the mean of those of the checkpoints whose networks final.pt averages.

    Raises:
        DataError: the model was trained without one, or a file is missing, damaged or not safe to load
    """
    config = read_config(model_dir)
    path = model_dir / "config.yaml"
    if not {"objective", "num_speakers"} <= config.keys():
        raise DataError("not the configuration of a model: it lacks objective or num_speakers", path)
    try:
        with torch.device("meta"):  # of the network nothing but a size is wanted
            dim = build_network(config["network"], config["feat_dim"]).embedding_dim
        objective = build_objective(config["objective"], dim, config["num_speakers"])
    except (AttributeError, TypeError, DataError) as error:
        raise DataError(str(error), path) from error
    head = next((module.head for module in objective.modules() if isinstance(module, Siamese)), None)
    if head is None:
        name = config["objective"]["class_path"]
        raise DataError(f"the objective {name} has no head that compares pairs, as Siamese has; score by cosine", path)
    _load_average(objective, model_dir)
    return head.eval()


def _load_average(objective: Objective, model_dir: Path) -> None:
    steps = checkpoint.load(model_dir / "final.pt").get("steps")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, int) for step in steps):
        raise DataError("does not say which checkpoints it is the mean of", model_dir / "final.pt")
    paths = [checkpoint.checkpoint_path(model_dir, step) for step in steps]
    for path in paths:
        if not path.exists():
            raise DataError("no such file; final.pt is from it, and the head is nowhere else", path)
    try:
        objective.load_state_dict(checkpoint.average(paths, "objective"))
    except (RuntimeError, TypeError, AttributeError) as error:
        raise DataError(f"not the objective of config.yaml: {str(error).splitlines()[0]}", paths[-1]) from error


@torch.inference_mode()
def score_pairs(
    head: PairHead, enroll_vectors: Vectors, test_vectors: Vectors, enroll: Integers, test: Integers
) -> Vectors:
    """Logits (N,) of the pairs (ENROLL[i], TEST[i]), on the device where HEAD is.

    Args:
        head: in evaluation mode
        enroll_vectors: (E, D)
        test_vectors: (T, D)
        enroll: (N,) rows of enroll_vectors
        test: (N,) rows of test_vectors

    Raises:
        DataError: the vectors are not of the dimension that the head takes
    """
    one, other = _prepare(head, enroll_vectors), _prepare(head, test_vectors)
    rows = torch.from_numpy(np.stack([enroll, test]).astype(np.int64)).to(one.device)
    scores = torch.empty(len(enroll), device=one.device)
    for begin in range(0, len(enroll), _BLOCK):
        first, second = rows[:, begin : begin + _BLOCK]
        scores[begin : begin + _BLOCK] = head.compare(one[first], other[second])
    return scores.cpu().numpy()


def score_models(
    head: PairHead, sessions: Vectors, num_sessions: Integers, test_vectors: Vectors, enroll: Integers, test: Integers
) -> Vectors:
    """Mean logits (N,) of models of several utterances: of trial (ENROLL[i], TEST[i]), over the model's utterances.

    Args:
        head: in evaluation mode
        sessions: their vectors, those of the first model first
        num_sessions: (E,) how many are of each model
        test_vectors: (T, D)
        enroll: (N,) models
        test: (N,) rows of test_vectors
    """
    counts = num_sessions[enroll]
    ends = np.cumsum(counts)
    begins = ends - counts
    first = (np.cumsum(num_sessions) - num_sessions)[enroll]
    rows = np.repeat(first - begins, counts) + np.arange(counts.sum())
    logits = score_pairs(head, sessions, test_vectors, rows, np.repeat(test, counts))
    means: Vectors = (np.add.reduceat(logits, begins) / counts).astype(np.float32)
    return means


def _prepare(head: PairHead, vectors: Vectors) -> Tensor:
    """What HEAD makes of each vector by itself, once for all its trials."""
    device, dim = head.first.weight.device, head.first.in_features // 2
    if vectors.shape[1] != dim:
        raise DataError(f"the vectors are of dimension {vectors.shape[1]}; the model's embeddings have {dim}")
    matrix = torch.from_numpy(vectors)
    blocks = [matrix[begin : begin + _ROWS] for begin in range(0, len(matrix), _ROWS)]
    return torch.cat([head.prepare(block.to(device)) for block in blocks])
