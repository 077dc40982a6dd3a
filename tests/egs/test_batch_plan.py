"""Batches of speakers and of pairs: what must hold for each of them, for any corpus."""

import itertools
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest

from timbre.egs.batch_plan import BatchPlan, ListedPairsPlan, PairsPlan, ShuffledPlan, SpeakerGroups, SpeakersPlan
from timbre.egs.deal import choose_evenly, deal, most_sets
from timbre.egs.options import BatchOptions
from timbre.utils.errors import DataError

CORPORA = 60  # random ones


@dataclass
class Corpus:
    """Speakers and utterances of examples; utterances of two speakers may have the same number."""

    speakers: np.ndarray
    utts: np.ndarray

    @classmethod
    def draw(cls, seed: int) -> "Corpus":
        """Some with much the same number of examples of each, some where one speaker or one utterance has most."""
        rng = np.random.default_rng(seed)
        size, num_speakers, num_utts = (int(rng.integers(*bounds)) for bounds in ((20, 600), (2, 30), (1, 12)))
        shares = rng.dirichlet(np.full(num_speakers, rng.choice([0.1, 1, 10])))
        utt_shares = rng.dirichlet(np.full(num_utts, rng.choice([0.2, 5])))
        return cls(rng.choice(num_speakers, size, p=shares), rng.choice(num_utts, size, p=utt_shares))

    @cached_property
    def num_utts(self) -> Counter[int]:
        """Utterances of each speaker."""
        return Counter(spk for spk, _ in set(zip(self.speakers.tolist(), self.utts.tolist(), strict=True)))

    def groups(self, size: int, most: int = 0) -> SpeakerGroups:
        return SpeakerGroups(self.speakers, self.utts, size, most)


def batches(plan: BatchPlan, epoch: int) -> np.ndarray:
    """(batches, examples)"""
    found = np.stack(list(plan.epoch(epoch)))
    assert len(found) == plan.batches_per_epoch
    return found


def even_corpus(speakers: int = 20, utts: int = 4, chunks: int = 6) -> Corpus:
    every = np.array(list(itertools.product(range(speakers), range(utts), range(chunks))))
    return Corpus(every[:, 0], every[:, 1])


def greedy_sets(counts: list[int], size: int) -> int:
    """How many sets of SIZE different owners: always one item of each of the owners that have most left."""
    number = 0
    while True:
        counts = sorted(counts, reverse=True)
        if len(counts) < size or counts[size - 1] == 0:
            return number
        counts[:size] = [count - 1 for count in counts[:size]]
        number += 1


@pytest.mark.parametrize("seed", range(20))
def test_as_many_sets_as_the_greedy_way(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, rng.integers(1, 20), 30)
    segments = rng.integers(0, 4, 30)
    expected = [greedy_sets(counts[segments == segment].tolist(), 3) for segment in range(4)]
    assert most_sets(counts, segments, 4, 3).tolist() == expected


@pytest.mark.parametrize("seed", range(20))
def test_sets_have_different_owners(seed: int) -> None:
    rng = np.random.default_rng(seed)
    owners = rng.choice(12, 200, p=rng.dirichlet(np.full(12, 0.5)))
    size = int(rng.integers(2, 6))
    number = int(most_sets(np.bincount(owners), np.zeros(owners.max() + 1, int), 1, size)[0])
    sets = deal(owners, number, size, rng)
    assert sets.shape == (number, size)
    assert len(np.unique(sets)) == sets.size
    assert all(len(set(row)) == size for row in owners[sets])


def test_owners_meet_nearly_all_others() -> None:
    owners = np.repeat(np.arange(40), 50)
    sets = owners[deal(owners, 500, 4, np.random.default_rng(0))]
    met = [len(np.unique(sets[(sets == owner).any(1)])) - 1 for owner in range(40)]
    assert min(met) >= 26  # of the 30 that are not in its own quarter
    assert np.unique(sets.argmax(1), return_counts=True)[1].min() > 80  # and stand anywhere in a set


