"""Which chunk of which utterance goes into which ark, decided before any feature is read. Called by egs.py."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from steps.feats.egs_format import Compression
from steps.utils.errors import DataError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EgsOptions:
    """How features become training examples.

    Args:
        min_frames: shortest chunk; also the chunk length of the validation examples
        max_frames: longest chunk; every ark has one length, drawn between the two
        num_repeats: how many times the voiced frames of the training speakers are covered by chunks, on average
        balance: 0 gives speakers examples in proportion to their voiced frames, 1 gives every speaker as many (as
            Kaldi's allocate_egs.py), values between go from the one to the other
        short: what becomes of an utterance shorter than a chunk: "skip" gives it shorter chunks or, below min_frames,
            leaves it out; "repeat" repeats it up to the chunk length
        min_voiced: utterances with fewer voiced frames are left out in any case
        num_valid_speakers: speakers kept out of training for the validation trials, at most a tenth of all
        num_valid_utts: utterances of training speakers kept out of training for the validation accuracy, at most
            a tenth of all
        ark_megabytes: bound on the features in an ark, and so on the memory of a job
        num_lengths: at least so many arks, and so chunk lengths, if each of them still has 256 examples
        compression: "none" (float32), or Kaldi's "CM2" (two bytes a value) or "CM3" (one byte)
    """

    min_frames: int = 200
    max_frames: int = 400
    num_repeats: float = 2.0
    balance: float = 0.5
    short: Literal["skip", "repeat"] = "skip"
    min_voiced: int = 25
    num_valid_speakers: int = 20
    num_valid_utts: int = 300
    ark_megabytes: float = 64.0
    num_lengths: int = 16
    compression: Compression = "none"

    def __post_init__(self) -> None:
        if not 1 <= self.min_frames <= self.max_frames:
            raise DataError(
                f"egs: min_frames {self.min_frames} and max_frames {self.max_frames} must be 1 <= min <= max"
            )
        if self.num_repeats <= 0 or self.ark_megabytes <= 0 or self.num_lengths < 1:
            raise DataError("egs: num_repeats, ark_megabytes and num_lengths must be above 0")
        if not 0 <= self.balance <= 1:
            raise DataError(f"egs: balance is {self.balance}; it must be between 0 and 1")
        if min(self.min_voiced, self.num_valid_speakers, self.num_valid_utts) < 0:
            raise DataError("egs: min_voiced, num_valid_speakers and num_valid_utts must not be below 0")

    @property
    def shortest(self) -> int:
        """Voiced frames that an utterance must have to be used."""
        return max(self.min_voiced, 1 if self.short == "repeat" else self.min_frames)


@dataclass(frozen=True)
class ArkPlan:
    """The examples of one ark: chunk i begins at frame START[i] of utterance UTT[i]; all have FRAMES frames."""

    frames: int
    utt: Ints
    start: Ints


class Split(NamedTuple):
    """Indices of utterances: for training, for the validation accuracy, and those of speakers kept for trials."""

    train: Ints
    valid: Ints
    trial: Ints


def split_utterances(speakers: Ints, options: EgsOptions, rng: np.random.Generator) -> Split:
    """Keeps whole speakers out of training, then utterances of the others.

    A speaker kept out has two utterances or more; any other keeps at least two of its own, or its only one.

    Args:
        speakers: (U,) speaker number of each utterance
        options: for num_valid_speakers and num_valid_utts; a tenth of what there is is the most that is taken
        rng: decides which
    """
    numbers, counts = np.unique(speakers, return_counts=True)
    held = rng.permutation(numbers[counts >= 2])[: min(options.num_valid_speakers, len(numbers) // 10)]
    if len(held) < 2:  # no non-target trial
        held = held[:0]
    trial = np.flatnonzero(np.isin(speakers, held))
    rest = rng.permutation(np.flatnonzero(~np.isin(speakers, held)))
    # rest[order] has the speakers one after the other; number tells the utterances of a speaker apart
    order = np.argsort(speakers[rest], kind="stable")
    ordered = speakers[rest][order]
    number = np.empty(len(rest), np.int64)
    number[order] = np.arange(len(rest)) - np.searchsorted(ordered, ordered)
    valid = rest[number >= 2][: min(options.num_valid_utts, len(rest) // 10)]
    return Split(np.setdiff1d(rest, valid), np.sort(valid), trial)


def plan_arks(
    utts: Ints, frames: Ints, speakers: Ints, dim: int, options: EgsOptions, rng: np.random.Generator
) -> list[ArkPlan]:
    """Training examples, shuffled into arks of one chunk length each.

    The examples of a speaker lie evenly over its voiced frames laid end to end, so an utterance has as many as its
    length deserves. Each draws a length that its utterance allows; sorted by that length they are cut into arks of
    equal size, and the shortest length in an ark becomes that of all its examples.

    Args:
        utts: the utterances to use, as indices into `frames` and `speakers`
        frames: (U,) voiced frames of each utterance
        speakers: (U,) speaker number of each utterance
        dim: feature dimension, for the size of an example
        options: see EgsOptions
        rng: decides everything that is random
    """
    utts = utts[np.argsort(speakers[utts], kind="stable")]
    own = np.split(utts, np.flatnonzero(np.diff(speakers[utts])) + 1)
    shares = _shares(np.array([frames[part].sum() for part in own]), options)
    drawn = [_spread(rng.permutation(part), frames, share, rng) for part, share in zip(own, shares, strict=True)]
    utt, place = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    longest = np.full(len(utt), options.max_frames)
    if options.short == "skip":
        longest = np.minimum(longest, frames[utt])
    length = rng.integers(options.min_frames, longest, endpoint=True)
    order = rng.permutation(len(utt))
    order = order[np.argsort(length[order], kind="stable")]
    arks = []
    for part in _cut(order, length, dim, options):
        chunk = int(length[part[0]])
        part = rng.permutation(part)
        arks.append(ArkPlan(chunk, utt[part], _starts(frames[utt[part]], place[part], chunk)))
    return [arks[index] for index in rng.permutation(len(arks))]


def plan_valid(utts: Ints, frames: Ints, options: EgsOptions) -> list[ArkPlan]:
    """The middle min_frames of each of UTTS, in one ark; none if there are no UTTS."""
    if not len(utts):
        return []
    return [ArkPlan(options.min_frames, utts, _starts(frames[utts], np.full(len(utts), 0.5), options.min_frames))]


def _shares(spk_frames: Ints, options: EgsOptions) -> Ints:
    """How many examples each speaker gives, at least one."""
    total = options.num_repeats * spk_frames.sum() / ((options.min_frames + options.max_frames) / 2)
    weights = spk_frames ** (1 - options.balance)
    shares: Ints = np.maximum(np.rint(total * weights / weights.sum()), 1).astype(np.int64)
    return shares


def _spread(utts: Ints, frames: Ints, number: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """NUMBER (utterance, place in it from 0 to 1), evenly over the frames of UTTS laid end to end."""
    ends = np.cumsum(frames[utts])
    point = (np.arange(number) + rng.random(number)) / number * ends[-1]
    index = np.minimum(np.searchsorted(ends, point, side="right"), len(utts) - 1)
    return utts[index], 1 - (ends[index] - point) / frames[utts[index]]


def _cut(order: Ints, length: Ints, dim: int, options: EgsOptions) -> list[Ints]:
    """ORDER (examples sorted by length) in contiguous parts of equal size."""
    size = np.cumsum(length[order]) * dim * 4
    largest = options.max_frames * dim * 4
    fewest = int(np.ceil(size[-1] / max(options.ark_megabytes * 2**20 - largest, largest)))  # a part may exceed by one
    number = max(fewest, min(options.num_lengths, len(order) // 256), 1)
    bounds = np.searchsorted(size, size[-1] * np.arange(1, number) / number)
    return [part for part in np.split(order, bounds) if len(part)]


def _starts(frames: Ints, place: Floats, length: int) -> Ints:
    """First frames of chunks: anywhere that LENGTH frames fit; anywhere at all in utterances that are too short."""
    room = np.where(frames >= length, frames - length + 1, frames)
    starts: Ints = np.minimum(np.floor(place * room), room - 1).astype(np.int64)
    return starts
