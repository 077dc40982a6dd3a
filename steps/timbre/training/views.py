"""What the network that is trained sees of each example, and what its teacher does. Used by loop.py.

What is drawn here follows from the seed and the step alone, for the whole batch of all ranks; nothing waits for the
device.
"""

import logging
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from timbre.egs.egs_reader import Batch
from timbre.feats.spec_augment import draw_masks
from timbre.nnet.options import SegmentOptions
from timbre.nnet.segments import cut_at, cut_grid, num_segments
from timbre.training.distributed import World
from timbre.training.front_end import mask
from timbre.training.options import TrainOptions
from timbre.training.teacher import Teacher
from timbre.training.training_module import Taught
from timbre.utils.errors import DataError

log = logging.getLogger(__name__)

Part = tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Taught]  # what TrainingModule is called with


class Views:
    """Batches as the front end gives them -> the parts of an update, each as TrainingModule takes it.

    Args:
        options: of training
        world: this rank sees its part of each batch
        teacher: sees the examples whole
        dtype: of the teacher's autocast; None: without
    """

    def __init__(self, options: TrainOptions, world: World, teacher: Teacher | None, dtype: torch.dtype | None) -> None:
        self._options, self._world, self._teacher, self._dtype = options, world, teacher, dtype
        self._length_step = options.batches_on(world.device.type).length_step
        size = options.batch_size
        self._part = slice(world.rank * size // world.size, (world.rank + 1) * size // world.size)

    def __call__(self, batch: Batch, step: int) -> Iterator[Part]:
        """The parts of update STEP, `accumulation` of them."""
        options = self._options
        feats, rng = batch.feats, np.random.default_rng((options.seed, step, 0, 2))
        if options.teacher is not None and 0 < options.teacher.student_frames < feats.shape[1]:
            feats = self._cut(feats, options.teacher.student_frames, 1, rng)[:, 0]
        if options.segments is not None:
            feats = self._segments(feats, options.segments, rng)
        parts = (tensor.chunk(options.accumulation) for tensor in (feats, batch.labels, batch.feats))
        for seen, labels, whole in zip(*parts, strict=True):
            yield (seen, labels) if self._teacher is None else (seen, labels, self._ask(self._teacher, whole))

    def _ask(self, teacher: Teacher, feats: Tensor) -> Taught:
        with torch.autocast(self._world.device.type, self._dtype, enabled=self._dtype is not None):
            return teacher(feats)

    def _segments(self, feats: Tensor, options: SegmentOptions, rng: np.random.Generator) -> Tensor:
        """(B, N, L, F) segments of FEATS (B, T, F), with masks if they have some of their own."""
        length = options.length
        if options.max_length:
            length = int(rng.integers(options.length, options.max_length, endpoint=True))
            length = max(options.length, length - length % self._length_step)
        number = num_segments(feats.shape[1], length)
        if options.starts == "random" and number > 1:
            segments = self._cut(feats, length, number, rng)
        else:
            segments = cut_grid(feats, length)
        if options.same_aug or self._options.spec_augment is None:
            return segments
        count, frames, bins = segments.shape[1:]
        masks = draw_masks(self._options.spec_augment, self._options.batch_size * count, frames, bins, rng)
        own = self._to_device(masks.reshape(self._options.batch_size, count, *masks.shape[1:])).flatten(0, 1)
        masked = mask(segments.flatten(0, 1), own, self._options.spec_augment)
        return torch.unflatten(masked, 0, (-1, count))

    def _cut(self, feats: Tensor, length: int, number: int, rng: np.random.Generator) -> Tensor:
        """(B, NUMBER, LENGTH, F) of FEATS (B, T, F), from random places on, in order."""
        last = feats.shape[1] - length
        starts = np.sort(rng.integers(0, last, (self._options.batch_size, number), endpoint=True), axis=1)
        return cut_at(feats, self._to_device(starts), length)

    def _to_device(self, drawn: NDArray[np.integer]) -> Tensor:
        """This rank's rows of what is DRAWN for the whole batch."""
        own = torch.from_numpy(np.ascontiguousarray(drawn[self._part]))
        device = self._world.device
        return own.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else own


def check_lengths(options: TrainOptions, shortest: int, longest: int) -> int:
    """The fewest frames that the network sees at once, in batches of SHORTEST to LONGEST frames.

    Raises:
        DataError: no example is longer than what a student is to see of it
    """
    if options.teacher is not None and options.teacher.student_frames:
        if options.teacher.student_frames >= longest:
            raise DataError(
                f"teacher: student_frames is {options.teacher.student_frames}, but no example has more than {longest} "
                "frames; 0 shows the student all of them"
            )
        shortest, longest = (min(frames, options.teacher.student_frames) for frames in (shortest, longest))
    if options.segments is None:
        return shortest
    length = options.segments.length
    if longest <= length:
        log.warning("segments have %d frames, and examples no more than %d: each is one segment", length, longest)
    return min(shortest, length)
