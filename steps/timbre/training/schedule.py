"""The learning rate as a pure function of the step, and the optimiser it is given to. Called by loop.py."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from timbre.training.options import TrainOptions


def learning_rate(step: int, num_steps: int, options: TrainOptions, epoch_steps: int = 1) -> float:
    """Learning rate of update STEP (0 .. num_steps - 1): linear warm-up, then the schedule down to exactly final_lr.

    The step schedule knows no final_lr: it counts epochs of EPOCH_STEPS updates, from the first on.
    """
    warmup = options.warmup_steps or round(options.warmup_share * num_steps)
    if step < warmup:
        return options.lr * (step + 1) / warmup
    done = (step - warmup) / max(num_steps - 1 - warmup, 1)
    if options.schedule == "cosine":
        return options.final_lr + (options.lr - options.final_lr) * (1 + math.cos(math.pi * done)) / 2
    if options.schedule == "exponential":
        return float(options.lr * (options.final_lr / options.lr) ** done)
    if options.schedule == "step":
        if options.step_epochs:
            passed = math.floor(step / epoch_steps / options.step_epochs)
        else:
            passed = sum(step >= milestone * epoch_steps for milestone in options.milestones)
        return float(options.lr * options.gamma**passed)
    return options.lr


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Gives every group of OPTIMIZER the rate LR, times its own factor if it has one."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1)


def build_optimizer(
    module: nn.Module, options: TrainOptions, factors: Mapping[nn.Parameter, float] | None = None
) -> torch.optim.Optimizer:
    """The optimiser over all parameters of MODULE that are trained, in its fused form if it has one.

    Vectors (biases, weights of normalisation layers) have weight decay only if `decay_all` says so.

    Args:
        module: parameters that need no gradient are left out
        options: which optimiser
        factors: of the learning rate, of parameters for which it is not 1
    """
    factors = factors or {}
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups: list[dict[str, Any]] = []
    for factor in sorted(
        {factors.get(parameter, 1.0) for parameter in trained}, key=lambda factor: (factor != 1, factor)
    ):
        own = [parameter for parameter in trained if factors.get(parameter, 1.0) == factor]
        decayed = [parameter for parameter in own if parameter.ndim > 1 or options.decay_all]
        spared = [parameter for parameter in own if parameter.ndim <= 1 and not options.decay_all]
        for parameters, decay in ((decayed, options.weight_decay), (spared, 0.0)):
            if parameters:
                extra = {} if factor == 1 else {"lr_scale": factor}
                groups.append({"params": parameters, "weight_decay": decay} | extra)
    if options.optimizer == "sgd":
        nesterov = options.nesterov and options.momentum > 0
        return torch.optim.SGD(groups, options.lr, options.momentum, nesterov=nesterov, fused=True)
    if options.optimizer == "radam":  # Liu et al. 2020, arXiv 1908.03265
        return torch.optim.RAdam(groups, options.lr, options.betas)
    if options.optimizer == "adagrad":
        return torch.optim.Adagrad(groups, options.lr)
    adam = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
    return adam(groups, options.lr, options.betas, fused=True)
