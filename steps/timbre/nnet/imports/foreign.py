"""A checkpoint of another toolkit: its weights under their names, and what a toolkit's module makes of them.

Modules of toolkits use Weights and Foreign; into_state brings the weights under our names. Nothing is executed.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from timbre.feats.options import FrameOptions
from timbre.nnet import checkpoint
from timbre.runtime.normalize import NormalizeOptions
from timbre.utils.errors import DataError

# keys that weights lie under
_HOLDERS = ("model_state", "model_state_dict", "state_dict", "model", "network", "net", "embedding_model")
_WRAPPERS = ("module.", "__S__.", "_orig_mod.")  # what names begin with after data-parallel or compiled training
_DEPTH = 4  # of tables in tables
_SHOWN = 8  # names in a message


Change = Callable[[Tensor], Tensor]
Rule = tuple[str, str] | tuple[str, str, Change]


def as_it_is(weight: Tensor) -> Tensor:
    """WEIGHT: the Change that is none."""
    return weight


class Weights(Mapping[str, Tensor]):
    """The tensors of a checkpoint by their names there, without the prefixes of wrappers.

    Attributes:
        path: the file
        settings: of the network, which some toolkits keep beside the weights (model_config); unchecked
    """

    def __init__(self, path: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any] | None = None) -> None:
        self.path, self._tensors, self.settings = path, dict(tensors), dict(settings or {})

    @classmethod
    def read(cls, path: Path) -> "Weights":
        """The weights in PATH, which may lie under a key such as state_dict.

        Raises:
            DataError: the file is damaged, is a pickle that would run code, or holds no weights
        """
        state: Any = checkpoint.load(path)
        settings = state.get("model_config")
        for _ in range(_DEPTH):
            state = next((state[name] for name in _HOLDERS if isinstance(state.get(name), dict)), state)
        tensors = {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}
        if not tensors:
            raise DataError("holds no weights: a checkpoint is a table of names and tensors", path)
        if bad := [name for name, value in tensors.items() if not _is_plain(value)]:
            raise DataError(f"not plain tables of numbers: {listed(bad)}", path)
        if bad := [name for name, value in tensors.items() if value.nbytes > value.untyped_storage().nbytes()]:
            raise DataError(f"weights of more numbers than the file holds: {listed(bad)}", path)
        if bad := [name for name, value in tensors.items() if value.is_floating_point() and not value.isfinite().all()]:
            raise DataError(f"weights that are not finite: {listed(bad)}", path)
        while prefix := next((one for one in _WRAPPERS if any(name.startswith(one) for name in tensors)), None):
            renamed = {name.removeprefix(prefix): value for name, value in tensors.items()}
            if len(renamed) < len(tensors):
                raise DataError(f"has the same weight with and without '{prefix}'", path)
            tensors = renamed
        return cls(path, tensors, settings if isinstance(settings, dict) else None)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def size(self, name: str, axis: int = 0) -> int:
        """The size along AXIS of the weight NAME, by which a network is told from others.

        Raises:
            DataError: there is no such weight, or it has no such axis
        """
        if name not in self._tensors:
            raise DataError(f"is not of that toolkit, or not whole: it has no '{name}'", self.path)
        shape = self._tensors[name].shape
        if axis >= len(shape):
            raise DataError(f"'{name}' has the shape {tuple(shape)}: not that of the toolkit", self.path)
        return shape[axis]

    def count(self, pattern: str) -> int:
        """How many different first groups PATTERN has among the names: blocks of a stage, say."""
        return len({found[1] for name in self if (found := re.match(pattern, name))})


@dataclass(frozen=True)
class Foreign:
    """What a toolkit's module has made out.

    Args:
        network: as conf/network/*.yaml, for build_network
        feat_dim: feature dimension
        feats: the features that it was trained on
        feats_name: name of their YAML file, such as melspec40_resemblyzer; it begins with the kind
        normalize: their normalisation
        rules: (pattern, replacement), as of re.sub, for whole names of weights: the first that matches gives our name;
            with a third part, what is done to the weight
        unused: patterns of whole names that are of no use after training: classifiers, counters of the loss
        changed: weights that are more than renamed, under our names; their sources are among `unused`
    """

    network: dict[str, Any]
    feat_dim: int
    feats: FrameOptions
    feats_name: str
    normalize: NormalizeOptions
    rules: Sequence[Rule]
    unused: Sequence[str] = ()
    changed: Mapping[str, Tensor] = field(default_factory=dict)


def into_state(weights: Weights, foreign: Foreign, network: nn.Module) -> dict[str, Tensor]:
    """The state of NETWORK out of WEIGHTS. Shapes may differ by axes of size 1.

    Raises:
        DataError: names that no rule knows, weights that are missing, or of another shape: all are listed
    """
    wanted = network.state_dict()
    state: dict[str, Tensor] = {}
    unknown: list[str] = []
    shapes: list[str] = []
    for source, name, value in _renamed(weights, foreign):
        if name not in wanted:
            unknown.append(source)
        elif _core(value) != _core(wanted[name]):
            shapes.append(f"{source} {tuple(value.shape)} instead of {tuple(wanted[name].shape)}")
        else:
            state[name] = value.reshape(wanted[name].shape).to(wanted[name].dtype).clone()
    left = [name for name in wanted if name not in state and not any(name in shape for shape in shapes)]
    for name in [name for name in left if name.endswith("num_batches_tracked")]:
        state[name] = torch.zeros_like(wanted[name])  # old checkpoints have none, and evaluation needs none
    missing = [name for name in left if name not in state]
    problems = [
        f"{len(names)} {what}: {listed(names)}"
        for what, names in (("unknown", unknown), ("of another shape", shapes), ("missing", [] if shapes else missing))
        if names
    ]
    if problems:
        raise DataError(f"does not fit; of its weights are {'; '.join(problems)}", weights.path)
    return {name: state[name] for name in wanted}


def _renamed(weights: Weights, foreign: Foreign) -> Iterator[tuple[str, str, Tensor]]:
    """(name there, our name, value) of all that is not unused."""
    for name, value in weights.items():
        if any(re.fullmatch(pattern, name) for pattern in foreign.unused):
            continue
        rule = next((rule for rule in foreign.rules if re.fullmatch(rule[0], name)), None)
        for change in rule[2:] if rule else ():
            with suppress(RuntimeError, IndexError):  # of another shape, which is told then
                value = change(value)
        yield name, re.sub(rule[0], rule[1], name) if rule else "", value
    for name, value in foreign.changed.items():
        yield name, name, value


def _is_plain(value: Tensor) -> bool:
    dense = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
    return dense and not value.is_complex() and value.numel() > 0


def _core(value: Tensor) -> list[int]:
    return [size for size in value.shape if size != 1]


def listed(names: Sequence[str]) -> str:
    """The first of NAMES, for a message."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
