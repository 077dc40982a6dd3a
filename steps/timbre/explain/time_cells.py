"""Blocks of time and bands of frequency: the cells in which features are taken away. For occlusion and faithfulness."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from timbre.explain.layer_shapes import Map
from timbre.utils.errors import DataError

LEAST_MS = 100.0  # less than a tenth of a second is no piece of speech: what is left sounds like noise to a network


@dataclass(frozen=True)
class CellOptions:
    """What is taken away at a time.

    Args:
        block_ms: milliseconds, at least 100
        num_bands: bands of frequency, of as many bins each as can be
    """

    block_ms: float = 100.0
    num_bands: int = 8

    def __post_init__(self) -> None:
        if not LEAST_MS <= self.block_ms < 1e6:
            raise DataError(f"block_ms is {self.block_ms:g}; it must be at least {LEAST_MS:g}")
        if self.num_bands < 1:
            raise DataError(f"num_bands is {self.num_bands}; it must be at least 1")


@dataclass(frozen=True)
class Cells:
    """The cells of (num_frames, num_bins): times (N + 1,) and bands (M + 1,), the edges of N x M of them."""

    times: NDArray[np.int64]
    bands: NDArray[np.int64]

    @classmethod
    def of(cls, num_frames: int, num_bins: int, options: CellOptions, frame_shift: float, utt: str) -> "Cells":
        """Those of NUM_FRAMES frames, FRAME_SHIFT seconds apart, of UTT; no block is shorter than asked for.

        Raises:
            DataError: there are fewer frames than a block has, or fewer bins than bands
        """
        size = int(np.ceil(options.block_ms / 1000 / frame_shift - 1e-9))
        if num_frames < size:
            raise DataError(f"utterance {utt}: {num_frames} frames are less than a block of {size}")
        if num_bins < options.num_bands:
            raise DataError(f"utterance {utt}: {num_bins} bins do not make {options.num_bands} bands")
        edges = (np.linspace(0, total, count + 1) for total, count in (
            (num_frames, num_frames // size), (num_bins, options.num_bands)))  # fmt: skip
        return cls(*(np.floor(one + 1e-9).astype(np.int64) for one in edges))

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        return len(self.times) - 1, len(self.bands) - 1

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """(num_frames, num_bins): the number of the cell that each value is in, from 0, time by time."""
        blocks = np.repeat(np.arange(self.shape[0]), np.diff(self.times))
        bands = np.repeat(np.arange(self.shape[1]), np.diff(self.bands))
        return blocks[:, None] * self.shape[1] + bands

    def means(self, values: Map) -> NDArray[np.float64]:
        """(N * M,) mean of VALUES (num_frames, num_bins) in each cell."""
        numbers = self.numbers.ravel()
        sums = np.bincount(numbers, values.ravel().astype(np.float64), self.shape[0] * self.shape[1])
        return sums / np.bincount(numbers)

    def filled(self, values: NDArray[np.floating]) -> Map:
        """(num_frames, num_bins): the value of each cell, of VALUES (N * M,), all over it."""
        return np.asarray(values, np.float32)[self.numbers]
