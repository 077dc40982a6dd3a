"""The best network so far, by what validation says (keep_best of the options of training). Used by loop.py.

It lies in checkpoints/best-STEP.pt, which pruning passes by; every checkpoint says which was the best when it was
made, so that a run that goes on from one ends with the same network.
"""

import logging
import math
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from timbre.nnet import checkpoint
from timbre.nnet.objectives import Objective
from timbre.utils.errors import DataError

FIGURES = {"eer": ("valid_eer", -1), "accuracy": ("valid_accuracy", 1)}  # in the log, and the sign of what is better

log = logging.getLogger(__name__)


class BestNetwork:
    """Keeps the best network of a run.

    Args:
        model_dir: of the run
        keep_best: eer, accuracy, or none: nothing is kept
        measured: the figures that validation gives

    Raises:
        DataError: the one that is needed is not among them
    """

    def __init__(self, model_dir: Path, keep_best: str, measured: Container[str]) -> None:
        self._model_dir, self._by = model_dir, keep_best
        if keep_best != "none" and FIGURES[keep_best][0] not in measured:
            text = "nothing that it could be measured on is held out of the egs, or the objective has no classes"
            raise DataError(f"train: keep_best {keep_best}: {text}")
        self._step, self._value = 0, math.nan  # none yet

    def look(self, step: int, record: Mapping[str, Any], network: nn.Module, objective: Objective) -> None:
        """Keeps NETWORK and OBJECTIVE, after STEP updates, if RECORD has a better figure than any before."""
        if self._by == "none":
            return
        figure, sign = FIGURES[self._by]
        value = record[figure]
        if not self._step or sign * value > sign * self._value:
            self._step, self._value = step, value
            state = {"step": step, figure: value, "network": network.state_dict()}
            if objective.shard is None:  # no rank has all classes
                state["objective"] = objective.state_dict()
            checkpoint.save(state, checkpoint.best_path(self._model_dir, step))

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {} if self._by == "none" else {"best": (self._step, self._value)}

    def prune(self) -> None:
        """Removes those that are not the best any more; to be called when a checkpoint says which one is."""
        for path in checkpoint.list_best(self._model_dir):
            if checkpoint.step_of(path) != self._step:
                path.unlink()

    def resume(self, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint with STATE."""
        if self._by != "none":
            self._step, self._value = state["best"]
            if self._step and not checkpoint.best_path(self._model_dir, self._step).is_file():
                log.warning("%s: the best network, of step %d, is gone", self._model_dir, self._step)
                self._step = 0

    def final(self) -> list[Path]:
        """The file of the best network; empty where none is kept."""
        if not self._step:
            return []
        log.info("step %d is the best: %s %.4f", self._step, FIGURES[self._by][0], self._value)
        return [checkpoint.best_path(self._model_dir, self._step)]
