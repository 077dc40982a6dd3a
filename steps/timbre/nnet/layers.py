"""What trunks and poolings are made of: masks over the frames of padded batches, and the affine-ReLU-BatchNorm layer.

Masks are (B, 1, T) bool, True on real frames; None means that every utterance is full length, and then masking costs
nothing: training goes that way.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional


@contextmanager
def whole_float32() -> Iterator[None]:
    """Products of float32 matrices keep all their digits here, whatever the trainer allows elsewhere (TF32)."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def frame_mask(lengths: Tensor | None, num_frames: int) -> Tensor | None:
    """The mask (B, 1, T) of a batch padded to T = NUM_FRAMES, for LENGTHS (B,)."""
    if lengths is None:
        return None
    return (torch.arange(num_frames, device=lengths.device) < lengths[:, None])[:, None]


def zero_padding(frames: Tensor, mask: Tensor | None) -> Tensor:
    """FRAMES (B, C, T) or (B, C, F, T), zero where MASK is False: what a 'same' convolution finds past the end."""
    if mask is None:
        return frames
    return frames.masked_fill(~(mask if frames.dim() == 3 else mask[:, None]), 0)


def reflect_ends(frames: Tensor, mask: Tensor | None, width: int) -> Tensor:
    """FRAMES (B, C, T) with WIDTH frames more at both ends of each utterance, mirrored around its first and last one.

    Every utterance has more than WIDTH frames. What lies past the end of shorter ones is of no meaning: (B, C, T + 2
    WIDTH).
    """
    if mask is None:
        return functional.pad(frames, (width, width), mode="reflect")
    size, last = frames.shape[2], mask.sum(2) - 1
    place = torch.arange(-width, size + width, device=frames.device).abs()
    index = torch.where(place > last, 2 * last - place, place).clamp(0, size - 1)
    return frames.gather(2, index[:, None].expand(-1, frames.shape[1], -1))


def masked_mean(frames: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the real frames of FRAMES (B, C, T) -> (B, C) float32."""
    if mask is None:
        return frames.mean(2, dtype=torch.float32)
    return zero_padding(frames, mask).sum(2, dtype=torch.float32) / mask.sum(2)


def plane_means(planes: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over frequencies and real frames of PLANES (B, C, F, T) -> (B, C)."""
    # not mean(): its gradient comes in another memory layout than the planes
    means = functional.adaptive_avg_pool2d(zero_padding(planes, mask), 1)[:, :, 0, 0]
    return means if mask is None else means * (planes.shape[3] / mask.sum(2))


def mean_and_std(
    frames: Tensor, mask: Tensor | None, variance_floor: float, unbiased: bool = False
) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over the real frames of FRAMES (B, C, T) -> two of (B, C) float32.

    In two passes, since E[x^2] - E[x]^2 loses half of the digits in float32; the second is a norm, whose gradient is
    cheaper than that of squares, and 0 where all frames are equal.

    Args:
        frames: (B, C, T)
        mask: of the real frames
        variance_floor: least variance of the biased deviation; the unbiased one has it added
        unbiased: by one frame less than there are
    """
    mean = masked_mean(frames, mask)
    count = frames.shape[2] if mask is None else mask.sum(2)
    norm = torch.linalg.vector_norm(zero_padding(frames - mean[:, :, None], mask), dim=2)
    if not unbiased:
        return mean, (norm / count**0.5).clamp(min=variance_floor**0.5)
    std = norm / (count - 1 + (count == 1)) ** 0.5  # one frame has no deviation: any divisor but 0 will do
    return mean, (std.square() + variance_floor).sqrt() if variance_floor else std


def normalize_instances(feats: Tensor, lengths: Tensor | None) -> Tensor:
    """FEATS (B, T, F) with mean 0 and variance 1 over the real frames of each utterance, float32."""
    with torch.autocast(feats.device.type, enabled=False):
        frames = feats.float().transpose(1, 2)
        mean, std = mean_and_std(frames, frame_mask(lengths, frames.shape[2]), 1e-5)
        return ((frames - mean[:, :, None]) / std[:, :, None]).transpose(1, 2)


def strided(lengths: Tensor | None, stride: int) -> Tensor | None:
    """Lengths after a convolution with 'same' padding and STRIDE: rounded up."""
    return None if lengths is None else -(-lengths // stride)


def channels_last(planes: Tensor) -> Tensor:
    """PLANES (B, C, H, W) in torch's channels_last layout, in which 2-d convolutions and BatchNorm are faster.

    On a CPU only if C is a multiple of 16: the backward of oneDNN's strided 1x1 convolution of 8 such channels writes
    where it must not (torch 2.11), and the process dies.
    """
    if planes.device.type == "cpu" and planes.shape[1] % 16:
        return planes
    return planes.contiguous(memory_format=torch.channels_last)


class TdnnLayer(nn.Module):
    """Affine map of spliced frames, then ReLU, then BatchNorm: a 1-d convolution over time.

    Args:
        in_channels: channels in
        out_channels: channels out
        kernel: number of frames spliced
        dilation: distance between them, in frames
        same: zeros around the utterance so that it keeps its length; otherwise dilation * (kernel - 1) frames are lost
        affine_norm: BatchNorm has a scale and an offset of its own
        reflect: with `same`, mirrored frames instead of zeros
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int = 1,
        dilation: int = 1,
        same: bool = False,
        affine_norm: bool = True,
        reflect: bool = False,
    ) -> None:
        super().__init__()
        padding = dilation * (kernel - 1) // 2 if same else 0
        self.mirrored = padding if reflect else 0
        padding -= self.mirrored
        self.affine = nn.Conv1d(in_channels, out_channels, kernel, dilation=dilation, padding=padding)
        self.norm = nn.BatchNorm1d(out_channels, affine=affine_norm)

    def forward(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, C, T) -> (B, C', T'); with 'same' padding the caller zeroes the frames past the end first.

        MASK tells where that is if frames are mirrored there.
        """
        if self.mirrored:
            frames = reflect_ends(frames, mask, self.mirrored)
        out: Tensor = self.norm(torch.relu_(self.affine(frames)))
        return out


class SqueezeExcitation(nn.Module):
    """Each channel scaled by what the means of all channels over the utterance say (arXiv 1709.01507).

    Args:
        channels: channels in and out
        bottleneck: hidden size of the gate
    """

    def __init__(self, channels: int, bottleneck: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(channels, bottleneck), nn.ReLU(), nn.Linear(bottleneck, channels), nn.Sigmoid()
        )

    def forward(self, frames: Tensor, mask: Tensor | None) -> Tensor:
        """(B, channels, T), or planes (B, channels, F, T) -> the same."""
        if frames.dim() == 3:
            gate: Tensor = self.gate(masked_mean(frames, mask))
            return frames * gate[:, :, None]
        gate = self.gate(plane_means(frames, mask))
        return frames * gate[:, :, None, None]
