"""Full-Grad: what the input and every bias of the network contribute. Called by methods.py.

Srinivas and Fleuret 2019, arXiv 1905.00780. A network of affine maps, ReLUs and means is affine around each input: what
it gives is the input times its gradient plus each bias times its own. BatchNorm in evaluation has an implicit bias,
offset - mean * scale / deviation.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from timbre.explain.explained_score import PartScore
from timbre.explain.layer_shapes import LayerShape, Map, hooked
from timbre.nnet.models.sequence import ChannelNorm

_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_AFFINE = (nn.Linear, nn.Conv1d, nn.Conv2d, *_NORMS, nn.LayerNorm)


class FullGradient(NamedTuple):
    """Of one utterance.

    Args:
        value: the score
        inputs: (T, F) input times gradient
        biases: of each layer, by its name, bias times gradient at its output
    """

    value: float
    inputs: Tensor
    biases: dict[str, Tensor]

    @property
    def total(self) -> float:
        """What all contribute: `value`, where the network is piecewise linear."""
        return float(self.inputs.double().sum() + sum(one.double().sum() for one in self.biases.values()))


def full_gradient(score: PartScore) -> FullGradient:
    """The contributions to SCORE, those of the objective's biases included.

    Layers whose biases are not those of affine maps or norms (LSTM) are not counted.
    """
    outputs: list[tuple[str, nn.Module, Tensor]] = []

    def keep(name: str, module: nn.Module, output: Any) -> Tensor | None:
        if not isinstance(module, _AFFINE) or bias_of(module) is None:
            return None
        outputs.append((name, module, output))
        changed: Tensor = output.clone()  # by what is done in place
        return changed

    feats = score.inputs[None].detach().requires_grad_(True)
    with hooked(score.network, keep), hooked(score.head or nn.Module(), keep):
        value = score(feats).sum()
    gradients = torch.autograd.grad(value, [feats, *(one for _, _, one in outputs)], allow_unused=True)
    biases: dict[str, Tensor] = {}
    for (name, module, _), gradient in zip(outputs, gradients[1:], strict=True):
        bias = bias_of(module)
        if gradient is not None and bias is not None:
            part = gradient * _along(bias, gradient, module)
            biases[name] = biases[name] + part if name in biases else part
    assert gradients[0] is not None
    return FullGradient(float(value.detach()), (feats.detach() * gradients[0])[0], biases)


def bias_of(module: nn.Module) -> Tensor | None:
    """(C,) what MODULE adds; None if nothing."""
    bias = module.bias if isinstance(module.bias, Tensor) else None
    if not isinstance(module, _NORMS):
        return bias
    assert module.running_mean is not None and module.running_var is not None
    scale = 1.0 if module.weight is None else module.weight
    implicit = -module.running_mean * scale / (module.running_var + module.eps).sqrt()
    return implicit if bias is None else bias + implicit


def full_grad_map(score: PartScore, layers: dict[str, LayerShape]) -> Map:
    """The map (T, F): |input times gradient|, and that of the biases of each layer that has frames, interpolated.

    Each of them is brought to between 0 and 1 first, and channels are added up, as the authors do.
    """
    found = full_gradient(score)
    result = _unit(found.inputs)
    for name, part in found.biases.items():
        if name in layers:
            summed = _unit(layers[name].oriented(part)).sum(0)
            spread = layers[name].spread(summed.cpu().numpy(), *result.shape)
            result = result + torch.from_numpy(spread).to(result)
    return np.asarray(result.float().cpu().numpy(), np.float32)


def _unit(part: Tensor) -> Tensor:
    part = part.detach().abs()
    part = part - part.min()
    return part / part.max().clamp(min=torch.finfo(part.dtype).tiny)


def _along(bias: Tensor, output: Tensor, module: nn.Module) -> Tensor:
    """BIAS (C,), or of the shape of a LayerNorm, so that it lies along the channels of OUTPUT of MODULE."""
    if isinstance(module, nn.Linear | nn.LayerNorm | ChannelNorm) or output.dim() == 2:
        return bias
    return bias.view(-1, *[1] * (output.dim() - 2))
