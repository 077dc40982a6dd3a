"""What training does differently when ranks share out the classes of the objective. Used by loop.py.

A checkpoint holds all classes, so that any number of ranks can go on from it.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from timbre.nnet.objectives import Objective
from timbre.training.distributed import World

State = dict[str, Any]


def clip_gradients(module: nn.Module, objective: Objective, max_norm: float) -> None:
    """Scales the gradients of MODULE to a norm of at most MAX_NORM; the classes of OBJECTIVE count over all ranks."""
    if objective.shard is None:
        nn.utils.clip_grad_norm_(module.parameters(), max_norm)
        return
    own = objective.get_parameter("weight")
    gradients = [one.grad for one in module.parameters() if one is not own and one.grad is not None]
    square = torch.zeros((), device=own.device) if own.grad is None else own.grad.square().sum()
    dist.all_reduce(square)
    total = (nn.utils.get_total_norm(gradients).square() + square).sqrt()
    nn.utils.clip_grads_with_norm_(module.parameters(), max_norm, total)


def whole_states(objective: Objective, optimizer: torch.optim.Optimizer, world: World) -> tuple[State, State]:
    """States of OBJECTIVE and OPTIMIZER with all classes, on the rank that leads; to be called by every rank."""
    states = objective.state_dict(), optimizer.state_dict()
    if objective.shard is None:
        return states
    return _change_rows(objective, optimizer, *states, change=world.collect_rows)


def load_whole_states(
    objective: Objective, optimizer: torch.optim.Optimizer, objective_state: State, optimizer_state: State
) -> None:
    """Loads what whole_states gave, or the part of it that this rank has."""
    shard = objective.shard
    if shard is not None:
        rows = slice(shard.first, shard.first + shard.num_classes)
        objective_state, optimizer_state = _change_rows(
            objective, optimizer, objective_state, optimizer_state, change=lambda values: values[rows].clone()
        )
    objective.load_state_dict(objective_state)
    optimizer.load_state_dict(optimizer_state)


def _change_rows(
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    objective_state: State,
    optimizer_state: State,
    change: Callable[[Tensor], Tensor | None],
) -> tuple[State, State]:
    """Both states, with CHANGE applied to the class weights and to what the optimiser knows of each of them."""
    own = objective.get_parameter("weight")
    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    index = next((number for number, one in enumerate(parameters) if one is own), -1)  # -1: it is frozen
    moments = {
        name: change(value) if isinstance(value, Tensor) and value.dim() == own.dim() else value
        for name, value in optimizer_state["state"].get(index, {}).items()
    }
    states = optimizer_state["state"] | ({index: moments} if moments else {})
    return objective_state | {"weight": change(objective_state["weight"])}, optimizer_state | {"state": states}
