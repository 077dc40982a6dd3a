"""VGG-M, and networks of temporal dynamic convolutions as their authors mix them. peers.py calls it.

Planes are (B, C, F, T).
"""

import torch
from peers_parts import Mean, Plain
from peers_planes import R34, SMALL, conv_norm, make_stages, trunk
from torch import Tensor, nn

KERNELS, TEMPERATURE = 6, 31.0
Pair = tuple[int, int]  # of frequency and of time


class TemporalDynamic(nn.Module):
    """One convolution with all basis kernels, whose outputs are summed with weights of each time bin.

    Args:
        inputs: channels in
        outputs: channels out
        bins: frequency bins in
        kernel: of frequency and time
        stride: likewise
        padding: likewise
    """

    def __init__(self, inputs: int, outputs: int, bins: int, kernel: Pair, stride: Pair, padding: Pair) -> None:
        super().__init__()
        self.basis = nn.Conv2d(inputs, KERNELS * outputs, kernel, stride, padding, bias=False)
        hidden = inputs * bins // 8
        self.attention = nn.Sequential(
            nn.Conv1d(inputs * bins, hidden, kernel[1], stride[1], padding[1], bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Conv1d(hidden, KERNELS, 3, padding=1),
        )

    def forward(self, planes: Tensor) -> Tensor:
        """Planes to planes."""
        weights = torch.softmax(self.attention(planes.flatten(1, 2)) / TEMPERATURE, 1)
        outputs = self.basis(planes).unflatten(1, (KERNELS, -1))
        return torch.einsum("bkcft,bkt->bcft", outputs, weights.to(outputs.dtype))


class DynamicBasic(nn.Module):
    """The residual block of dynamic convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int, bins: int) -> None:
        super().__init__()
        halved = -(-bins // stride)
        self.body = nn.Sequential(
            TemporalDynamic(inputs, outputs, bins, (3, 3), (stride, stride), (1, 1)),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            TemporalDynamic(outputs, outputs, halved, (3, 3), (1, 1), (1, 1)),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                TemporalDynamic(inputs, outputs, bins, (1, 1), (stride, stride), (0, 0)), nn.BatchNorm2d(outputs)
            )

    def forward(self, planes: Tensor) -> Tensor:
        """Planes to planes."""
        return torch.relu(self.body(planes) + self.shortcut(planes))


def tdy_resnet(feat_dim: int) -> nn.Module:
    """tdy_resnet34_025."""
    bins = -(-feat_dim // 2)

    def make(inputs: int, width: int, stride: int) -> nn.Module:
        nonlocal bins
        block = DynamicBasic(inputs, width, stride, bins)
        bins = -(-bins // stride)
        return block

    stages = make_stages(make, 16, SMALL, R34, (1, 2, 2, 1))
    frames = nn.Sequential(nn.InstanceNorm1d(feat_dim), trunk([*conv_norm(1, 16, 7, (2, 1)), nn.ReLU()], stages))
    return Plain(feat_dim, frames, Mean(), nn.LazyLinear(512))


def vgg_m(feat_dim: int, dynamic: bool) -> nn.Module:
    """vgg_m and tdy_vgg_m."""
    pools: list[tuple[Pair, Pair] | None] = [((1, 3), (1, 2)), ((3, 3), (2, 2)), None, None, ((3, 3), (2, 2))]
    shapes = [((5, 7), (1, 2), (2, 2)), ((5, 5), (2, 2), (1, 1)), *[((3, 3), (1, 1), (1, 1))] * 3]
    layers: list[nn.Module] = []
    inputs, bins = 1, feat_dim
    for outputs, (kernel, stride, padding), pool in zip((96, 256, 384, 256, 256), shapes, pools, strict=True):
        if dynamic and layers:
            layers.append(TemporalDynamic(inputs, outputs, bins, kernel, stride, padding))
        else:
            layers.append(nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=not layers))
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
        inputs, bins = outputs, (bins + 2 * padding[0] - kernel[0]) // stride[0] + 1
        if pool is not None:
            layers.append(nn.MaxPool2d(*pool))
            bins = (bins - pool[0][0]) // pool[1][0] + 1
    last = (256, 512, (bins, 1), (1, 1), (0, 0))
    layers.append(TemporalDynamic(*last[:2], bins, *last[2:]) if dynamic else nn.Conv2d(*last, bias=False))
    layers += [nn.BatchNorm2d(512), nn.ReLU()]
    frames = nn.Sequential(nn.InstanceNorm1d(feat_dim), trunk(layers, ()))
    return Plain(feat_dim, frames, Mean(), nn.LazyLinear(512))
