"""Loss and accuracy of the steps of a training: since the last line of the log, and of the epoch. Used by loop.py."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from timbre.training.distributed import World
from timbre.utils.environment import peak_resident_bytes
from timbre.utils.errors import DataError


class StepFigures:
    """Collects what each step gives, without waiting for the device; to read it is to wait, for all ranks together.

    Args:
        world: figures are means over its ranks, each of which has an equal part of a batch
        scaler: of the losses; in fp16 it skips steps whose loss is not finite, and these do not count
    """

    def __init__(self, world: World, scaler: GradScaler) -> None:
        self._world, self._scaler = world, scaler
        self._losses: list[Tensor] = []  # of each step since the last line of the log, on the device
        self._accuracies: list[Tensor] = []
        self._in_sums = 0  # the first of them, which the sums below have already, or those of an epoch before
        self._epoch = _Sums()
        self._valid: dict[str, Any] = {}  # the last validation of the epoch

    def add(self, loss: Tensor, accuracy: Tensor) -> None:
        """Of a step, (): NaN as accuracy where the objective has no opinion."""
        self._losses.append(loss)
        self._accuracies.append(accuracy)

    def take(self, step: int) -> dict[str, float]:
        """Mean loss and accuracy of the steps since it was last called, up to STEP.

        Raises:
            DataError: a loss is not finite
        """
        losses, accuracies = self._read(step)
        self._losses, self._accuracies, self._in_sums = [], [], 0
        record = {"loss": float(losses.nanmean()), "accuracy": float(accuracies.nanmean())}
        if math.isnan(record["accuracy"]):  # the objective has no opinion
            del record["accuracy"]
        return record

    def look(self, step: int, valid: Mapping[str, float]) -> None:
        """Notes what validation gave after STEP updates."""
        self._valid = {"valid_step": step, **valid}

    def end_epoch(self, step: int) -> dict[str, Any]:
        """Number of steps, mean loss and accuracy, and the last validation if there was one, of the epoch up to STEP.

        Raises:
            DataError: a loss is not finite
        """
        self._read(step)
        record = self._epoch.means() | self._valid
        self._epoch, self._valid = _Sums(), {}
        return record

    def state(self, step: int) -> dict[str, Any]:
        """For a checkpoint after STEP updates; every rank must call it.

        Raises:
            DataError: a loss is not finite
        """
        losses, accuracies = self._read(step)
        epoch = {"sums": self._epoch.numbers, "in_sums": self._in_sums, "valid": self._valid}
        return {"losses": losses, "accuracies": accuracies, "epoch": epoch}

    def resume(self, state: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint with STATE."""
        self._losses, self._accuracies = (list(state[name].to(self._world.device)) for name in ("losses", "accuracies"))
        epoch = state.get("epoch", {})  # of before there were any
        self._epoch = _Sums(epoch.get("sums", ()))
        self._in_sums, self._valid = epoch.get("in_sums", len(self._losses)), epoch.get("valid", {})

    def _read(self, step: int) -> tuple[Tensor, Tensor]:
        """Losses (N,) and accuracies (N,) since the last line of the log, on the CPU; the epoch has them then too."""
        losses, accuracies = self._finite_losses(step), self._world.mean(self._accuracies)
        self._epoch.add(losses[self._in_sums :], accuracies[self._in_sums :])
        self._in_sums = len(losses)
        return losses, accuracies

    def _finite_losses(self, step: int) -> Tensor:
        """The losses since the last line of the log, over all ranks, on the CPU; NaN for a step that fp16 skipped.

        Raises:
            DataError: one is not finite; in fp16, the loss scale did not get over it
        """
        losses = self._world.mean(self._losses)
        bad = ~losses.isfinite()
        if bad.any():
            first = int(bad.nonzero()[0])
            if not self._scaler.is_enabled() or self._scaler.get_scale() < 1:
                number = step - len(losses) + 1 + first
                raise DataError(f"the loss of step {number} is {losses[first]:g}: a lower lr or a grad_clip may help")
            losses[bad] = torch.nan
        return losses


class _Sums:
    """Sums over the steps of an epoch.

    Attributes:
        numbers: steps, then of losses and of accuracies how many there are and their sum
    """

    def __init__(self, numbers: tuple[float, ...] = ()) -> None:
        self.numbers = tuple(numbers) or (0, 0, 0.0, 0, 0.0)

    def add(self, *figures: Tensor) -> None:
        """Losses (N,) and accuracies (N,) of N steps, NaN where a step has none; one by one, in any portions."""
        steps, *numbers = self.numbers
        for row, values in enumerate(figures):
            for value in values.tolist():
                if not math.isnan(value):
                    numbers[2 * row] += 1
                    numbers[2 * row + 1] += value
        self.numbers = steps + len(figures[0]), *numbers

    def means(self) -> dict[str, float]:
        """steps, and the means of what there is."""
        steps, num_losses, loss, num_accuracies, accuracy = self.numbers
        means = {"loss": (num_losses, loss), "accuracy": (num_accuracies, accuracy)}
        return {"steps": steps} | {name: total / number for name, (number, total) in means.items() if number}


def peak_memory(world: World) -> dict[str, int]:
    """peak_gpu_bytes, on a CPU peak_resident_bytes: the most that a rank has taken since its process began."""
    if world.device.type == "cuda":
        return {"peak_gpu_bytes": max(world.gather(torch.cuda.max_memory_allocated(world.device)))}
    return {"peak_resident_bytes": max(world.gather(peak_resident_bytes()))}