def test_every_item_is_as_likely_to_be_chosen() -> None:
    sizes, wanted = np.array([7, 0, 4, 10]), np.array([3, 0, 4, 1])
    rng = np.random.default_rng(0)
    masks = np.stack([choose_evenly(sizes, wanted, rng) for _ in range(4000)])
    for part, want in zip(np.split(masks, np.cumsum(sizes)[:-1], axis=1), wanted, strict=True):
        assert (part.sum(1) == want).all()
        assert part.mean(0) == pytest.approx(np.full(part.shape[1], want / max(part.shape[1], 1)), abs=0.03)


@pytest.mark.parametrize("seed", range(CORPORA))
def test_batches_of_speakers(seed: int) -> None:
    corpus, rng = Corpus.draw(seed), np.random.default_rng(seed)
    size, num_speakers = int(rng.integers(2, 5)), int(rng.integers(2, 7))
    most = int(rng.choice([0, size, 2 * size + 1, 30]))
    groups = corpus.groups(size, most)
    can_be = greedy_sets(groups.numbers.tolist(), num_speakers)
    if not can_be:
        with pytest.raises(DataError, match=rf"no batch of {num_speakers} speakers with {size} examples each"):
            SpeakersPlan(groups, num_speakers * size, seed)
        return
    plan = SpeakersPlan(groups, num_speakers * size, seed)
    assert plan.batches_per_epoch == can_be
    for epoch in range(2):
        found = batches(plan, epoch)
        assert len(np.unique(found)) == found.size == len(corpus.speakers) - plan.left_out
        rows = found.reshape(len(found), num_speakers, size)
        speakers, utts = corpus.speakers[rows], corpus.utts[rows]
        assert (speakers == speakers[:, :, :1]).all()
        assert all(len(set(batch)) == num_speakers for batch in speakers[:, :, 0])
        for spk, group in zip(speakers[:, :, 0].ravel(), utts.reshape(-1, size), strict=True):
            assert len(set(group)) == size or corpus.num_utts[int(spk)] < size
        if most:
            assert np.bincount(corpus.speakers[found.ravel()]).max() <= max(most, size)


def test_each_speaker_has_as_many_groups_as_its_utterances_allow() -> None:
    speakers = np.repeat([0, 1, 2, 3], [10, 10, 5, 1])
    utts = np.array([0] * 8 + [1, 2] + [0, 1, 2, 3, 4] * 2 + [7] * 5 + [0])
    groups = SpeakerGroups(speakers, utts, 2)
    # of the first, eight of ten are of one utterance; the third has one utterance, the last one example
    assert groups.numbers.tolist() == [2, 5, 2, 0]
    drawn = groups.draw(np.random.default_rng(0))
    assert speakers[drawn].tolist() == [[owner, owner] for owner in groups.owners]


def test_batches_of_speakers_use_all_of_an_even_corpus() -> None:
    corpus = even_corpus()
    plan = SpeakersPlan(corpus.groups(3), 15, 0)
    assert plan.left_out == 0 and plan.batches_per_epoch == 480 // 15
    assert SpeakersPlan(corpus.groups(3, most=6), 15, 0).batches_per_epoch == 20 * 6 // 15


@pytest.mark.parametrize("seed", range(CORPORA))
def test_balanced_pairs(seed: int) -> None:
    corpus, rng = Corpus.draw(seed), np.random.default_rng(seed)
    batch_size = 4 * int(rng.integers(1, 5))
    try:
        plan = PairsPlan(corpus.groups(2), batch_size, seed)
    except DataError as error:
        assert "balanced pairs" in str(error)
        assert len(corpus.num_utts) < 3 or len(corpus.speakers) < 300  # else there must be some
        return
    for epoch in range(3):
        found = batches(plan, epoch)
        assert len(np.unique(found)) == found.size == len(corpus.speakers) - plan.left_out  # so no pair comes twice
        pairs = found.reshape(len(found), -1, 2)
        speakers, utts = corpus.speakers[pairs], corpus.utts[pairs]
        same = speakers[:, :, 0] == speakers[:, :, 1]
        assert (same == (np.arange(pairs.shape[1]) % 2 == 0)).all()  # half of each batch, and of each part of it
        alike = same & (utts[:, :, 0] == utts[:, :, 1])
        assert all(corpus.num_utts[int(spk)] == 1 for spk in speakers[alike].ravel())


