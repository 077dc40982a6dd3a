"""Reads egs for training: batches of one chunk length in an order that depends on (seed, epoch) alone. Used by train.py."""

import functools
import hashlib
import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from steps.feats.egs_format import EgsArk, Manifest, decode, record_dtype
from steps.utils.errors import DataError

ARKS_AT_ONCE = 4  # whose batches are mixed, so that the chunk length varies from step to step
PREFETCH = 8  # batches read ahead


@dataclass(frozen=True)
class Batch:
    """B examples of one length: feats (B, T, F) float32 and labels (B,) int64, already on the device."""

    feats: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Position:
    """The next batch to be read: number BATCH of epoch EPOCH, both from 0."""

    epoch: int = 0
    batch: int = 0


def check_egs(egs_dir: Path, manifest: Manifest, checksums: bool = False) -> None:
    """Every ark of the manifest is there in its full size; with CHECKSUMS, unchanged to the bit (this reads them all).

    Raises:
        DataError: naming the first file that is not
    """
    for ark in [*manifest.train, *manifest.valid]:
        path = egs_dir / f"{ark.name}.ark"
        if not path.is_file():
            raise DataError("no such file, but manifest.json lists it; run steps/get_egs.py again", path)
        if path.stat().st_size != ark.num_bytes:
            raise DataError(
                f"{path.stat().st_size} bytes, manifest.json says {ark.num_bytes}; run steps/get_egs.py again", path
            )
        if checksums:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != ark.sha256:
                raise DataError("its sha256 is not that of manifest.json; run steps/get_egs.py again", path)


