"""Maps over the features themselves: gradient, integrated gradients, occlusion. Called by methods.py."""

import numpy as np
import torch
from torch import Tensor

from timbre.explain.explained_score import PartScore
from timbre.explain.layer_shapes import Map
from timbre.explain.time_cells import Cells

_FRAMES = 6000  # in the steps of integrated gradients that are taken at a time


def input_gradient(score: PartScore, feats: Tensor) -> Tensor:
    """d score / d feats at each of FEATS (B, T, F): (B, T, F)."""
    feats = feats.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(feats).sum(), feats)
    return gradient


def gradient_map(score: PartScore) -> Map:
    """|d score / d feats| (Simonyan et al. 2014, arXiv 1312.6034): how much a small change would change it."""
    result: Map = input_gradient(score, score.inputs[None])[0].abs().float().cpu().numpy()
    return result


def integrated_gradients(score: PartScore, num_steps: int = 64) -> Map:
    """Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365) from the mean frame repeated, by midpoints.

    The values add up to the score less that of the mean frames, up to the error of NUM_STEPS steps.
    """
    inputs = score.inputs
    start = score.neutral.expand_as(inputs)
    total = torch.zeros_like(inputs)
    shares = (torch.arange(num_steps, device=inputs.device) + 0.5) / num_steps
    for batch in torch.split(shares, max(1, _FRAMES // len(inputs))):
        total += input_gradient(score, start + batch[:, None, None] * (inputs - start)).sum(0)
    result: Map = ((inputs - start) * total / num_steps).float().cpu().numpy()
    return result


def occlusion(score: PartScore, cells: Cells) -> Map:
    """By how much the score falls without each cell, which the mean frame stands for (Zeiler and Fergus 2014)."""
    inputs, neutral = score.inputs, score.neutral
    numbers = torch.from_numpy(cells.numbers).to(inputs.device)
    falls = [
        score.values(torch.where(numbers == cell_numbers[:, None, None], neutral, inputs))
        for cell_numbers in torch.split(torch.arange(int(numbers.max()) + 1, device=inputs.device), 64)
    ]
    whole = score.values(inputs[None])
    return cells.filled(whole - np.concatenate(falls))
