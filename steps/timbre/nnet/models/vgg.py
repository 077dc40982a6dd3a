"""VGG-M on the plane of time and frequency, with ordinary or temporal dynamic convolutions."""

from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from timbre.nnet.layers import channels_last, frame_mask
from timbre.nnet.models.tdy_convolution import Pair, TemporalDynamicConvolution, bins_to_frames, zero_bins
from timbre.nnet.models.trunk import Trunk
from timbre.utils.errors import DataError

Size = TypeVar("Size", int, Tensor)


class Window(NamedTuple):
    """What a convolution or a pooling sees, each of time and of frequency."""

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    def number(self, size: Size, axis: int) -> Size:
        """How many windows there are along AXIS (0: time) of SIZE bins."""
        return (size + 2 * self.padding[axis] - self.kernel[axis]) // self.stride[axis] + 1

    def span(self, count: int) -> int:
        """How many bins of time COUNT windows need."""
        return (count - 1) * self.stride[0] + self.kernel[0] - 2 * self.padding[0]


# The convolutions but the last, each with the pooling after it.
_LAYERS = (
    (Window((7, 5), (2, 1), (2, 2)), Window((3, 1), (2, 1))),
    (Window((5, 5), (2, 2), (1, 1)), Window((3, 3), (2, 2))),
    (Window((3, 3), (1, 1), (1, 1)), None),
    (Window((3, 3), (1, 1), (1, 1)), None),
    (Window((3, 3), (1, 1), (1, 1)), Window((3, 3), (2, 2))),
)


class VggM(Trunk):
    """VGG-M for speech (Nagrani et al. 2017, arXiv 1706.08612) as voxceleb_trainer sizes it for mel bins; TDY-VGG-M.

    Five convolutions and, where VGG has its first fully connected layer, one over all frequencies that are left. What
    comes out has a frame for every 32 of the input. With several basis kernels all convolutions but the first are
    temporal dynamic ones (Kim et al., arXiv 2110.03213).

    Args:
        feat_dim: feature dimension
        channels: outputs of each convolution
        num_kernels: basis kernels of a convolution; 1: ordinary ones
        temperature: of the softmax that weights them, at the start of training; it falls to 1
        annealing: share of training that it takes to fall (the authors: 10 of 300 epochs)
    """

    def __init__(
        self,
        feat_dim: int,
        channels: tuple[int, ...] = (96, 256, 384, 256, 256, 512),
        num_kernels: int = 1,
        temperature: float = 31.0,
        annealing: float = 0.1,
    ) -> None:
        super().__init__()
        if len(channels) != len(_LAYERS) + 1:
            raise DataError(f"VggM: {len(channels)} channels for {len(_LAYERS) + 1} convolutions")
        num_bins = feat_dim
        for window in (window for layer in _LAYERS for window in layer if window is not None):
            num_bins = window.number(num_bins, 1)
        if num_bins < 1:
            raise DataError(f"VggM: feat_dim is {feat_dim}, too few for the poolings")
        layers = (*_LAYERS, (Window((1, num_bins)), None))
        mixing = (num_kernels, temperature, annealing)
        self.layers = nn.ModuleList()
        inputs, num_bins, jump, field = 1, feat_dim, 1, 1
        for (window, pool), outputs in zip(layers, channels, strict=True):
            kernels = mixing if self.layers else (1, temperature, annealing)
            convolution = TemporalDynamicConvolution(inputs, outputs, num_bins, *window, *kernels, bias=not self.layers)
            self.layers.append(VggLayer(convolution, outputs, window, pool))
            field, jump = field + jump * (window.kernel[0] - 1), jump * window.stride[0]
            field += 2 * jump * (kernels[0] > 1)  # of the attention's second layer
            inputs, num_bins = outputs, window.number(num_bins, 1)
            if pool is not None:
                field, jump = field + jump * (pool.kernel[0] - 1), jump * pool.stride[0]
                num_bins = pool.number(num_bins, 1)
        self.output_dim, self.receptive_field = inputs, field
        self.min_frames = 1
        for window in (window for layer in reversed(layers) for window in reversed(layer) if window is not None):
            self.min_frames = window.span(self.min_frames)

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """FEATS (B, T, feat_dim) -> (B, output_dim, about T / 32) and lengths likewise."""
        planes = zero_bins(feats[:, None], frame_mask(lengths, feats.shape[1]))
        for layer in self.layers:
            planes, lengths = layer(planes, lengths)
        return bins_to_frames(planes), lengths


class VggLayer(nn.Module):
    """Convolution, BatchNorm, maximum if there is a POOL, and ReLU. Planes come and go with zeros past the end."""

    def __init__(
        self, convolution: TemporalDynamicConvolution, channels: int, window: Window, pool: Window | None
    ) -> None:
        super().__init__()
        self.window, self.pool_window = window, pool
        self.convolution, self.norm = convolution, nn.BatchNorm2d(channels)
        self.pool = nn.Identity() if pool is None else nn.MaxPool2d(pool.kernel, pool.stride)

    def forward(self, planes: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(B, C, T, F) -> (B, C', T', F') and lengths likewise."""
        num_bins = self.window.number(planes.shape[2], 0)
        lengths = None if lengths is None else self.window.number(lengths, 0)
        planes = self.convolution(planes, frame_mask(lengths, num_bins))
        # ReLU after the maximum gives the same as before it, and has fewer bins to do
        planes = torch.relu_(self.pool(self.norm(channels_last(planes))))
        if self.pool_window is not None and lengths is not None:
            lengths = self.pool_window.number(lengths, 0)
        return zero_bins(planes, frame_mask(lengths, planes.shape[2])), lengths