class EgsReader:
    """Endless batches of the training egs; iterate over it, and ask `position` between two batches.

    All examples of a batch come from one ark. An ark whose number of examples is no multiple of the batch size leaves
    the rest of its (each epoch differently shuffled) examples out of the epoch: `left_out` of them in each.
    With several ranks each gets its own part of every batch, so the batches together do not depend on their number.

    Args:
        egs_dir: what steps/get_egs.py wrote
        manifest: its manifest
        batch_size: over all ranks
        seed: of the order
        device: where the batches go, by one copy each (from pinned memory, if to a GPU)
        rank: which part of each batch
        world_size: of so many
        threads: that read
        position: where to begin
    """

    def __init__(
        self,
        egs_dir: Path,
        manifest: Manifest,
        batch_size: int,
        seed: int,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world_size: int = 1,
        threads: int = 1,
        position: Position = Position(),
    ) -> None:
        if batch_size % world_size:
            raise DataError(f"a batch of {batch_size} examples cannot be shared by {world_size} ranks evenly")
        self.manifest, self.batch_size, self.seed = manifest, batch_size, seed
        self.device = torch.device(device)
        self.batches_per_epoch = sum(ark.examples // batch_size for ark in manifest.train)
        if not self.batches_per_epoch:
            largest = max((ark.examples for ark in manifest.train), default=0)
            raise DataError(f"no ark has a batch of {batch_size} examples (the largest has {largest})", egs_dir)
        self.left_out = sum(ark.examples % batch_size for ark in manifest.train)
        self.position = position
        self.waited = 0.0  # seconds in which the caller waited for a batch
        part = batch_size // world_size
        self._slice = slice(rank * part, (rank + 1) * part)
        self._source = _ArkFiles(egs_dir, manifest, self.device.type == "cuda")
        self._threads = threads

    def __iter__(self) -> Iterator[Batch]:
        with ThreadPoolExecutor(self._threads, "egs") as pool:
            ahead: deque[tuple[Position, Future[Tensor], int]] = deque()
            plan = self._plan()
            try:
                while True:
                    while len(ahead) < PREFETCH:
                        after, ark, examples = next(plan)
                        ahead.append((after, pool.submit(self._source.read, ark, examples), ark.frames))
                    after, future, frames = ahead.popleft()
                    start = time.perf_counter()
                    packed = future.result()
                    self.waited += time.perf_counter() - start
                    self.position = after
                    yield self._unpack(packed.to(self.device, non_blocking=True), frames)
            finally:
                for _, future, _ in ahead:
                    future.cancel()

    def _plan(self) -> Iterator[tuple[Position, EgsArk, npt.NDArray[np.int64]]]:
        """Endless (position after it, ark, examples of this rank) of the batches from `position` on."""
        epoch, skip = self.position.epoch, self.position.batch
        while True:
            for number, (ark, examples) in enumerate(self._epoch(epoch), 1):
                if number > skip:
                    after = Position(epoch, number) if number < self.batches_per_epoch else Position(epoch + 1)
                    yield after, ark, examples[self._slice]
            epoch, skip = epoch + 1, 0

    def _epoch(self, epoch: int) -> Iterator[tuple[EgsArk, npt.NDArray[np.int64]]]:
        """The batches of EPOCH: arks in random order, a few at a time with their batches mixed."""
        rng = np.random.default_rng((self.seed, epoch))
        arks = [self.manifest.train[index] for index in rng.permutation(len(self.manifest.train))]
        for first in range(0, len(arks), ARKS_AT_ONCE):
            batches = [
                (ark, part)
                for ark in arks[first : first + ARKS_AT_ONCE]
                for part in rng.permutation(ark.examples)[: ark.examples - ark.examples % self.batch_size].reshape(
                    -1, self.batch_size
                )
            ]
            for index in rng.permutation(len(batches)):
                yield batches[index]

    def _unpack(self, packed: Tensor, frames: int) -> Batch:
        size = self._slice.stop - self._slice.start
        feats = packed[:-size].view(size, frames, self.manifest.feat_dim)
        return Batch(feats, packed[-size:].view(torch.int32).long())


def read_valid(egs_dir: Path, manifest: Manifest) -> list[Batch]:
    """The validation examples, one batch an ark, on the CPU."""
    source = _ArkFiles(egs_dir, manifest, pinned=False)
    batches = []
    for ark in manifest.valid:
        packed = source.read(ark, np.arange(ark.examples))
        feats = packed[: -ark.examples].view(ark.examples, ark.frames, manifest.feat_dim)
        batches.append(Batch(feats, packed[-ark.examples :].view(torch.int32).long()))
    return batches


class _ArkFiles:
    """Examples by number out of the arks; one pread each, straight into the batch."""

    def __init__(self, egs_dir: Path, manifest: Manifest, pinned: bool) -> None:
        self.egs_dir, self.manifest, self.pinned = egs_dir, manifest, pinned
        self._open = functools.lru_cache(maxsize=4 * ARKS_AT_ONCE)(self._open_ark)

    def read(self, ark: EgsArk, examples: npt.NDArray[np.int64]) -> Tensor:
        """(len(examples) * (frames * dim + 1),) float32: the matrices, then the labels as int32 bits: one copy takes both."""
        file, labels = self._open(ark)
        size = ark.frames * self.manifest.feat_dim
        packed = torch.empty(len(examples) * (size + 1), pin_memory=self.pinned)
        array = packed.numpy()
        feats = array[: -len(examples)].reshape(len(examples), ark.frames, self.manifest.feat_dim)
        dtype = record_dtype(ark.key_bytes, ark.frames, self.manifest.feat_dim, self.manifest.compression)
        if self.manifest.compression == "none":
            header = dtype.fields["data"][1]  # type: ignore[index]
            for row, example in enumerate(examples):
                self._pread(file, feats[row], int(example) * dtype.itemsize + header)
        else:
            record = np.empty((), dtype)
            for row, example in enumerate(examples):
                self._pread(file, record, int(example) * dtype.itemsize)
                decode(record, feats[row], self.manifest.compression)
        array[-len(examples) :].view(np.int32)[:] = labels[examples]
        return packed

    @staticmethod
    def _pread(file: "_File", out: npt.NDArray[np.generic], offset: int) -> None:
        if os.preadv(file.descriptor, [out.data.cast("B")], offset) != out.nbytes:
            raise DataError("the ark has become shorter while it was read", file.path)

    def _open_ark(self, ark: EgsArk) -> tuple["_File", npt.NDArray[np.int32]]:
        file = _File(self.egs_dir / f"{ark.name}.ark")
        return file, _read_labels(self.egs_dir / f"{ark.name}.spk", ark.examples, self.manifest.num_speakers)


class _File:
    """An open file, closed with the object."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(
            self.descriptor, 0, 0, os.POSIX_FADV_WILLNEED
        )  # the kernel reads all of it, in order, ahead of us

    def __del__(self) -> None:
        os.close(self.descriptor)


def _read_labels(path: Path, examples: int, num_speakers: int) -> npt.NDArray[np.int32]:
    try:
        labels = np.array([int(line.rsplit(b" ", 1)[1]) for line in path.read_bytes().splitlines()], np.int32)
    except (ValueError, IndexError) as error:
        raise DataError("not lines of `key integer`", path) from error
    if len(labels) != examples:
        raise DataError(f"{len(labels)} labels for {examples} examples", path)
    if labels.min() < 0 or labels.max() >= num_speakers:
        raise DataError(f"labels from {labels.min()} to {labels.max()}, but there are {num_speakers} speakers", path)
    return labels
