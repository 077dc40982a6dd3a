"""The step schedule and Adagrad, against their definitions."""

import numpy as np
import pytest
import torch
from torch import nn

from timbre.training.options import TrainOptions
from timbre.training.schedule import build_optimizer, learning_rate
from timbre.utils.errors import DataError


def test_the_learning_rate_falls_in_steps() -> None:
    """At milestones, or every two epochs; of epochs of 7 updates."""
    options = TrainOptions(lr=0.1, warmup_steps=3, schedule="step", milestones=(10, 15), gamma=0.1)
    rates = [learning_rate(step, 140, options, epoch_steps=7) for step in range(140)]
    assert rates[:3] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1])
    assert rates[3:] == pytest.approx([0.1] * 67 + [0.01] * 35 + [0.001] * 35)
    options = TrainOptions(lr=0.1, warmup_steps=0, schedule="step", step_epochs=2, gamma=0.5)
    rates = [learning_rate(step, 42, options, epoch_steps=7) for step in range(42)]
    assert rates == pytest.approx([0.1] * 14 + [0.05] * 14 + [0.025] * 14)


def test_the_learning_rate_warms_up_over_a_share_of_the_training() -> None:
    """As over so many steps, whatever the number of all; and one of the two says how long."""
    share = TrainOptions(lr=0.3, final_lr=1e-4, schedule="exponential", warmup_steps=0, warmup_share=0.04)
    for num_steps, warmup in ((6, 0), (100, 4), (30000, 1200)):
        steps = TrainOptions(lr=0.3, final_lr=1e-4, schedule="exponential", warmup_steps=warmup)
        for step in (0, 1, 5, warmup, num_steps - 1):
            assert learning_rate(step, num_steps, share) == learning_rate(step, num_steps, steps)
    with pytest.raises(DataError, match="two ways of saying how long"):
        TrainOptions(warmup_steps=100, warmup_share=0.04)
    with pytest.raises(DataError, match=r"warmup_share 1\.0; one must not"):
        TrainOptions(warmup_steps=0, warmup_share=1.0)


def test_adagrad_divides_by_the_root_of_all_squares_so_far() -> None:
    """Duchi et al. 2011: with a constant gradient the n-th move is lr / sqrt(n)."""
    module = nn.Linear(1, 1, bias=False)
    update = build_optimizer(module, TrainOptions(optimizer="adagrad", lr=0.1, weight_decay=0.0))
    places = []
    for _ in range(6):
        places.append(float(module.weight.detach()))
        module.weight.grad = torch.full((1, 1), 3.0)
        update.step()
    assert -np.diff(places) == pytest.approx(0.1 / np.sqrt(np.arange(1, 6)), rel=1e-5)