def test_pairs_use_all_of_an_even_corpus_and_treat_examples_alike() -> None:
    corpus = even_corpus(speakers=11, utts=3, chunks=2)  # 66 examples, of which each epoch leaves two
    plan = PairsPlan(corpus.groups(2), 16, 0)
    assert plan.batches_per_epoch == 4 and plan.left_out == 2
    epochs = [batches(plan, epoch).reshape(-1, 2, 2) for epoch in range(600)]
    used = np.bincount(np.concatenate([pairs.ravel() for pairs in epochs]), minlength=66) / 600
    same = np.bincount(np.concatenate([pairs[:, 0].ravel() for pairs in epochs]), minlength=66) / 600
    assert used == pytest.approx(np.full(66, 64 / 66), abs=0.04)
    assert same == pytest.approx(np.full(66, 32 / 66), abs=0.1)
    seen = {frozenset(pair) for pairs in epochs for pair in pairs[:, 0].tolist()}
    assert len(seen) == 11 * 3 * 4  # every pair of two utterances of a speaker, some time


@pytest.mark.parametrize("kind", ["shuffled", "speakers", "pairs"])
def test_an_epoch_follows_from_the_seed_and_its_number(kind: str) -> None:
    def make(seed: int) -> BatchPlan:
        if kind == "shuffled":
            return ShuffledPlan(np.array([100, 80, 300]), np.array([30, 20, 30]), 16, seed)
        groups = even_corpus().groups(2)
        return SpeakersPlan(groups, 16, seed) if kind == "speakers" else PairsPlan(groups, 16, seed)

    plan = make(0)
    epochs = [batches(plan, number) for number in range(3)]
    assert (epochs[2] == batches(make(0), 2)).all()
    assert (epochs[1] != epochs[2]).any() and (epochs[0] != batches(make(1), 0)).any()


@pytest.mark.parametrize("batch_size", [16, 64, 500, 3000])
@pytest.mark.parametrize("lengths", [1, 5, 40])
def test_all_but_less_than_a_batch_are_used(batch_size: int, lengths: int) -> None:
    rng = np.random.default_rng(lengths)
    sizes, frames = rng.integers(1, 200, 40), 200 + rng.integers(0, lengths, 40)
    plan = ShuffledPlan(sizes, frames, batch_size, 0)
    assert plan.left_out < batch_size
    missing = []
    for epoch in range(2):
        found = batches(plan, epoch)
        assert found.shape[1] == batch_size and len(np.unique(found)) == found.size == sizes.sum() - plan.left_out
        missing.append(set(range(sizes.sum())) - set(found.ravel().tolist()))
    assert missing[0] != missing[1] or not plan.left_out
    with pytest.raises(DataError, match=f"{sizes.sum()} examples do not fill a batch of 100000"):
        ShuffledPlan(sizes, frames, 100_000, 0)


def test_batches_are_of_arks_of_neighbouring_length() -> None:
    sizes, frames = np.full(64, 300), np.random.default_rng(0).permutation(np.arange(200, 328, 2))
    of_example = np.repeat(np.arange(64), 300)
    plan = ShuffledPlan(sizes, frames, 256, 0)
    for epoch in range(3):
        arks = of_example[batches(plan, epoch)]
        assert np.ptp(frames[arks], axis=1).max() < 48  # of four or five arks, and what was left of longer ones
        lost = frames[arks] - frames[arks].min(1, keepdims=True)
        assert lost.mean() < 0.02 * frames.mean()
        lengths = frames[arks].min(1)
        assert np.mean(lengths[1:] != lengths[:-1]) > 0.5  # from step to step


@pytest.mark.parametrize("frames", [np.full(32, 400), np.arange(200, 264, 2)], ids=["one length", "many"])
def test_no_batch_is_that_of_an_earlier_epoch(frames: np.ndarray) -> None:
    plan = ShuffledPlan(np.full(32, 260), frames, 256, 0)  # an ark is a batch and a little
    first, second = (batches(plan, epoch) for epoch in range(2))
    where = np.full(32 * 260, len(second))
    where[second] = np.arange(len(second))[:, None]
    common = [np.bincount(where[batch]).max() for batch in first]
    assert np.mean(common) < 0.5 * 256  # 0.98 of it, were it the same ark


