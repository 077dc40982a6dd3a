"""Class activation maps: of the outputs of a layer and the gradients there. Called by methods.py."""

from typing import Any

import torch
from torch import Tensor, nn

from timbre.explain.explained_score import PartScore
from timbre.explain.layer_shapes import LayerShape, first_tensor, hooked

_TINY = 1e-30


def layer_outputs(score: PartScore, name: str, shape: LayerShape) -> tuple[Tensor, Tensor]:
    """The outputs of layer NAME for the utterance, and d score / d outputs: (C, T', F') both.

    An activation that works in place on the output, as ours do, has been at work on it.
    """
    found: list[Tensor] = []

    def keep(which: str, module: nn.Module, output: Any) -> None:
        tensor = first_tensor(output) if which == name else None
        if tensor is not None:
            found.append(tensor)

    feats = score.inputs[None].detach().requires_grad_(True)
    with hooked(score.network, keep):
        value = score(feats).sum()
    (gradient,) = torch.autograd.grad(value, found[-1], allow_unused=True)
    if gradient is None:  # the layer has no say
        gradient = torch.zeros_like(found[-1])
    return shape.oriented(found[-1].detach()), shape.oriented(gradient)


def grad_cam(outputs: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) of OUTPUTS and GRADIENTS (C, T', F'): (T', F'), 0 or more."""
    weights = gradients.mean((1, 2), keepdim=True)
    return torch.relu((weights * outputs).sum(0))


def grad_cam_pp(outputs: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM++ (Chattopadhyay et al. 2018, arXiv 1710.11063), of the same; finite where gradients are 0."""
    outputs, gradients = outputs.double(), gradients.double()
    squares = gradients**2
    below = 2 * squares + (outputs * gradients**3).sum((1, 2), keepdim=True)
    shares = torch.where(below.abs() > _TINY, squares / torch.where(below.abs() > _TINY, below, 1.0), 0.0)
    weights = (shares * torch.relu(gradients)).sum((1, 2), keepdim=True)
    return torch.relu((weights * outputs).sum(0)).float()


def layer_cam(outputs: Tensor, gradients: Tensor) -> Tensor:
    """LayerCAM (Jiang et al. 2021; for speakers arXiv 2204.03852), of the same: a weight for each place of its own."""
    return torch.relu((torch.relu(gradients) * outputs).sum(0))
