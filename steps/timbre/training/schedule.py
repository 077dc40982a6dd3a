"""The learning rate as a pure function of the step, and the optimiser it is given to. Called by loop.py."""

import math

import torch
from torch import nn

from timbre.training.options import TrainOptions


def learning_rate(step: int, num_steps: int, options: TrainOptions) -> float:
    """Learning rate of update STEP (0 .. num_steps - 1): linear warm-up, then the schedule down to exactly final_lr."""
    if step < options.warmup_steps:
        return options.lr * (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(num_steps - 1 - options.warmup_steps, 1)
    if options.schedule == "cosine":
        return options.final_lr + (options.lr - options.final_lr) * (1 + math.cos(math.pi * done)) / 2
    if options.schedule == "exponential":
        return float(options.lr * (options.final_lr / options.lr) ** done)
    return options.lr


def build_optimizer(module: nn.Module, options: TrainOptions) -> torch.optim.Optimizer:
    """The optimiser over all parameters of MODULE that are trained, in its fused form if it has one.

    Vectors (biases, weights of normalisation layers) have weight decay only if `decay_all` says so.
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    decayed = [parameter for parameter in trained if parameter.ndim > 1 or options.decay_all]
    spared = [parameter for parameter in trained if parameter.ndim <= 1 and not options.decay_all]
    groups = [{"params": decayed, "weight_decay": options.weight_decay}, {"params": spared, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if options.optimizer == "sgd":
        nesterov = options.nesterov and options.momentum > 0
        return torch.optim.SGD(groups, options.lr, options.momentum, nesterov=nesterov, fused=True)
    if options.optimizer == "radam":  # Liu et al. 2020, arXiv 1908.03265
        return torch.optim.RAdam(groups, options.lr, options.betas)
    adam = torch.optim.AdamW if options.optimizer == "adamw" else torch.optim.Adam
    return adam(groups, options.lr, options.betas, fused=True)
