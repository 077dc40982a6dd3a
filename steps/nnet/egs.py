"""Reads egs: batches of one chunk length, in an order that depends on the seed and the epoch alone.

train.py iterates over EgsReader; validate.py takes the held-out examples whole.
"""

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

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """B examples of one length: feats (B, T, F) float32, normalised, and labels (B,) int64 speaker numbers."""

    feats: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Position:
    """The next batch to be read: number BATCH of epoch EPOCH, both from 0."""

    epoch: int = 0
    batch: int = 0


def check_egs(egs_dir: Path, manifest: Manifest, checksums: bool = False) -> None:
    """Every file of the manifest is there in its full size; with CHECKSUMS, unchanged to the bit (this reads them all).

    Raises:
        DataError: naming the first file that is not
    """
    for ark in [*manifest.train, *manifest.valid]:
        for path, digest in (
            (egs_dir / f"{ark.name}.ark", ark.sha256),
            (egs_dir / f"{ark.name}.spk", ark.labels_sha256),
        ):
            if not path.is_file():
                raise DataError("no such file, but manifest.json lists it; run steps/get_egs.py again", path)
            size = path.stat().st_size
            if path.suffix == ".ark" and size != ark.num_bytes:
                text = f"{size} bytes, but manifest.json says {ark.num_bytes}; run steps/get_egs.py again"
                raise DataError(text, path)
            if checksums and _sha256(path) != digest:
                raise DataError("not the file that manifest.json describes (sha256); run steps/get_egs.py again", path)


