"""Augmentation while training: effects on the crops of waveform egs, in processes beside the training.

Called by egs_reader.py. Without torch, so that those processes are light.
"""

from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from timbre.audio.audio_files import to_int16
from timbre.audio.effects import Sources, build_chain, generator
from timbre.audio.effects.decoded import Decoded
from timbre.audio.effects.pending import Parts, Pending
from timbre.datadir.tables import read_table
from timbre.egs.egs_files import EgsFiles, Int64s
from timbre.egs.egs_format import Manifest
from timbre.utils.configure import read_config
from timbre.utils.errors import DataError
from timbre.utils.jobs import start_workers

_FULL_SCALE = 32768.0


@dataclass(frozen=True)
class Augmentation:
    """What is done to waveforms while training.

    Attributes:
        effects: class_path and init_args of each
        sources: "noise", "music", "speech", "rir" -> data directories or folders of audio
        ramp_epochs: clean speech first: in each epoch e (from 0) before that, (e + 1) / (ramp_epochs + 1) of the
            examples have effects
    """

    effects: list[dict[str, Any]]
    sources: Mapping[str, tuple[Path, ...]]
    ramp_epochs: int = 0

    def share(self, epoch: int) -> float:
        """Of the examples of EPOCH, those that have effects."""
        return min(1.0, (epoch + 1) / (self.ramp_epochs + 1))

    @classmethod
    def read(cls, path: Path, sources: Mapping[str, tuple[Path, ...]]) -> "Augmentation":
        """The effects of a file as conf/augment/online.yaml.

        Raises:
            DataError: no such file, or it is of another form
        """
        config = read_config(path)
        ramp = config.pop("ramp_epochs", 0)
        if set(config) != {"effects"} or not isinstance(config["effects"], list):
            raise DataError("must hold `effects:`, a list of class_path and init_args (and ramp_epochs)", path)
        if not isinstance(ramp, int) or ramp < 0:
            raise DataError(f"ramp_epochs must be a whole number, 0 or more, not {ramp!r}", path)
        return cls(config["effects"], sources, ramp)

    @property
    def config(self) -> dict[str, Any]:
        """As plain values: what config.yaml of a model holds."""
        sources = {kind: [str(path) for path in paths] for kind, paths in sorted(self.sources.items())}
        ramp = {"ramp_epochs": self.ramp_epochs} if self.ramp_epochs else {}
        return {"effects": self.effects, "sources": sources, **ramp}


@dataclass(frozen=True)
class Changes:
    """What is still to be done to G of the examples of a batch, all of one kind; see audio/effects/pending.py.

    Attributes:
        kind: of Parts
        examples: (G,) int64 their places in the batch
        values: (G, most values) float32 or, where there are many, int16, with zeros behind
        factors: (G,) float32 what they are to be multiplied with
        taps: (G,) int64 how many of the values are theirs
        relative, shifts: (G,) bool, int64 of Parts
    """

    kind: str
    examples: Int64s
    values: npt.NDArray[np.float32 | np.int16]
    factors: npt.NDArray[np.float32]
    taps: Int64s
    relative: npt.NDArray[np.bool_]
    shifts: Int64s


