"""Reads egs: batches in an order that depends on the seed and the epoch alone.

training/loop.py iterates over EgsReader; validation.py takes the held-out examples whole.
"""

import hashlib
import logging
import math
import time
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from timbre.egs.batch_effects import DeviceChanges
from timbre.egs.batch_plan import make_plan
from timbre.egs.crop_effects import Augmenter, AugmentPool
from timbre.egs.egs_files import EgsFiles, Int64s
from timbre.egs.egs_format import Manifest
from timbre.egs.options import BatchOptions
from timbre.feats.spec_augment import SpecAugmentOptions, draw_masks
from timbre.utils.errors import DataError

PREFETCH = 8  # batches read ahead
MANY_LEFT_OUT = 0.02  # of the examples of an epoch: a warning says so

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """B examples of one length; the front end (front_end.py) makes them ready for the network.

    Attributes:
        feats: (B, T, F) float32, normalised; of waveform egs the samples, (B, num_samples) int16
        labels: (B,) int64 speaker numbers
        masks: (B, M, 2) int32 what SpecAugment masks, as draw_masks says; M 0 or None: nothing
        changes: what is still to be done to the samples
    """

    feats: Tensor
    labels: Tensor
    masks: Tensor | None = None
    changes: tuple[DeviceChanges, ...] = ()


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
        spec_augment: masks to draw for each example
        augmenter: what happens to waveforms
        augment_jobs: in so many processes; like the number of threads it does not change the batches

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
        spec_augment: SpecAugmentOptions | None = None,
        augmenter: Augmenter | None = None,
        augment_jobs: int = 1,
    ) -> None:
        if batch_size % (world_size * batches.unit):
            raise DataError(f"a batch of {batch_size} examples cannot be shared evenly by {world_size} ranks")
        shortest = min((ark.frames for ark in manifest.train), default=0)
        if batches.min_frames > shortest:
            raise DataError(f"min_frames is {batches.min_frames}, but examples have {shortest} frames", egs_dir)
        self._seed, self._threads, self._options, self.position = seed, threads, batches, position
        self._manifest, self._spec_augment = manifest, spec_augment
        self._augmenter, self._augment_jobs = augmenter, augment_jobs
        self._device = torch.device(device)
        self._pinned = self._device.type == "cuda"
        self._part = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        self._files = EgsFiles(egs_dir, manifest, scattered=batches.kind != "shuffled")
        try:
            self._plan = make_plan(batches, batch_size, seed, self._files)
        except DataError as error:
            raise DataError(error.message, egs_dir) from error
        longest = min(batches.max_frames or shortest, shortest)
        if augmenter is not None and (needed := augmenter.rows(longest)) > shortest:
            text = "%s: the effects need up to %d frames for a crop, and examples have %d: what lacks is repeated"
            log.warning(text, egs_dir, needed, shortest)
        self.batches_per_epoch, self.left_out = self._plan.batches_per_epoch, self._plan.left_out
        self.waited = 0.0
        total = len(self._files.speakers)
        if rank == 0 and self.left_out > MANY_LEFT_OUT * total and not batches.max_utts_per_speaker:
            share = 100 * self.left_out / total
            log.warning("%s: %.1f %% of the examples (%d) are in no batch of an epoch", egs_dir, share, self.left_out)

    def __iter__(self) -> Generator[Batch, None, None]:
        coming: deque[tuple[_Planned, Future[tuple[Tensor, list[DeviceChanges]]]]] = deque()
        jobs = self._augment_jobs if self._augmenter else 0
        with ExitStack() as stack:
            augmenting = stack.enter_context(AugmentPool(self._augmenter, jobs)) if self._augmenter else None
            pool = stack.enter_context(ThreadPoolExecutor(jobs or self._threads, "egs"))
            ahead = stack.enter_context(ThreadPoolExecutor(1, "egs-ahead"))
            planned = self._planned(ahead)
            try:
                while True:
                    start = time.perf_counter()
                    while len(coming) < max(PREFETCH, 2 * jobs):
                        plan = next(planned)
                        coming.append((plan, pool.submit(self._read, plan, augmenting)))
                    plan, future = coming.popleft()
                    packed, changes = future.result()
                    self.waited += time.perf_counter() - start
                    self.position = plan.after
                    batch = self._unpack(packed.to(self._device, non_blocking=True), plan)
                    yield replace(batch, changes=tuple(group.to(self._device) for group in changes))
            finally:
                ahead.shutdown(cancel_futures=True)
                for _, future in coming:
                    future.cancel()

    def _planned(self, ahead: ThreadPoolExecutor) -> Iterator["_Planned"]:
        """This rank's part of the batches from `position` on, endless; AHEAD has those of the next window fetched."""
        windows = self._windows()
        following = next(windows)
        self._fetch(following[2], ahead)
        while True:
            (epoch, first, batches), following = following, next(windows)
            self._fetch(following[2], ahead)
            for number, examples in enumerate(batches, first + 1):
                after = Position(epoch, number) if number < self.batches_per_epoch else Position(epoch + 1)
                starts, rows = self._cut(epoch, number, examples)
                masks, part = self._masks(epoch, number, len(examples), rows), self._part
                yield _Planned(epoch, after, examples[part], starts[part], rows, masks[part])

    def _windows(self) -> Iterator[tuple[int, int, Int64s]]:
        """Epoch, number of the first batch, and batches (N, batch_size) of each window from `position` on, endless."""
        epoch, skip = self.position.epoch, self.position.batch
        while True:
            first = 0
            for batches in self._plan.windows(epoch):
                if (left := batches[max(skip - first, 0) :]).size:
                    yield epoch, first + len(batches) - len(left), left
                first += len(batches)
            epoch, skip = epoch + 1, 0

    def _fetch(self, batches: Int64s, ahead: ThreadPoolExecutor) -> None:
        """Has this rank's part of BATCHES read into the page cache, if they are of few arks."""
        if self._options.kind == "shuffled":
            for ark, numbers in self._files.by_ark(batches[:, self._part].ravel()):
                ahead.submit(self._files.fetch, ark, numbers)

    def _masks(self, epoch: int, number: int, size: int, rows: int) -> npt.NDArray[np.int32]:
        """The masks (SIZE, M, 2) of the examples, of ROWS rows, of batch NUMBER (from 1) of EPOCH."""
        if self._spec_augment is None:
            return np.empty((size, 0, 2), np.int32)
        rng = np.random.default_rng((self._seed, epoch, number, 1))
        return draw_masks(self._spec_augment, size, self._manifest.num_feats(rows), self._manifest.feat_dim, rng)

    def _read(self, plan: "_Planned", augmenting: AugmentPool | None) -> tuple[Tensor, list[DeviceChanges]]:
        """(bytes,) uint8: the examples of a batch, then speakers and masks as int32, for one copy to take all.

        And the changes to the samples that the device makes.
        """
        shape, size = self._size(plan)
        masks = plan.masks.reshape(len(plan.examples), -1)
        packed = torch.empty(size + 4 * (masks.size + len(masks)), dtype=torch.uint8, pin_memory=self._pinned)
        array = packed.numpy()
        array[size:].view(np.int32).reshape(len(masks), -1)[:] = np.column_stack(
            (self._files.speakers[plan.examples], masks)
        )
        rows = array[: math.prod(shape) * self._files.dtype.itemsize].view(self._files.dtype).reshape(shape)
        if augmenting is None:
            self._files.read(plan.examples, plan.starts, rows)
            return packed, []
        changes = augmenting.fill(plan.epoch, plan.examples, plan.starts, rows)
        return packed, [DeviceChanges.of(group, self._pinned) for group in changes]

    def _unpack(self, packed: Tensor, plan: "_Planned") -> Batch:
        """The batch in what `_read` gave, on whatever device it is."""
        shape, size = self._size(plan)
        waves = self._files.dtype == np.int16
        data = packed[: math.prod(shape) * self._files.dtype.itemsize].view(torch.int16 if waves else torch.float32)
        numbers = packed[size:].view(torch.int32).view(shape[0], -1)
        masks = numbers[:, 1:].reshape(shape[0], -1, 2)
        return Batch(data.view(shape[0], -1) if waves else data.view(shape), numbers[:, 0].long(), masks)

    def _size(self, plan: "_Planned") -> tuple[tuple[int, int, int], int]:
        """Shape of the examples as they are packed, and the bytes that they take, a multiple of four."""
        shape = len(plan.examples), plan.rows, self._files.dim
        return shape, -(-math.prod(shape) * self._files.dtype.itemsize // 4) * 4

    def _cut(self, epoch: int, number: int, examples: Int64s) -> tuple[Int64s, int]:
        """The row that each of EXAMPLES begins at, and how many rows they have, in batch NUMBER (from 1) of EPOCH."""
        lengths, options = self._files.lengths(examples), self._options
        frames = int(lengths.min())
        if options.max_frames == 0 and frames == lengths.max():
            return np.zeros_like(lengths), frames
        rng = np.random.default_rng((self._seed, epoch, number))
        if options.max_frames:
            frames = int(rng.integers(options.min_frames, min(options.max_frames, frames), endpoint=True))
            frames = max(options.min_frames, frames - frames % options.length_step)
        needed = self._augmenter.rows(frames) if self._augmenter else frames
        return rng.integers(0, np.maximum(lengths - needed, 0), endpoint=True), frames


@dataclass(frozen=True)
class _Planned:
    """One rank's part of a batch: EXAMPLES (B,), from row STARTS (B,) on ROWS rows of each, with MASKS (B, M, 2)."""

    epoch: int
    after: Position  # of the batch that follows
    examples: Int64s
    starts: Int64s
    rows: int
    masks: npt.NDArray[np.int32]


def read_valid(egs_dir: Path, manifest: Manifest) -> list[Batch]:
    """The held-out examples, one batch an ark, on the CPU: features, whatever the kind. Raises as EgsReader does."""
    batches = []
    for number, ark in enumerate(manifest.valid):
        files, examples = EgsFiles(egs_dir, manifest, number), np.arange(ark.examples)
        feats = np.empty((ark.examples, ark.frames, files.dim), np.float32)
        files.read(examples, np.zeros_like(examples), feats)
        batches.append(Batch(torch.from_numpy(feats), torch.from_numpy(files.speakers[examples]).long()))
    return batches


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
