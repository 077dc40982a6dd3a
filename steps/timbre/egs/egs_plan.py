"""Which chunk of which utterance goes into which ark, decided before any feature is read. Called by egs_writer.py."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from timbre.egs.options import EgsOptions

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


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


class Candidates(NamedTuple):
    """The numbers of speakers that may be kept out of training, as many as would be of COUNTED speakers."""

    speakers: Ints
    counted: int


def split_utterances(
    speakers: Ints, options: EgsOptions, rng: np.random.Generator, candidates: "Candidates | None" = None
) -> Split:
    """Keeps whole speakers out of training, then utterances of the others.

    A speaker kept out has two utterances or more; any other keeps at least two of its own, or its only one.

    Args:
        speakers: (U,) speaker number of each utterance
        options: for num_valid_speakers and num_valid_utts; a tenth of what there is is the most that is taken
        rng: decides which
        candidates: the speakers that may be kept out; None: any
    """
    numbers, counts = np.unique(speakers, return_counts=True)
    held = rng.permutation(numbers[counts >= 2])
    if candidates is not None:
        held = held[np.isin(held, candidates.speakers)]
    held = held[: options.num_held_out(len(numbers) if candidates is None else candidates.counted)]
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


def split_with_copies(
    speakers: Ints,
    originals: Ints,
    options: EgsOptions,
    rng: np.random.Generator,
    candidates: Candidates | None = None,
) -> Split:
    """`split_utterances` of the originals; copies are trained on, but for those of what or whom is kept out.

    Args:
        speakers: (U,) speaker number of each utterance
        originals: (U,) the utterance that each is a copy of: itself for an original, -1 for one that is not here
        options, candidates: as of `split_utterances`
        rng: decides which
    """
    own = np.flatnonzero(originals == np.arange(len(originals)))
    split = Split(*(own[part] for part in split_utterances(speakers[own], options, rng, candidates)))
    copies = np.setdiff1d(np.arange(len(originals)), own)
    of_held = np.isin(originals[copies], [*split.valid, *split.trial])
    by_held = np.isin(speakers[copies], speakers[split.trial])
    return split._replace(train=np.union1d(split.train, copies[~of_held & ~by_held]))


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
