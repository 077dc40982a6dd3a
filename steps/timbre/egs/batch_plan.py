"""Which examples make up which batch, as a pure function of the seed and the epoch; egs_reader.py reads them.

Examples go by their number, as in egs_files.py: those of the first ark, then those of the second, and so on.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from timbre.datadir.pair_tables import read_training_pairs
from timbre.egs.deal import Int64s, Ints, choose_evenly, deal, most_sets, places
from timbre.egs.egs_files import EgsFiles, number_utts
from timbre.egs.options import BatchOptions
from timbre.utils.errors import DataError

POOL_BATCHES = 4  # that a pool has at least, so that they have other examples in common each time
POOL_ARKS = 4  # that it has at least, if they are alike: a batch is cut to its shortest example
ALIKE = 0.95  # of the longest of a pool: so long at least are arks that it is filled up with
POOLS_AT_ONCE = 4  # whose batches are mixed, so that the chunk length varies from step to step
ARKS_AT_ONCE = 64  # that these have at most, if there are several


class BatchPlan(ABC):
    """The batches of any epoch.

    Attributes:
        batches_per_epoch: the same for all epochs
        left_out: examples that are in no batch of an epoch; other ones each time
    """

    batches_per_epoch: int
    left_out: int

    def epoch(self, number: int) -> Iterator[Int64s]:
        """The examples (batch_size,) of each batch of epoch NUMBER, in order."""
        for batches in self.windows(number):
            yield from batches

    @abstractmethod
    def windows(self, number: int) -> Iterator[Int64s]:
        """The same (N, batch_size) in several parts, each of batches that are best read together."""


def make_plan(options: BatchOptions, batch_size: int, seed: int, files: EgsFiles) -> BatchPlan:
    """The plan that OPTIONS ask for, of the examples in FILES.

    Raises:
        DataError: they do not make a batch
    """
    if options.kind == "speakers":
        size, most = options.utts_per_speaker, options.max_utts_per_speaker
        return SpeakersPlan(SpeakerGroups(files.speakers, files.utts, size, most), batch_size, seed)
    if options.pair_table is not None:
        listed = read_training_pairs(options.pair_table)
        numbers = number_utts(np.char.encode(listed.ravel(), "utf-8")).reshape(listed.shape)
        return ListedPairsPlan(files.speakers, files.utts, numbers, batch_size, seed)
    if options.kind == "pairs":
        return PairsPlan(SpeakerGroups(files.speakers, files.utts, 2), batch_size, seed)
    return ShuffledPlan(files.sizes, files.frames, batch_size, seed)


class ShuffledPlan(BatchPlan):
    """The examples of a batch come from a pool: some arks of neighbouring length, other ones together in each epoch.

    What fills no batch of its pool goes to that of the next shorter length, so less than one batch of an epoch is left
    out. Within a batch examples lie by ark, so that a rank, which has a part of each batch, reads few arks of a pool.

    Args:
        ark_sizes: (A,) examples of each ark
        ark_frames: (A,) rows of them
        batch_size: examples of a batch
        seed: of the order

    Raises:
        DataError: there are too few examples for a batch
    """

    def __init__(self, ark_sizes: Ints, ark_frames: Ints, batch_size: int, seed: int) -> None:
        self._sizes, self._frames, self._batch_size, self._seed = ark_sizes, ark_frames, batch_size, seed
        self._starts = np.cumsum(ark_sizes) - ark_sizes
        self._total = int(ark_sizes.sum())
        self.batches_per_epoch, self.left_out = divmod(self._total, batch_size)
        if not self.batches_per_epoch:
            raise DataError(f"{self._total} examples do not fill a batch of {batch_size}")

    def windows(self, number: int) -> Iterator[Int64s]:
        """Pools in random order, a few at a time with their batches mixed."""
        rng = np.random.default_rng((self._seed, number))
        used = np.ones(self._total, np.bool_)
        used[rng.choice(self._total, self.left_out, replace=False)] = False
        pools = self._pools(rng)
        batches, over = [], np.empty(0, np.int64)
        for arks in pools:
            own = [np.flatnonzero(used[start:][:size]) + start for start, size in self._places(arks)]
            examples = rng.permutation(np.concatenate([over, *own]))
            over = examples[len(examples) // self._batch_size * self._batch_size :]
            batches.append(np.sort(examples[: len(examples) - len(over)].reshape(-1, self._batch_size)))
        order, first = rng.permutation(len(pools)), 0
        while first < len(order):
            last = first + POOLS_AT_ONCE
            while last > first + 1 and sum(len(pools[pool]) for pool in order[first:last]) > ARKS_AT_ONCE:
                last -= 1
            yield rng.permutation(np.concatenate([batches[pool] for pool in order[first:last]]))
            first = last

    def _places(self, arks: list[int]) -> Iterator[tuple[int, int]]:
        """The first example of each of ARKS, and how many it has."""
        return zip(self._starts[arks].tolist(), self._sizes[arks].tolist(), strict=True)

    def _pools(self, rng: np.random.Generator) -> list[list[int]]:
        """All arks in pools, the longest first; those of one length by chance."""
        order = rng.permutation(len(self._sizes))
        order = order[np.argsort(-self._frames[order], kind="stable")]
        pools: list[list[int]] = [[]]
        size, share = 0, rng.random()  # of a whole pool that is the first, so that they begin elsewhere each time
        for ark in order.tolist():
            pool = pools[-1]
            full = len(pool) >= share * POOL_ARKS or (pool and self._frames[ark] < ALIKE * self._frames[pool[0]])
            if full and size >= share * POOL_BATCHES * self._batch_size:
                pool, size, share = [], 0, 1.0
                pools.append(pool)
            pool.append(ark)
            size += int(self._sizes[ark])
        return pools


class SpeakerGroups:
    """Examples of one speaker in groups of SIZE, as many as can be.

    If the speaker has SIZE utterances or more, its groups are of as many different ones; else those it has are spread
    over its groups.

    Args:
        speakers: (E,) speaker of each example
        utts: (E,) a number of its utterance; those of two speakers may be equal
        size: examples of a group
        most: examples that a speaker gives to its groups; 0: no bound

    Attributes:
        size: of a group
        counts: (S,) examples of each speaker
        numbers: (S,) groups of each speaker
    """

    def __init__(self, speakers: Ints, utts: Ints, size: int, most: int = 0) -> None:
        self.size = size
        # what is kept lies by speaker, then by utterance
        self._examples = np.lexsort((utts, speakers)).astype(np.int32)
        speaker, utt = speakers[self._examples], utts[self._examples]
        begins = np.ones(len(speaker), np.bool_)
        begins[1:] = (speaker[1:] != speaker[:-1]) | (utt[1:] != utt[:-1])
        self._utt = np.cumsum(begins, dtype=np.int32) - 1
        self._utt_speaker, self._utt_counts = speaker[begins], np.bincount(self._utt)
        self.counts = np.bincount(speaker)
        num_speakers = len(self.counts)
        enough = np.bincount(self._utt_speaker, minlength=num_speakers) >= size
        different = most_sets(self._utt_counts, self._utt_speaker, num_speakers, size)
        self.numbers: Int64s = np.where(enough, different, self.counts // size)
        if most:
            self.numbers = np.minimum(self.numbers, most // size)
        self._most_of_utt = np.where(enough, self.numbers, len(speaker))

    @property
    def owners(self) -> Int64s:
        """(K,) the speaker of each group that `draw` gives."""
        return np.repeat(np.arange(len(self.numbers)), self.numbers)

    def draw(self, rng: np.random.Generator) -> Int64s:
        """(K, size) examples in groups, speaker by speaker: other ones each time."""
        # utterances of a speaker in random order, and so the examples of each
        utts = np.argsort(self._utt_speaker + rng.random(len(self._utt_speaker)), kind="stable")
        rank = np.empty(len(utts), np.int64)
        rank[utts] = np.arange(len(utts))
        examples = self._examples[np.argsort(rank[self._utt] + rng.random(len(self._utt)), kind="stable")]
        sizes = self._utt_counts[utts]
        speaker = np.repeat(self._utt_speaker[utts], sizes)
        kept = places(sizes) < self._most_of_utt[speaker]
        examples, counts = examples[kept], np.bincount(speaker[kept], minlength=len(self.numbers))
        examples = examples[choose_evenly(counts, self.numbers * self.size, rng)]
        # Dealt out one after the other, examples of an utterance fall into different groups of their speaker, since
        # none has more of them than there are groups.
        place, number = places(self.numbers * self.size), np.repeat(self.numbers, self.numbers * self.size)
        first = np.repeat(np.cumsum(self.numbers) - self.numbers, self.numbers * self.size)
        groups = np.empty((int(self.numbers.sum()), self.size), np.int64)
        groups[first + place % number, place // number] = examples
        return groups

    def without(self, taken: Int64s) -> tuple[Int64s, Int64s]:
        """All examples but those TAKEN, and the speaker of each."""
        rest = np.ones(len(self._examples), np.bool_)
        rest[taken] = False
        rest = rest[self._examples]
        return self._examples[rest].astype(np.int64), np.repeat(np.arange(len(self.counts)), self.counts)[rest]


class SpeakersPlan(BatchPlan):
    """Batches of groups of different speakers: rows i * M to (i + 1) * M - 1 are a group of M.

    There are as many batches as can be made so; what is over is left out.

    Args:
        groups: of the examples
        batch_size: a multiple of the size of the groups
        seed: of the order

    Raises:
        DataError: too few speakers have a group
    """

    def __init__(self, groups: SpeakerGroups, batch_size: int, seed: int) -> None:
        self._groups, self._seed = groups, seed
        self._num_speakers = batch_size // groups.size
        numbers = groups.numbers
        self.batches_per_epoch = int(most_sets(numbers, np.zeros_like(numbers), 1, self._num_speakers)[0])
        self.left_out = int(groups.counts.sum()) - self.batches_per_epoch * batch_size
        if not self.batches_per_epoch:
            raise DataError(
                f"no batch of {self._num_speakers} speakers with {groups.size} examples each: only "
                f"{(numbers > 0).sum()} of {(groups.counts > 0).sum()} speakers have so many"
            )

    def windows(self, number: int) -> Iterator[Int64s]:
        """Groups drawn anew, and dealt out at random."""
        rng = np.random.default_rng((self._seed, number))
        groups = self._groups.draw(rng)
        sets = deal(self._groups.owners, self.batches_per_epoch, self._num_speakers, rng)
        yield groups[sets].reshape(self.batches_per_epoch, -1)


class PairsPlan(BatchPlan):
    """Batches of pairs: rows 4 i and 4 i + 1 are of one speaker, rows 4 i + 2 and 4 i + 3 of two.

    An example is in one pair of an epoch at most, of the one kind or of the other by chance; so no pair comes twice.

    Args:
        groups: of two, of the examples
        batch_size: a multiple of 4
        seed: of the order

    Raises:
        DataError: too few speakers, or examples of a speaker
    """

    def __init__(self, groups: SpeakerGroups, batch_size: int, seed: int) -> None:
        self._groups, self._seed, self._quarter = groups, seed, batch_size // 4
        low, high = 0, int(min(groups.counts.sum() // batch_size, groups.numbers.sum() // self._quarter))
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._can_be(middle * self._quarter) else (low, middle - 1)
        self.batches_per_epoch = low
        self.left_out = int(groups.counts.sum()) - low * batch_size
        if not low:
            raise DataError(
                f"no batch of {batch_size} examples in balanced pairs: there are {groups.counts.sum()} of "
                f"{(groups.counts > 0).sum()} speakers, and {groups.numbers.sum()} pairs of one speaker"
            )

    def _can_be(self, num_pairs: int) -> bool:
        """Whether, NUM_PAIRS of one speaker taken in any even way, the rest always makes as many of two speakers."""
        taken = num_pairs * self._groups.numbers // max(self._groups.numbers.sum(), 1)  # or one more
        over = np.maximum(self._groups.counts - 2 * taken - num_pairs, 0).sum()
        return bool(self._groups.counts.sum() - 2 * num_pairs - over >= 2 * num_pairs)

    def windows(self, number: int) -> Iterator[Int64s]:
        """Pairs of one speaker drawn anew, the rest dealt out into pairs of two."""
        rng = np.random.default_rng((self._seed, number))
        num_pairs = self.batches_per_epoch * self._quarter
        groups, owners = self._groups.draw(rng), self._groups.owners
        order = np.argsort(rng.permutation(len(self._groups.numbers))[owners], kind="stable")
        same = groups[order[choose_evenly(np.array([len(order)]), np.array([num_pairs]), rng)]]
        rest, speakers = self._groups.without(same.ravel())
        different = rest[deal(speakers, num_pairs, 2, rng)]
        pairs = np.stack((rng.permutation(same), different), 1)
        yield pairs.reshape(self.batches_per_epoch, -1)


class ListedPairsPlan(BatchPlan):
    """Batches of pairs as those of PairsPlan, out of a list of pairs of utterances, each once an epoch at most.

    Pairs with an utterance that has no example are left out; of one kind, as many as there are of the other. Either
    side is an example of its utterance by chance, and so is which is the first.

    Args:
        speakers: (E,) speaker of each example
        utts: (E,) a number of its utterance, which no other utterance has
        pairs: (P, 2) numbers of utterances
        batch_size: a multiple of 4
        seed: of the order

    Raises:
        DataError: too few pairs
    """

    def __init__(
        self, speakers: Ints, utts: npt.NDArray[np.uint64], pairs: npt.NDArray[np.uint64], batch_size: int, seed: int
    ) -> None:
        self._order = np.argsort(utts, kind="stable")
        known, first, self._counts = np.unique(utts[self._order], return_index=True, return_counts=True)
        self._first, self._seed, self._quarter = first, seed, batch_size // 4
        places = np.minimum(np.searchsorted(known, pairs), len(known) - 1)
        places = places[(known[places] == pairs).all(1)]
        owners = speakers[self._order][first][places]
        same = owners[:, 0] == owners[:, 1]
        self._kinds = places[same], places[~same]
        self.batches_per_epoch = min(map(len, self._kinds)) // self._quarter
        self.left_out = int(np.delete(self._counts, np.unique(places)).sum())
        if not self.batches_per_epoch:
            raise DataError(
                f"no batch of {batch_size} examples in pairs: of {len(pairs)} pairs that are listed training has both "
                f"utterances of {len(places)}, {same.sum()} of one speaker"
            )

    def windows(self, number: int) -> Iterator[Int64s]:
        """The pairs in another order, other examples of their utterances."""
        rng = np.random.default_rng((self._seed, number))
        size = self.batches_per_epoch * self._quarter
        chosen = np.stack([rng.permutation(kind)[:size] for kind in self._kinds], 1)
        chosen = rng.permuted(chosen, axis=2)
        drawn = (rng.random(chosen.shape) * self._counts[chosen]).astype(np.int64)
        yield self._order[self._first[chosen] + drawn].reshape(self.batches_per_epoch, -1)
