"""Which layers of a network have an output for every piece of time, and where in the recording each piece lies.

Told by the shapes alone, from two utterances of different length: so for any network. For layer_maps.py, full_grad.py.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from timbre.nnet.network import SpeakerNetwork
from timbre.utils.errors import DataError
from timbre.utils.spelling import did_you_mean

Map = NDArray[np.float32]

_MORE = 7 * 64  # frames that the second utterance has more: a multiple of the strides that networks have


@dataclass(frozen=True)
class LayerShape:
    """What the axes of a layer's output are, and which frames of the input its frames stand for.

    Args:
        time: axis of time
        channel: axis of the channels
        bins: axis of frequency; None: its channels see all frequencies (a TDNN)
        shift: input frames from one of its frames to the next
        first: input frame in the middle of its first one
    """

    time: int
    channel: int
    bins: int | None
    shift: float
    first: float

    def oriented(self, output: Tensor) -> Tensor:
        """OUTPUT of the layer for one utterance as (C, T', F'); F' is 1 where there is no axis of frequency."""
        axes = [self.channel, self.time, *([] if self.bins is None else [self.bins])]
        rest = [axis for axis in range(output.dim()) if axis not in axes]
        turned = output.permute(*axes, *rest).flatten(len(axes))[..., 0]
        return turned[..., None] if self.bins is None else turned

    def spread(self, values: Map, num_frames: int, num_bins: int) -> Map:
        """VALUES (T', F') interpolated linearly to (NUM_FRAMES, NUM_BINS); beyond its ends they stay as they are."""
        frames = self.first + self.shift * np.arange(len(values))
        columns = np.stack([np.interp(np.arange(num_frames), frames, column) for column in values.T], axis=1)
        width = num_bins / columns.shape[1]
        centers = width * (np.arange(columns.shape[1]) + 0.5) - 0.5
        rows = [np.interp(np.arange(num_bins), centers, row) for row in columns]
        return np.asarray(rows, np.float32)


def first_tensor(output: Any) -> Tensor | None:
    """OUTPUT of a module, or the first of several, if that is a tensor."""
    if isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None


@contextmanager
def hooked(network: nn.Module, hook: Callable[[str, nn.Module, Any], Any]) -> Iterator[None]:
    """HOOK(name, module, output) of every module of NETWORK when it has ended; what it returns replaces the output."""
    handles = [
        module.register_forward_hook(lambda module, _, output, name=name: hook(name, module, output))
        for name, module in network.named_modules()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def find_layers(network: SpeakerNetwork, num_frames: int) -> dict[str, LayerShape]:
    """The layers of NETWORK that have frames, by name, in the order in which they end; for inputs of NUM_FRAMES.

    Left out are layers that are called several times, and all where an utterance is cut into windows or segments.
    """
    short, long = (_sizes(network, size) for size in (num_frames, num_frames + _MORE))
    found = {name: _shape(sizes, long.get(name), num_frames) for name, sizes in short.items()}
    return {name: shape for name, shape in found.items() if shape is not None}


def choose_layer(network: SpeakerNetwork, layers: dict[str, LayerShape], name: str = "") -> str:
    """NAME, or, without one, the last of LAYERS in the trunk that has weights: what is pooled, planes as planes.

    Raises:
        DataError: there is none
    """
    if name:
        if name not in layers:
            known = [layer for layer in layers if layer.count(".") <= 2]
            listed = f"there are {', '.join(known[-12:])}, and layers in them" if known else "it has none with frames"
            raise DataError(f"layer '{name}' is none of the network{did_you_mean(name, list(layers))}; {listed}")
        return name
    modules = dict(network.named_modules())
    chosen = [one for one in layers if one.startswith("trunk.") and any(True for _ in modules[one].parameters())]
    if not chosen:
        raise DataError("no layer of the network has frames of the whole utterance, as its windows or segments have")
    return chosen[-1]


def _sizes(network: SpeakerNetwork, num_frames: int) -> dict[str, tuple[int, ...]]:
    """The sizes of the output of each module that is called once."""
    found: dict[str, tuple[int, ...]] = {}
    often: set[str] = set()

    def hook(name: str, module: nn.Module, output: Any) -> None:
        tensor = first_tensor(output)
        if name in found:
            often.add(name)
        if tensor is not None:
            found[name] = tuple(tensor.shape)

    device = next(network.parameters()).device
    feats = torch.randn(1, num_frames, network.feat_dim, generator=torch.Generator().manual_seed(0))
    with hooked(network, hook):
        network(feats.to(device))
    return {name: sizes for name, sizes in found.items() if name not in often}


def _shape(short: tuple[int, ...], long: tuple[int, ...] | None, num_frames: int) -> LayerShape | None:
    """Of outputs of sizes SHORT and LONG, of NUM_FRAMES and _MORE more; None if they are not channels of frames."""
    if long is None or len(long) != len(short) or len(short) not in (3, 4) or short[0] != 1:
        return None
    changed = [axis for axis, (before, after) in enumerate(zip(short, long, strict=True)) if before != after]
    if len(changed) != 1 or changed[0] < len(short) - 2:
        return None
    (time,) = changed
    shift = _MORE / (long[time] - short[time])
    lost = max(0.0, num_frames - shift * short[time])  # frames at the ends that are context alone
    first = lost / 2 + (shift - 1) / 2
    if len(short) == 3:
        return LayerShape(time, 3 - time, None, shift, first)
    bins = 5 - time
    return LayerShape(time, 1, bins if short[bins] > 1 else None, shift, first)