class EgsReader:
    """Endless batches of the training egs: iterate over it, and ask for its `position` between two batches.

    All examples of a batch come from one ark. Those of an ark that fill no whole batch are left out of the epoch, other
    ones each time. Every rank gets its part of every batch, so the batches do not depend on the number of ranks.

    Args:
        egs_dir: what steps/get_egs.py wrote
        manifest: its manifest
        batch_size: over all ranks
        seed: of the order
        device: where the batches go, by one copy each (from pinned memory, if it is a GPU)
        rank: whose part of the batches
        world_size: number of ranks
        threads: that read
        position: where to begin

    Attributes:
        position: of the batch that comes next
        batches_per_epoch: the same for all ranks
        left_out: examples, over all ranks, that fill no batch in an epoch
        waited: seconds so far in which a batch was wanted and not there

    Raises:
        DataError: the batch cannot be shared evenly, or no ark holds a whole one; when read, an ark cut short
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
            raise DataError(f"a batch of {batch_size} examples cannot be shared evenly by {world_size} ranks")
        self.manifest, self.batch_size, self.seed, self.position = manifest, batch_size, seed, position
        self.batches_per_epoch = sum(ark.examples // batch_size for ark in manifest.train)
        self.left_out = sum(ark.examples % batch_size for ark in manifest.train)
        self.waited = 0.0
        if not self.batches_per_epoch:
            largest = max((ark.examples for ark in manifest.train), default=0)
            raise DataError(f"no ark fills a batch of {batch_size} examples; the largest has {largest}", egs_dir)
        self._device = torch.device(device)
        self._part = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        self._files = _ArkFiles(egs_dir, manifest, pinned=self._device.type == "cuda")
        self._threads = threads

    def __iter__(self) -> Iterator[Batch]:
        coming: deque[tuple[Position, EgsArk, Future[Tensor]]] = deque()
        plan = self._plan()
        with ThreadPoolExecutor(self._threads, "egs") as pool:
            try:
                while True:
                    while len(coming) < PREFETCH:
                        after, ark, examples = next(plan)
                        coming.append((after, ark, pool.submit(self._files.read, ark, examples)))
                    after, ark, future = coming.popleft()
                    start = time.perf_counter()
                    packed = future.result()
                    self.waited += time.perf_counter() - start
                    self.position = after
                    yield self._files.unpack(packed.to(self._device, non_blocking=True), ark)
            finally:
                for _, _, future in coming:
                    future.cancel()

    def _plan(self) -> Iterator[tuple[Position, EgsArk, Ints]]:
        """Endless (position after the batch, its ark, its examples for this rank), from `position` on."""
        epoch, skip = self.position.epoch, self.position.batch
        while True:
            for number, (ark, examples) in enumerate(self._epoch(epoch), 1):
                if number > skip:
                    after = Position(epoch, number) if number < self.batches_per_epoch else Position(epoch + 1)
                    yield after, ark, examples[self._part]
            epoch, skip = epoch + 1, 0

    def _epoch(self, epoch: int) -> Iterator[tuple[EgsArk, Ints]]:
        """The batches of EPOCH: arks in random order, a few at a time with their batches mixed."""
        rng = np.random.default_rng((self.seed, epoch))
        arks = [self.manifest.train[index] for index in rng.permutation(len(self.manifest.train))]
        for first in range(0, len(arks), ARKS_AT_ONCE):
            batches = []
            for ark in arks[first : first + ARKS_AT_ONCE]:
                whole = ark.examples - ark.examples % self.batch_size
                examples = rng.permutation(ark.examples)[:whole].reshape(-1, self.batch_size)
                batches += [(ark, row) for row in examples]
            for index in rng.permutation(len(batches)):
                yield batches[index]


def read_valid(egs_dir: Path, manifest: Manifest) -> list[Batch]:
    """The held-out examples, one batch an ark, on the CPU. Raises as EgsReader does."""
    files = _ArkFiles(egs_dir, manifest, pinned=False)
    return [files.unpack(files.read(ark, np.arange(ark.examples)), ark) for ark in manifest.valid]


class _ArkFiles:
    """Examples by number out of the arks: uniform records, so each is one pread to where it belongs in the batch.

    The kernel, told that the whole ark is wanted, reads it ahead in order. This was twice as fast as reading an ark
    whole and gathering from it, and a resumed run or a rank reads nothing but its own examples.
    """

    def __init__(self, egs_dir: Path, manifest: Manifest, pinned: bool) -> None:
        self._dir, self._manifest, self._pinned = egs_dir, manifest, pinned
        self._open = functools.lru_cache(maxsize=4 * ARKS_AT_ONCE)(self._open_ark)

    def read(self, ark: EgsArk, examples: Ints) -> Tensor:
        """(B * T * F + B,) float32: B matrices, then their labels as the bits of int32, for one copy to take both."""
        file, labels = self._open(ark)
        dim, compression, count = self._manifest.feat_dim, self._manifest.options.compression, len(examples)
        packed = torch.empty(count * (ark.frames * dim + 1), pin_memory=self._pinned)
        array = packed.numpy()
        feats = array[:-count].reshape(count, ark.frames, dim)
        dtype = record_dtype(ark.key_bytes, ark.frames, dim, compression)
        header = 0 if dtype.fields is None else dtype.fields["data"][1]
        record = np.empty((), dtype)
        for row, example in zip(feats, examples, strict=True):
            if compression == "none":
                file.read_into(row, int(example) * dtype.itemsize + header)
            else:
                file.read_into(record, int(example) * dtype.itemsize)
                decode(record, row, compression)
        array[-count:].view(np.int32)[:] = labels[examples]
        return packed

    def unpack(self, packed: Tensor, ark: EgsArk) -> Batch:
        """The batch in what `read` gave for ARK."""
        count = len(packed) // (ark.frames * self._manifest.feat_dim + 1)
        feats = packed[:-count].view(count, ark.frames, self._manifest.feat_dim)
        return Batch(feats, packed[-count:].view(torch.int32).long())

    def _open_ark(self, ark: EgsArk) -> tuple["_File", npt.NDArray[np.int32]]:
        labels = _read_labels(self._dir / f"{ark.name}.spk", ark.examples, self._manifest.num_speakers)
        return _File(self._dir / f"{ark.name}.ark"), labels


class _File:
    """A file to read from at any place by any thread; closed with the last reference to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_WILLNEED)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    def read_into(self, out: npt.NDArray[np.generic], offset: int) -> None:
        """Fills OUT, contiguous, with what is at OFFSET."""
        if os.preadv(self._descriptor, [out.data.cast("B")], offset) != out.nbytes:
            raise DataError("has become shorter while it was in use", self._path)


def _read_labels(path: Path, examples: int, num_speakers: int) -> npt.NDArray[np.int32]:
    try:
        labels = np.array([int(line.rsplit(b" ", 1)[1]) for line in path.read_bytes().splitlines()], np.int32)
    except (ValueError, IndexError) as error:
        raise DataError("not lines of `key integer`", path) from error
    if len(labels) != examples:
        raise DataError(f"{len(labels)} labels for {examples} examples", path)
    if labels.min() < 0 or labels.max() >= num_speakers:
        raise DataError(f"labels from {labels.min()} to {labels.max()} for {num_speakers} speakers", path)
    return labels


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
