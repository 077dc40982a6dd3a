"""SpecAugment: bands of frequency and stretches of time masked out of the features of an example (Park et al. 2019).

For training; each example draws its own masks. The seed of the generator makes it repeatable, as for the effects on
waveforms (audio/effects/base.py: generator). The reader of egs draws the masks of a batch (`draw_masks`), and
nnet/front_end.py applies them on the device.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from timbre.feats.options import require


@dataclass(frozen=True)
class SpecAugmentOptions:
    """How much is masked; the defaults are those of ECAPA-TDNN's recipes (one mask of each kind).

    Args:
        freq_masks: number of masks over frequency
        max_bins: widest of them, in bins; widths are uniform from 0 on
        time_masks: number of masks over time
        max_frames: widest of them, in frames
        max_share: widest of them as a share of the example
        fill: what stands in a mask: "zero" (the mean, of normalised features) or the "mean" of the example
    """

    freq_masks: int = 1
    max_bins: int = 7
    time_masks: int = 1
    max_frames: int = 9
    max_share: float = 1.0
    fill: Literal["zero", "mean"] = "zero"

    def __post_init__(self) -> None:
        amounts = (self.freq_masks, self.max_bins, self.time_masks, self.max_frames)
        require(min(amounts) >= 0, f"SpecAugment: numbers of masks and widths must not be below 0, not {amounts}")
        require(0 <= self.max_share <= 1, f"SpecAugment: max_share is {self.max_share}; it must be from 0 to 1")


def spec_augment(
    feats: NDArray[np.float32], options: SpecAugmentOptions, rng: np.random.Generator
) -> NDArray[np.float32]:
    """FEATS (num_frames, num_bins) of one example with masks; those given stay as they are."""
    frames, bins = feats.shape
    masked = feats.copy()
    value = np.float32(feats.mean()) if options.fill == "mean" and feats.size else np.float32(0)
    widest = min(options.max_frames, int(options.max_share * frames))
    for _ in range(options.freq_masks):
        masked[:, _mask(bins, options.max_bins, rng)] = value
    for _ in range(options.time_masks):
        masked[_mask(frames, widest, rng)] = value
    return masked


def draw_masks(
    options: SpecAugmentOptions, number: int, frames: int, bins: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Masks as `spec_augment` draws them, for NUMBER examples of one size at once.

    Returns:
        (number, freq_masks + time_masks, 2): first and last (exclusive) bin of each mask over frequency, then first and
            last frame of each over time
    """
    widest = min(options.max_bins, bins), min(options.max_frames, int(options.max_share * frames), frames)
    repeats = options.freq_masks, options.time_masks
    size = np.repeat((bins, frames), repeats)
    width = rng.integers(0, np.repeat(widest, repeats), (number, sum(repeats)), endpoint=True)
    start = rng.integers(0, size - width, endpoint=True)
    return np.stack((start, start + width), 2).astype(np.int32)


def _mask(size: int, widest: int, rng: np.random.Generator) -> slice:
    """Uniform in width from 0 to WIDEST, then uniform in place."""
    width = int(rng.integers(0, min(widest, size) + 1))
    start = int(rng.integers(0, size - width + 1))
    return slice(start, start + width)
