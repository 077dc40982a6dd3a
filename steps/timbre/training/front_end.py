"""What stands between a batch of egs and the network, on the device: what augmentation left to do, features of
waveforms, their CMN, SpecAugment.

loop.py sends every batch through FrontEnd, and takes them from ReadyBatches. Without gradients, and in float32 whatever
the network computes in.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import torch
from torch import Tensor

from timbre.egs.batch_effects import make_changes
from timbre.egs.egs_format import Manifest
from timbre.egs.egs_reader import Batch, EgsReader, Position
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.spec_augment import SpecAugmentOptions
from timbre.nnet.layers import whole_float32
from timbre.runtime.normalize import NormalizeOptions


class FrontEnd:
    """Batches as the reader gives them -> normalised features with their masks.

    Args:
        manifest: of the egs: their kind, and the features and the normalisation of waveforms
        spec_augment: the options that the masks were drawn with, if any were
        device: where the batches are
    """

    def __init__(self, manifest: Manifest, spec_augment: SpecAugmentOptions | None, device: torch.device) -> None:
        self._extractor = FeatureExtractor(manifest.waveform, device) if manifest.waveform else None
        self._normalization, self._spec_augment = manifest.normalize, spec_augment

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Batch:
        """BATCH with features (B, T, F) float32."""
        feats = batch.feats
        if self._extractor is not None:
            with whole_float32():
                if batch.changes:
                    feats = make_changes(feats, batch.changes)
                feats = self._extractor.batch(feats)
            feats = normalize_batch(feats, self._normalization)
        if self._spec_augment is not None and batch.masks is not None:
            feats = mask(feats, batch.masks, self._spec_augment)
        return replace(batch, feats=feats, changes=())


class ReadyBatches:
    """Batches of READER that went through FRONT_END, endless.

    On the CPU the next one is made ready by a thread while the network learns from the one before, which is no other
    batch for it; on a GPU the front end is queued before the network.

    Attributes:
        position: of the batch that comes next
        waited: seconds so far in which a batch was wanted and not there
    """

    def __init__(self, reader: EgsReader, front_end: FrontEnd, device: torch.device) -> None:
        self._reader, self._front_end, self._ahead = reader, front_end, device.type == "cpu"
        self.position, self.waited = reader.position, 0.0

    def __iter__(self) -> Iterator[Batch]:
        return self._one_ahead() if self._ahead else self._in_turn()

    def _in_turn(self) -> Iterator[Batch]:
        for batch in self._reader:
            self.position, self.waited = self._reader.position, self._reader.waited
            yield self._front_end(batch)

    def _one_ahead(self) -> Iterator[Batch]:
        with closing(iter(self._reader)) as batches, ThreadPoolExecutor(1, "front-end") as pool:
            batch, self.position = self._next(batches)
            self.waited = self._reader.waited
            while True:
                coming = pool.submit(self._next, batches)
                yield batch
                start = time.perf_counter()
                batch, self.position = coming.result()
                self.waited += time.perf_counter() - start

    def _next(self, batches: Iterator[Batch]) -> tuple[Batch, Position]:
        batch = next(batches)
        return self._front_end(batch), self._reader.position


def normalize_batch(feats: Tensor, options: NormalizeOptions) -> Tensor:
    """CMN of each example by itself, as `timbre.runtime.normalize.normalize` does it without VAD.

    Args:
        feats: (B, T, F) float32
        options: `vad` is of no meaning here

    Returns:
        (B, T, F) float32
    """
    number = feats.shape[1]
    if options.cmn == "none" or not number:
        return feats
    windows = None
    if options.cmn == "sliding" and number > options.window:
        windows = _windows(number, options.window, feats.device)
    mean = _means(feats, windows)
    centered = feats - mean
    if options.norm_vars:
        square = _means(feats.square(), windows)
        centered = centered * (square - mean.square()).clamp(min=1e-10).rsqrt()
    return centered.float()


def _windows(number: int, window: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(start, end), (NUMBER,) each, of `timbre.runtime.cmvn.windows`, made on DEVICE: a copy would wait for it."""
    start = (torch.arange(number, device=device) - window // 2).clamp(0, number - window)
    return start, start + window


def _means(values: Tensor, windows: tuple[Tensor, Tensor] | None) -> Tensor:
    """Means over WINDOWS, float64: (B, T, F); without any, over the whole: (B, 1, F)."""
    if windows is None:
        return values.mean(1, keepdim=True, dtype=torch.float64)
    start, end = windows
    sums = torch.nn.functional.pad(values.cumsum(1, dtype=torch.float64), (0, 0, 1, 0))
    return (sums[:, end] - sums[:, start]) / (end - start)[:, None]


def mask(feats: Tensor, masks: Tensor, options: SpecAugmentOptions) -> Tensor:
    """FEATS (B, T, F) with the MASKS (B, M, 2) that draw_masks drew with OPTIONS."""
    bands, stretches = masks.tensor_split([options.freq_masks], 1)
    hidden = _covered(bands, feats.shape[2])[:, None, :] | _covered(stretches, feats.shape[1])[:, :, None]
    if options.fill == "mean":
        return torch.where(hidden, feats.mean((1, 2), keepdim=True), feats)
    return feats.masked_fill(hidden, 0)


def _covered(bounds: Tensor, size: int) -> Tensor:
    """(B, size) which places lie in any of BOUNDS (B, M, 2)."""
    place = torch.arange(size, device=bounds.device)
    return ((place >= bounds[..., :1]) & (place < bounds[..., 1:])).any(1)
