"""Parts of a model by name: what stays as it is (--freeze), and what learns at another rate (--lr-scale).

Used by start.py, on the TrainingModule of loop.py.
"""

from collections.abc import Iterable, Mapping

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from timbre.nnet.objectives.auxiliary import CenterLoss
from timbre.utils.errors import DataError
from timbre.utils.spelling import did_you_mean

NORMS = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)
KINDS = ("norms", "statistics")  # words for modules of a kind, of the whole or, after a dot, of a part


def freeze(module: nn.Module, names: Iterable[str]) -> None:
    """Takes the parts NAMES of MODULE out of training: no gradient, no weight decay, no constraint changes them.

    Running statistics of BatchNorm go on, unless NAMES say norms or statistics; centres that follow the embeddings
    of a frozen objective stay.

    Args:
        module: with the attributes network and objective
        names: as StartOptions says of `freeze`

    Raises:
        DataError: there is no such part, or nothing is left to train
    """
    for name in names:
        part, kind = find_part(module, name)
        for one in _of_kind(part, kind, name):
            if kind != "statistics":
                one.requires_grad_(False)
            if isinstance(one, _BatchNorm) and kind:
                _keep_in_evaluation(one)
        if not kind:
            for one in part.modules():
                if isinstance(one, CenterLoss):
                    _keep_in_evaluation(one)
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise DataError(f"freeze: {','.join(names)} is everything: nothing is left to train")


def scale_factors(module: nn.Module, factors: Mapping[str, float]) -> dict[nn.Parameter, float]:
    """The factor of each parameter of MODULE that the names of FACTORS cover; of several names, the narrowest counts.

    Raises:
        DataError: there is no such part
    """
    found: dict[nn.Parameter, tuple[int, float]] = {}
    for name, factor in factors.items():
        part, kind = find_part(module, name)
        if kind == "statistics":
            raise DataError(f"lr_scale: {name} are not learned")
        own = {one for each in _of_kind(part, kind, name) for one in each.parameters()}
        for parameter in own:
            if parameter not in found or len(own) < found[parameter][0]:
                found[parameter] = len(own), factor
    return {parameter: factor for parameter, (_, factor) in found.items()}


def is_trained(part: object) -> bool:
    """PART has weights that are trained, or none at all."""
    parameters = list(part.parameters()) if isinstance(part, nn.Module) else []
    return not parameters or any(parameter.requires_grad for parameter in parameters)


def find_part(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that NAME means in MODULE or in its network, and "norms", "statistics" or "" for all of it.

    Raises:
        DataError: there is none; with what may have been meant
    """
    modules = {path.removeprefix("network."): one for path, one in module.named_modules()}
    modules |= dict(module.named_modules())
    head, _, kind = name.rpartition(".")
    if kind in KINDS and head in modules:
        return modules[head], kind
    if not name or name not in modules:
        known = [*KINDS, *(path for path in modules if path)]
        raise DataError(f"the model has no part '{name}'{did_you_mean(name, known)} (network, objective, trunk, ...)")
    return modules[name], ""


def _of_kind(part: nn.Module, kind: str, name: str) -> list[nn.Module]:
    """PART, or the modules of KIND in it."""
    if not kind:
        if not any(True for _ in part.parameters()):
            raise DataError(f"'{name}' has no weights")
        return [part]
    kinds = NORMS if kind == "norms" else _BatchNorm
    found: list[nn.Module] = [one for one in part.modules() if isinstance(one, kinds)]
    if not found:
        raise DataError(f"'{name}': there is no layer of that kind")
    return found


def _keep_in_evaluation(module: nn.Module) -> None:
    """MODULE stays in evaluation mode whoever calls train() of what it is a part of."""
    module.eval()
    module.train = lambda mode=True: module  # type: ignore[method-assign]
