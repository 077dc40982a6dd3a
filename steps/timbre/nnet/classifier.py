"""The objective of a trained model as a classifier of its training speakers: what asks for outputs, not embeddings.

Called by teacher.py of the room training, closed_set.py of decision and explained_score.py of explain.
"""

from pathlib import Path
from typing import Any

from timbre.nnet.model import read_objective, segments_of
from timbre.nnet.objectives import Objective, build_objective
from timbre.utils.errors import DataError


def load_classifier(model_dir: Path, config: dict[str, Any], embedding_dim: int, num_speakers: int) -> Objective:
    """The objective of MODEL_DIR with its class weights, averaged over the checkpoints that final.pt is the mean of.

    Args:
        model_dir: of a trained model
        config: of the model, as read_config gives it
        embedding_dim: the network's
        num_speakers: number of its training speakers

    Raises:
        DataError: it has no outputs, or they cannot be read any more
    """
    try:
        objective = build_objective(config.get("objective", {}), embedding_dim, num_speakers)
    except DataError as error:
        raise DataError(error.message, model_dir / "config.yaml") from error
    if not objective.classifies:
        name = objective.config["class_path"]
        raise DataError(f"its objective, {name}, has no outputs, one for each speaker", model_dir / "config.yaml")
    try:
        objective.load_state_dict(read_objective(model_dir))
    except (KeyError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f"not the objective of config.yaml: {str(error).splitlines()[0]}", model_dir) from error
    segments = segments_of(config)
    objective.input_length = 0.0 if segments is None else segments.code_length
    return objective
