"""Augmentation on the device: the changes that crop_effects.py only drew, made for all examples of a batch at once.

front_end.py calls it, between the samples and their features. The result is that of the effects themselves to
two steps of 16 bits.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor

from timbre.egs.crop_effects import Changes

_FULL_SCALE = 32768.0
_FLOOR = 1e-4  # of effects/noise.py


@dataclass(frozen=True)
class DeviceChanges:
    """`Changes` as tensors: of G examples of a batch, all of one kind."""

    kind: str
    examples: Tensor
    values: Tensor
    factors: Tensor
    taps: Tensor
    relative: Tensor
    shifts: Tensor

    @classmethod
    def of(cls, changes: Changes, pinned: bool) -> Self:
        """The tensors of CHANGES, PINNED or not."""
        arrays = [getattr(changes, field.name) for field in fields(cls)[1:]]
        tensors = [torch.from_numpy(np.ascontiguousarray(array)) for array in arrays]
        return cls(changes.kind, *(tensor.pin_memory() if pinned else tensor for tensor in tensors))

    def to(self, device: torch.device) -> Self:
        """On DEVICE, without waiting."""
        tensors = [getattr(self, field.name) for field in fields(self)[1:]]
        return type(self)(self.kind, *(tensor.to(device, non_blocking=True) for tensor in tensors))


def make_changes(waves: Tensor, changes: Iterable[DeviceChanges]) -> Tensor:
    """WAVES (B, num_samples) int16 with CHANGES made one after the other: (B, num_samples) int16.

    What would exceed 16 bits is made softer as a whole, as audio_files.py's to_int16 does.
    """
    made = waves * (1 / _FULL_SCALE)
    for group in changes:
        values = group.values * group.factors[:, None]
        made = made.index_copy(0, group.examples, _KINDS[group.kind](made[group.examples], values, group))
    scaled = made * _FULL_SCALE
    peak = scaled.abs().amax(1, keepdim=True)
    scaled = scaled * torch.where(peak >= _FULL_SCALE + 0.5, (_FULL_SCALE - 1) / peak, 1.0)
    return scaled.round().clamp(-_FULL_SCALE, _FULL_SCALE - 1).short()


def _scale(waves: Tensor, values: Tensor, group: DeviceChanges) -> Tensor:
    return waves * values


def _add(waves: Tensor, values: Tensor, group: DeviceChanges) -> Tensor:
    level = (_power(waves) * _FULL_SCALE**2 + _FLOOR).sqrt()
    return waves + torch.where(group.relative[:, None], level, 1.0) * values


def _convolve(waves: Tensor, values: Tensor, group: DeviceChanges) -> Tensor:
    size, total = waves.shape[1], waves.shape[1] + values.shape[1] - 1
    length = _fast_length(total)
    spectrum = torch.fft.rfft(waves, length) * torch.fft.rfft(values, length)
    convolved: Tensor = torch.fft.irfft(spectrum, length)[:, :total]
    places = group.shifts[:, None] + torch.arange(size, device=waves.device)
    result = convolved.gather(1, places)
    # over the length of each convolution, beyond which there are zeros
    after = convolved.square().sum(1, keepdim=True) / (size + group.taps[:, None] - 1)
    gain = (_power(waves) / after).sqrt()
    return result * torch.where(group.relative[:, None] & (after > 0), gain, 1.0)


def _power(waves: Tensor) -> Tensor:
    return waves.square().mean(1, keepdim=True)


def _fast_length(size: int) -> int:
    """The next length that is quick to transform."""
    from scipy.fft import next_fast_len

    return int(next_fast_len(size, real=True))


_KINDS = {"scale": _scale, "add": _add, "convolve": _convolve}
