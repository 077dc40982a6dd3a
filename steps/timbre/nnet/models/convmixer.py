"""ConvMixer on patches of the plane of frequency and time."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.layers import channels_last, frame_mask, zero_padding
from timbre.nnet.models.trunk import Trunk
from timbre.utils.errors import DataError


class ConvMixer(Trunk):
    """ConvMixer (Trockman and Kolter 2022, arXiv 2201.09792): patches, mixed in turn over the plane and over channels.

    A frame of the output is the mean over frequency of the patches of one patch of time. Frames and features that do
    not fill a patch are dropped.

    Args:
        feat_dim: feature dimension
        channels: width
        depth: number of blocks
        kernel: of the depth-wise convolutions, in patches of frequency and of time; odd
        patch: side of a patch, in features and in frames
    """

    def __init__(self, feat_dim: int, channels: int = 128, depth: int = 34, kernel: int = 9, patch: int = 7) -> None:
        super().__init__()
        if min(channels, depth, patch) < 1 or kernel < 1 or kernel % 2 == 0:
            raise DataError("ConvMixer: channels, depth, patch and kernel must be at least 1, kernel odd")
        if feat_dim < patch:
            raise DataError(f"ConvMixer: a patch is {patch} wide, the features only {feat_dim}")
        self.patch = patch
        self.stem = nn.Conv2d(1, channels, patch, patch)
        self.stem_norm = nn.BatchNorm2d(channels)
        self.blocks = nn.ModuleList(MixerBlock(channels, kernel) for _ in range(depth))
        self.output_dim, self.min_frames = channels, patch
        self.receptive_field = patch * (1 + depth * (kernel - 1))

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """FEATS (B, T, feat_dim) -> (B, channels, T / patch) and lengths likewise, rounded down."""
        lengths = None if lengths is None else lengths // self.patch
        # a copy: torch.compile cannot order the strides of a view whose sizes it does not know
        planes = self.stem(feats[:, None].transpose(2, 3).contiguous())
        # in this layout the gradient of a depth-wise convolution is 4 times as fast on a CPU
        planes = self.stem_norm(functional.gelu(channels_last(planes)))
        mask = frame_mask(lengths, planes.shape[3])
        for block in self.blocks:
            planes = block(zero_padding(planes, mask))
        return planes.mean(2, dtype=torch.float32), lengths


class MixerBlock(nn.Module):
    """Depth-wise convolution beside the identity, then one of single patches; GELU and BatchNorm after each."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.depthwise_norm = nn.BatchNorm2d(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1)
        self.pointwise_norm = nn.BatchNorm2d(channels)

    def forward(self, planes: Tensor) -> Tensor:
        """(B, channels, F, T), zero past the end -> the same size."""
        planes = planes + self.depthwise_norm(functional.gelu(self.mix(planes)))
        out: Tensor = self.pointwise_norm(functional.gelu(self.pointwise(planes)))
        return out

    def mix(self, planes: Tensor) -> Tensor:
        """The depth-wise convolution, on a CPU in float32: the gradient of its weights is 3 times as fast there."""
        if planes.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):
                out: Tensor = self.depthwise(planes.to(self.depthwise.weight.dtype))
        else:
            out = self.depthwise(planes)
        return out