class Augmenter:
    """Augmented crops: each has random numbers of its own, from the seed, the epoch and the key of its example.

    Args:
        egs_dir: egs of waveforms
        manifest: of them
        augmentation: what to do
        seed: of all that is random
        scattered: as of EgsFiles
        defers: whether what can be done on the device (noise, rooms, filters, gain after the last other effect of an
            example) is only drawn
        decoded: where noises and voices are kept once they are decoded; a copy in another process shares it

    Raises:
        DataError: egs of features, a source or an effect that there is not
    """

    def __init__(
        self,
        egs_dir: Path,
        manifest: Manifest,
        augmentation: Augmentation,
        seed: int,
        scattered: bool = False,
        defers: bool = False,
        decoded: Decoded | None = None,
    ) -> None:
        if manifest.waveform is None:
            raise DataError("augmentation needs egs of waveforms (kind: waveform), and these are of features", egs_dir)
        decoded = decoded or Decoded()
        self._arguments = egs_dir, manifest, augmentation, seed, scattered, defers, decoded
        self._defers = defers
        self._files = EgsFiles(egs_dir, manifest, scattered=scattered)
        self._chain = build_chain(augmentation.effects, Sources(augmentation.sources, decoded))
        self._rate, self._seed = int(manifest.waveform.sample_frequency), seed
        self._share = augmentation.share
        self._names = {int(number): name for name, number in read_table(egs_dir / "spk2int").items()}

    def __reduce__(self) -> tuple[Callable[..., "Augmenter"], tuple[Any, ...]]:
        return Augmenter, self._arguments  # a process reads the files anew

    def rows(self, wanted: int) -> int:
        """How many rows an example must have for WANTED to be left of it, whatever the effects draw."""
        return -(-self._chain.input_length(wanted * self._files.dim) // self._files.dim)

    def fill(self, epoch: int, examples: Int64s, starts: Int64s, out: npt.NDArray[np.int16]) -> list[Changes]:
        """Fills OUT (B, rows, dim) with the rows from row STARTS (B,) on of each of EXAMPLES (B,), augmented.

        As many are read as `rows` says, where the example has them; before each effect the crop is cut to what is
        still needed of it. If there is too little in the end, the crop begins again. What would exceed 16 bits is made
        softer as a whole.

        Returns:
            what was deferred, to be done in this order

        Raises:
            DataError: an effect fails; it names the utterance
        """
        deferred: list[list[Parts]] = []
        speakers, keys = self._files.speakers[examples].tolist(), self._files.keys(examples)
        crops = self._read(examples, starts, out.shape[1])
        lengths, share = self._chain.input_lengths(out[0].size), self._share(epoch)
        for samples, crop, speaker, key in zip(out.reshape(len(out), -1), crops, speakers, keys, strict=True):
            rng = generator(self._seed, epoch, key)
            try:
                pending = Pending(crop[: lengths[0]] * np.float32(1 / 32768))
                effects = self._chain.effects if share == 1 or rng.random() < share else ()
                for effect, length in zip(effects, lengths[1:], strict=False):
                    pending = effect.defer(pending, self._rate, rng, self._names[speaker]).cut(length)
                pending = pending.cut(len(samples))
                if not self._defers or len(pending.samples) < len(samples):
                    pending = Pending(pending.made())
                if not len(pending.samples) or not np.isfinite(pending.samples.sum()):
                    raise DataError("the effects leave no sample, or NaN or infinite ones")
                integers, parts = _store(pending)
                samples[:] = np.resize(integers, len(samples))
                deferred.append(parts)
            except Exception as error:
                reason = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
                raise DataError(f"utterance {key.rsplit('-', 2)[0]}: augmentation: {reason}") from error
        return _group(deferred)

    def _read(self, examples: Int64s, starts: Int64s, wanted: int) -> list[npt.NDArray[np.int16]]:
        """The samples (num_samples,) of each of EXAMPLES (B,) from row STARTS (B,) on, enough for WANTED rows."""
        available = np.minimum(self.rows(wanted), self._files.lengths(examples) - starts)
        crops: list[npt.NDArray[np.int16]] = [np.empty(0, np.int16)] * len(examples)
        for rows in np.unique(available).tolist():  # one number, but where examples are of several lengths
            chosen = np.flatnonzero(available == rows)
            read = np.empty((len(chosen), rows, self._files.dim), np.int16)
            self._files.read(examples[chosen], starts[chosen], read)
            for place, crop in zip(chosen.tolist(), read.reshape(len(chosen), -1), strict=True):
                crops[place] = crop
        return crops


def _store(pending: Pending) -> tuple[npt.NDArray[np.int16], list[Parts]]:
    """Samples (num_samples,) of 16 bits, and what is to be done to them for PENDING."""
    if not pending.operations:
        return to_int16(pending.samples)[0], []
    integers, factor = _quantize(pending.samples * np.float32(_FULL_SCALE))
    parts = [operation.parts(len(integers)) for operation in pending.operations]
    return integers, parts if factor == 1 else [Parts("scale", np.array([factor], np.float32)), *parts]


def _quantize(values: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int16], float]:
    """Integers (N,) and a factor that give VALUES (N,): as they are if they are such integers, else in 65,535 steps."""
    rounded = np.rint(values)
    peak = float(np.abs(values).max(initial=0))
    if peak < _FULL_SCALE and np.array_equal(rounded, values):
        return rounded.astype(np.int16), 1.0
    factor = peak / (_FULL_SCALE - 1)
    return np.rint(values * np.float32(1 / factor)).astype(np.int16), factor


def _group(deferred: list[list[Parts]]) -> list[Changes]:
    """The changes to each example, in order, as changes to many: all first ones of each kind, all second ones, ..."""
    groups = []
    for turn in range(max(map(len, deferred), default=0)):
        of_kind: dict[str, list[int]] = {}
        for example, parts in enumerate(deferred):
            if turn < len(parts):
                of_kind.setdefault(parts[turn].kind, []).append(example)
        for kind, examples in of_kind.items():
            chosen = [deferred[example][turn] for example in examples]
            taps = np.array([len(one.values) for one in chosen])
            factors = np.ones(len(chosen), np.float32)
            values: Any = np.zeros((len(chosen), taps.max()), np.int16 if kind == "add" else np.float32)
            for number, one in enumerate(chosen):
                stored, factors[number] = _quantize(one.values) if kind == "add" else (one.values, 1)
                values[number, : len(stored)] = stored
            relative, shifts = np.array([one.relative for one in chosen]), np.array([one.shift for one in chosen])
            groups.append(Changes(kind, np.array(examples), values, factors, taps, relative, shifts))
    return groups


class AugmentPool:
    """Processes that augment, as a context; `fill` may be called by several threads.

    Args:
        augmenter: what they do
        number: of processes; it does not change the result
    """

    def __init__(self, augmenter: Augmenter, number: int) -> None:
        self._pool = start_workers(number, _take, augmenter)

    def fill(self, epoch: int, examples: Int64s, starts: Int64s, out: npt.NDArray[np.int16]) -> list[Changes]:
        """As of Augmenter, in a process that is free."""
        try:
            out[:], changes = self._pool.submit(_fill, epoch, examples, starts, out.shape).result()
            return changes
        except BrokenProcessPool as error:
            raise DataError("a process that augments died without a word (killed, or out of memory?)") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


_augmenters: list[Augmenter] = []  # in a process that augments: the one that it was given


def _take(augmenter: Augmenter) -> None:
    _augmenters.append(augmenter)


def _fill(
    epoch: int, examples: Int64s, starts: Int64s, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.int16], list[Changes]]:
    out = np.empty(shape, np.int16)
    return out, _augmenters[0].fill(epoch, examples, starts, out)
