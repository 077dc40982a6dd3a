"""Reads egs: batches in an order that depends on the seed and the epoch alone.

train.py iterates over EgsReader; validate.py takes the held-out examples whole.
"""

import hashlib
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from steps.feats.egs_format import Manifest
from steps.nnet.batch_plan import make_plan
from steps.nnet.egs_files import EgsFiles, Int64s
from steps.nnet.options import BatchOptions
from steps.utils.errors import DataError

PREFETCH = 8  # batches read ahead


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

    batch_plan.py says which examples are in a batch. It is as long as the shortest of them, or shorter if the options
    draw it a length; longer ones are cut to it at random places. Every rank gets its part of every batch, so that the
    batches do not depend on the number of ranks.

    Args:
        egs_dir: what steps/get_egs.py wrote
        manifest: its manifest
        batch_size: over all ranks
        seed: of the order, the lengths and the places
        device: where the batches go, by one copy each (from pinned memory, if it is a GPU)
        rank: whose part of the batches
        world_size: number of ranks
        threads: that read
        position: where to begin
        batches: which examples are together, and how long

    Attributes:
        position: of the batch that comes next
        batches_per_epoch: the same for all ranks
        left_out: examples, over all ranks, that are in no batch of an epoch
        waited: seconds so far in which a batch was wanted and not there

    Raises:
        DataError: the batch cannot be shared evenly, the egs do not make a whole one or are not long enough; when read,
            an ark cut short
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
        batches: BatchOptions = BatchOptions(),
    ) -> None:
        if batch_size % (world_size * batches.unit):
            raise DataError(f"a batch of {batch_size} examples cannot be shared evenly by {world_size} ranks")
        shortest = min((ark.frames for ark in manifest.train), default=0)
        if batches.min_frames > shortest:
            raise DataError(f"min_frames is {batches.min_frames}, but examples have {shortest} frames", egs_dir)
        self._seed, self._threads, self._options, self.position = seed, threads, batches, position
        self._device = torch.device(device)
        self._part = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        pinned, scattered = self._device.type == "cuda", batches.kind != "shuffled"
        self._files = EgsFiles(egs_dir, manifest, manifest.train, scattered, pinned)
        try:
            self._plan = make_plan(batches, batch_size, seed, self._files)
        except DataError as error:
            raise DataError(error.message, egs_dir) from error
        self.batches_per_epoch, self.left_out = self._plan.batches_per_epoch, self._plan.left_out
        self.waited = 0.0

    def __iter__(self) -> Iterator[Batch]:
        coming: deque[tuple[Position, int, Future[Tensor]]] = deque()
        planned = self._planned()
        with ThreadPoolExecutor(self._threads, "egs") as pool:
            try:
                while True:
                    start = time.perf_counter()
                    while len(coming) < PREFETCH:
                        after, examples, starts, frames = next(planned)
                        coming.append((after, frames, pool.submit(self._files.read, examples, starts, frames)))
                    after, frames, future = coming.popleft()
                    packed = future.result()
                    self.waited += time.perf_counter() - start
                    self.position = after
                    yield Batch(*self._files.unpack(packed.to(self._device, non_blocking=True), frames))
            finally:
                for _, _, future in coming:
                    future.cancel()

    def _planned(self) -> Iterator[tuple[Position, Int64s, Int64s, int]]:
        """From `position` on, endless: position after a batch, this rank's examples, first row of each, rows."""
        epoch, skip = self.position.epoch, self.position.batch
        while True:
            for number, examples in enumerate(self._plan.epoch(epoch), 1):
                if number > skip:
                    after = Position(epoch, number) if number < self.batches_per_epoch else Position(epoch + 1)
                    starts, frames = self._cut(epoch, number, examples)
                    yield after, examples[self._part], starts[self._part], frames
            epoch, skip = epoch + 1, 0

    def _cut(self, epoch: int, number: int, examples: Int64s) -> tuple[Int64s, int]:
        """The row that each of EXAMPLES begins at, and how many rows they have, in batch NUMBER (from 1) of EPOCH."""
        lengths, options = self._files.lengths(examples), self._options
        frames = int(lengths.min())
        if options.max_frames == 0 and frames == lengths.max():
            return np.zeros_like(lengths), frames
        rng = np.random.default_rng((self._seed, epoch, number))
        if options.max_frames:
            frames = int(rng.integers(options.min_frames, min(options.max_frames, frames), endpoint=True))
        return rng.integers(0, lengths - frames, endpoint=True), frames


def read_valid(egs_dir: Path, manifest: Manifest) -> list[Batch]:
    """The held-out examples, one batch an ark, on the CPU. Raises as EgsReader does."""
    batches = []
    for ark in manifest.valid:
        files, examples = EgsFiles(egs_dir, manifest, [ark]), np.arange(ark.examples)
        batches.append(Batch(*files.unpack(files.read(examples, np.zeros_like(examples), ark.frames), ark.frames)))
    return batches


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
