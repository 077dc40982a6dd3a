"""Convolutions whose kernel changes from one time bin to the next; the layers of tdy.py and vgg.py.

Planes here are (B, C, T, F), time before frequency, and lie in memory as (B, T, F, C), torch's channels_last: what
belongs to one time bin is then one block, and neither the mixing of kernels nor the attention has to copy anything.
"""

import torch
from torch import Tensor, nn

from timbre.nnet.layers import zero_padding
from timbre.nnet.scheduled import Scheduled
from timbre.utils.errors import DataError

Pair = tuple[int, int]  # of time and of frequency


def zero_bins(planes: Tensor, mask: Tensor | None) -> Tensor:
    """PLANES (B, C, T, F), zero where MASK (B, 1, T) is False."""
    return planes if mask is None else planes.masked_fill(~mask[..., None], 0)


def bins_to_frames(planes: Tensor) -> Tensor:
    """PLANES (B, C, T, F) -> frames (B, F * C, T), a view if PLANES are channels_last."""
    return planes.permute(0, 2, 3, 1).flatten(2).transpose(1, 2)


class TemporalAttention(nn.Module, Scheduled):
    """Weights of the basis kernels for each time bin: softmax over kernels of a bottleneck of all channels and bins.

    The temperature of the softmax falls linearly from its start to 1 over the first part of training: as long as it is
    high all basis kernels take part and so all are trained. (The authors lower it once an epoch, from 31 by 3.)

    Args:
        channels: channels times frequency bins of what it sees
        num_kernels: number of basis kernels
        kernel: bins of time that the convolution sees, so that there are as many weights as bins come out of it
        stride: its stride in time
        padding: its padding in time
        temperature: at the start of training
        annealing: share of training after which it is 1
    """

    def __init__(
        self,
        channels: int,
        num_kernels: int,
        kernel: int,
        stride: int,
        padding: int,
        temperature: float,
        annealing: float,
    ) -> None:
        super().__init__()
        if temperature < 1:
            raise DataError(f"TemporalAttention: temperature is {temperature}; it must be at least 1")
        if not 0 <= annealing <= 1:
            raise DataError(f"TemporalAttention: annealing is {annealing}; it must be a share, from 0 to 1")
        hidden = max(1, channels // 8)
        self.squeeze = nn.Conv1d(channels, hidden, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.score = nn.Conv1d(hidden, num_kernels, 3, padding=1)
        self.start, self.annealing = temperature, annealing
        self.temperature: Tensor
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def update(self, step: int, num_steps: int) -> None:
        """Sets the temperature of STEP."""
        last = self.annealing * (num_steps - 1)
        done = min(step / last, 1.0) if last > 0 else 1.0
        self.temperature.fill_(self.start + (1 - self.start) * done)

    def forward(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """PLANES (B, C, T, F), zero past the end, and the mask (B, 1, T') of what comes out -> (B, T', num_kernels)."""
        hidden = torch.relu_(self.norm(self.squeeze(bins_to_frames(planes))))
        scores = self.score(zero_padding(hidden, mask)).transpose(1, 2)
        weights: Tensor = (scores / self.temperature).softmax(2)
        return weights


class TemporalDynamicConvolution(nn.Module):
    """Convolution whose kernel is, in each time bin, a weighted mean of basis kernels (Kim et al., arXiv 2110.03213).

    One convolution applies all basis kernels; their outputs are then mixed. The kernels of a channel are neighbours, so
    that mixing is one product of a matrix (F' * channels, num_kernels) and a vector a time bin: it reads each output
    once and keeps nothing else. That is the fastest of the ways that tests/bench/bench_tdy.py measures.

    Args:
        in_channels: channels in
        out_channels: channels out
        num_bins: frequency bins in
        kernel: time and frequency bins of a kernel
        stride: of time and frequency
        padding: of time and frequency
        num_kernels: number of basis kernels; 1: an ordinary convolution, without attention
        temperature: of the attention's softmax at the start of training
        annealing: share of training after which it is 1
        bias: an offset of each channel, which an ordinary convolution may have
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        num_bins: int,
        kernel: Pair = (3, 3),
        stride: Pair = (1, 1),
        padding: Pair = (1, 1),
        num_kernels: int = 6,
        temperature: float = 31.0,
        annealing: float = 0.1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        if num_kernels < 1 or (bias and num_kernels > 1):
            raise DataError(f"TemporalDynamicConvolution: num_kernels is {num_kernels}; 1 or more, 1 with a bias")
        self.out_channels, self.num_kernels = out_channels, num_kernels
        self.basis = nn.Conv2d(in_channels, out_channels * num_kernels, kernel, stride, padding, bias=bias)
        self.attention = (
            TemporalAttention(
                in_channels * num_bins, num_kernels, kernel[0], stride[0], padding[0], temperature, annealing
            )
            if num_kernels > 1
            else None
        )

    def forward(self, planes: Tensor, mask: Tensor | None) -> Tensor:
        """PLANES (B, C, T, F), zero past the end, and the mask (B, 1, T') of what comes out -> (B, C', T', F')."""
        if self.attention is None:
            return self.convolved(planes)
        return self.mixed(planes, self.attention(planes, mask))

    def convolved(self, planes: Tensor) -> Tensor:
        """What all basis kernels make of PLANES; see channels_last for why not always in that layout."""
        if planes.device.type == "cpu" and planes.shape[1] % 16:
            planes = planes.contiguous()
        outputs: Tensor = self.basis(planes)
        return outputs

    def mixed(self, planes: Tensor, weights: Tensor) -> Tensor:
        """PLANES (B, C, T, F), and WEIGHTS (B, T', num_kernels) of the basis kernels -> (B, C', T', F')."""
        outputs = self.convolved(planes)
        columns = outputs.permute(0, 2, 3, 1).reshape(*weights.shape[:2], -1, self.num_kernels)
        mixed: Tensor = columns @ weights.to(columns.dtype)[..., None]
        return mixed.view(*weights.shape[:2], outputs.shape[3], self.out_channels).permute(0, 3, 1, 2)
