"""What the attentions inside a network do with one utterance. Called by plot_attention.py."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from timbre.datadir.ark import ArkWriter
from timbre.nnet.models.iskconvnet import BranchAttention
from timbre.nnet.models.tdy_convolution import TemporalAttention
from timbre.nnet.network import SpeakerNetwork
from timbre.nnet.pooling import Pooling
from timbre.utils.errors import DataError

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Attentions:
    """Of one utterance, by layer: kernels, weights (T, K) of the basis kernels of a temporal dynamic convolution, of
    sum 1 for each time bin; branches, (B, C) of the branches of a selective kernel convolution, of sum 1 for each
    channel; poolings, (N, T) of a pooling, of sum 1 for each of N attentions."""

    kernels: dict[str, Floats]
    branches: dict[str, Floats]
    poolings: dict[str, Floats]


def attentions(network: SpeakerNetwork, feats: NDArray[np.float32]) -> Attentions:
    """Those of NETWORK, in evaluation mode, on the normalised FEATS (num_frames, feat_dim) of an utterance.

    Raises:
        DataError: there is no attention of these kinds in it; too few features
    """
    if len(feats) < network.min_frames:
        raise DataError(f"{len(feats)} frames of features; the network takes {network.min_frames} or more")
    kernels: dict[str, Floats] = {}
    branches: dict[str, Floats] = {}

    def note(name: str, into: dict[str, Floats]) -> Any:
        def hook(module: nn.Module, given: Any, weights: Tensor) -> None:
            into[name] = weights[0].float().numpy()

        return hook

    hooks = []
    for name, module in network.trunk.named_modules():
        for kind, into in ((TemporalAttention, kernels), (BranchAttention, branches)):
            if isinstance(module, kind):
                hooks.append(module.register_forward_hook(note(name.removesuffix(".attention"), into)))
    poolings: dict[str, Floats] = {}
    try:
        with torch.inference_mode():
            stages = network.frames(torch.from_numpy(feats)[None])
            for number, (pooling, (frames, _)) in enumerate(zip(network.poolings, stages, strict=True), 1):
                assert isinstance(pooling, Pooling)
                weights = pooling.weights(frames, None)
                if weights is not None:
                    poolings[f"pooling_{number}" if len(stages) > 1 else "pooling"] = weights[0].float().numpy()
    finally:
        for handle in hooks:
            handle.remove()
    if not (kernels or branches or poolings):
        raise DataError("the network has neither dynamic nor selective convolutions, nor an attentive pooling")
    return Attentions(kernels, branches, poolings)


def bin_seconds(count: int, seconds: Floats) -> Floats:
    """(COUNT,) seconds of the bins of a layer, evenly over the features that are at SECONDS (N,)."""
    places = (np.arange(count) + 0.5) * len(seconds) / count - 0.5
    return np.interp(places, np.arange(len(seconds)), seconds)


def spread(names: list[str], count: int) -> list[str]:
    """COUNT of NAMES, evenly from the first to the last."""
    places = np.linspace(0, len(names) - 1, min(count, len(names)))
    return [names[round(place)] for place in places]


def save_weights(path: Path, found: Attentions) -> None:
    """Writes all weights of FOUND into the ark PATH, by the names of their layers."""
    with ArkWriter(path) as ark:
        for name, weights in (found.kernels | found.branches | found.poolings).items():
            ark.write(name, weights)