def test_a_rank_reads_few_arks_of_a_pool() -> None:
    def most(arks: np.ndarray) -> int:
        """How many arks nine tenths of the examples are of."""
        counts = np.sort(np.unique(arks, return_counts=True)[1])[::-1]
        return int(np.searchsorted(np.cumsum(counts), 0.9 * arks.size)) + 1

    plan, of_example = ShuffledPlan(np.full(32, 640), np.full(32, 400), 256, 0), np.repeat(np.arange(32), 640)
    for window in plan.windows(0):
        arks = of_example[window]
        assert most(arks) <= 16
        assert max(map(most, np.split(arks, 4, axis=1))) <= 0.6 * most(arks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"utts_per_speaker": 1}, "utts_per_speaker is 1"),
        ({"kind": "speakers", "utts_per_speaker": 3, "max_utts_per_speaker": 2}, "at least utts_per_speaker, 3"),
        ({"kind": "pairs", "max_utts_per_speaker": 8}, "is for batches of speakers, and these are pairs"),
        ({"kind": "speakers", "pair_table": Path("pairs.csv")}, "is for batches of pairs, and these are speakers"),
        ({"min_frames": 200}, "min_frames 200 and max_frames 0"),
        ({"min_frames": 300, "max_frames": 200}, "min_frames 300 and max_frames 200"),
        ({"min_frames": 0, "max_frames": 200}, "min_frames 0 and max_frames 200"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        BatchOptions(**options)


def test_parts_never_divide_what_belongs_together() -> None:
    speakers = BatchOptions("speakers", utts_per_speaker=4)
    speakers.check_parts(64, 8)
    for batch_size, parts, message in (
        (62, 1, "batch_size is 62; batches of speakers need a multiple of 4"),
        (64, 3, "batch_size is 64; batches of speakers in 3 equal parts need a multiple of 12"),
        (64, 16, "in 16 equal parts need two speakers or more in each"),
    ):
        with pytest.raises(DataError, match=message):
            speakers.check_parts(batch_size, parts)
    BatchOptions("pairs").check_parts(12, 3)
    with pytest.raises(DataError, match="batch_size is 12; batches of pairs in 2 equal parts need a multiple of 8"):
        BatchOptions("pairs").check_parts(12, 2)


def test_listed_pairs_are_those_of_the_list_that_training_has_each_once_an_epoch() -> None:
    corpus = even_corpus(speakers=6, utts=3, chunks=4)
    utts = (corpus.speakers * 100 + corpus.utts + 7).astype(np.uint64)
    rng = np.random.default_rng(0)
    every = list(itertools.combinations(np.unique(utts).tolist(), 2))
    same = [pair for pair in every if pair[0] // 100 == pair[1] // 100]
    others = [every[row] for row in rng.permutation(len(every)) if every[row] not in same][:20]
    listed = rng.permutation(np.array([*same, *others, (7, 10**6), (10**6, 10**6 + 1)], np.uint64))
    plan = ListedPairsPlan(corpus.speakers, utts, listed, 16, 0)
    assert plan.batches_per_epoch == 18 // 4 and plan.left_out == 0
    wanted = {frozenset(pair) for pair in [*same, *others]}
    orders, examples = set(), set()
    for epoch in range(40):
        pairs = batches(plan, epoch).reshape(-1, 2)
        speakers, named = corpus.speakers[pairs], utts[pairs]
        assert (speakers[::2, 0] == speakers[::2, 1]).all() and (speakers[1::2, 0] != speakers[1::2, 1]).all()
        found = [frozenset(pair) for pair in named.tolist()]
        assert len(set(found)) == len(found) == 32 and wanted.issuperset(found)
        orders.update(map(tuple, named.tolist()))
        examples.update(pairs.ravel().tolist())
    assert len(orders) == 2 * len(wanted), "every pair, in both orders"
    assert len(examples) == len(utts), "every example of every utterance"
    assert (batches(plan, 3) == batches(ListedPairsPlan(corpus.speakers, utts, listed, 16, 0), 3)).all()
    with pytest.raises(DataError, match="of 40 pairs that are listed training has both utterances of 38, 18 of one"):
        ListedPairsPlan(corpus.speakers, utts, listed, 76, 0)
