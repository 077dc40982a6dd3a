"""What the plan of egs promises, before any feature is read."""

import numpy as np
import pytest

from timbre.egs.egs_plan import ArkPlan, plan_arks, split_utterances, split_with_copies
from timbre.egs.options import EgsOptions
from timbre.utils.errors import DataError

DIM = 10


def _corpus(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices, frames and speakers of 400 utterances of 40 speakers, who speak more or less."""
    rng = np.random.default_rng(seed)
    speakers = np.sort(rng.integers(0, 40, 400))
    frames = rng.integers(30, 90, 400) * (1 + speakers % 4)
    return np.arange(400), frames, speakers


def _plan(seed: int = 0, **options: object) -> list[ArkPlan]:
    utts, frames, speakers = _corpus()
    rng = np.random.default_rng(seed)
    settings = {"min_frames": 30, "max_frames": 120, "ark_megabytes": 0.25} | options
    return plan_arks(utts, frames, speakers, DIM, EgsOptions(**settings), rng)


def test_every_chunk_lies_inside_its_utterance() -> None:
    _, frames, _ = _corpus()
    for ark in _plan():
        assert (ark.start >= 0).all()
        assert (ark.start + ark.frames <= frames[ark.utt]).all()


def test_short_utterances_are_repeated_only_when_that_is_asked_for() -> None:
    _, frames, _ = _corpus()
    arks = _plan(short="repeat")
    short = [frames[ark.utt] < ark.frames for ark in arks]
    assert any(part.any() for part in short)
    for ark, part in zip(arks, short, strict=True):
        assert (ark.start < frames[ark.utt]).all()
        assert (ark.start + ark.frames <= frames[ark.utt])[~part].all()


def test_arks_are_of_bounded_size_and_of_lengths_all_over_the_range() -> None:
    arks = _plan(num_repeats=10)
    lengths = [ark.frames for ark in arks]
    assert max(len(ark.utt) * ark.frames * DIM * 4 for ark in arks) <= 0.25 * 2**20
    assert min(lengths) == 30 and max(lengths) > 100
    assert len(set(lengths)) > 10
    assert lengths != sorted(lengths)


def test_few_examples_still_have_several_lengths() -> None:
    arks = _plan(ark_megabytes=1000, num_repeats=5, num_lengths=7)
    assert len(arks) == 7
    assert min(len(ark.utt) for ark in arks) > 100


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
def test_balance_weighs_speakers(balance: float) -> None:
    utts, frames, speakers = _corpus()
    arks = _plan(balance=balance, num_repeats=20)
    examples = np.bincount(np.concatenate([speakers[ark.utt] for ark in arks]))
    weights = np.bincount(speakers[utts], frames) ** (1 - balance)
    assert examples == pytest.approx(examples.sum() * weights / weights.sum(), abs=1)
    assert examples.sum() == pytest.approx(20 * frames.sum() / 75, rel=0.01)


def test_utterances_of_a_speaker_have_examples_as_their_length_deserves() -> None:
    _, frames, _ = _corpus()
    arks = _plan(num_repeats=4, balance=0)
    examples = np.bincount(np.concatenate([ark.utt for ark in arks]), minlength=400)
    assert examples == pytest.approx(4 * frames / 75, abs=2)
    assert (examples > 0).all()


def test_frames_of_an_utterance_are_covered_all_over() -> None:
    plans = plan_arks(
        np.arange(2),
        np.array([1000, 1000]),
        np.array([0, 1]),
        DIM,
        EgsOptions(min_frames=100, max_frames=100, num_repeats=50, num_lengths=1),
        np.random.default_rng(0),
    )
    starts = np.concatenate([ark.start[ark.utt == 0] for ark in plans])
    histogram = np.histogram(starts, 9, (0, 901))[0]
    assert starts.min() < 10 and starts.max() > 890
    assert histogram == pytest.approx(np.full(9, len(starts) / 9), rel=0.1)


def test_the_seed_decides() -> None:
    one, same, other = _plan(seed=1), _plan(seed=1), _plan(seed=2)
    assert all((a.utt == b.utt).all() and (a.start == b.start).all() for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0].utt, other[0].utt)


def test_held_out_parts_are_disjoint_and_leave_every_other_speaker_in_training() -> None:
    _, _, speakers = _corpus()
    speakers = np.concatenate([speakers, [40, 41, 42]])  # three speakers of one utterance
    split = split_utterances(speakers, EgsOptions(num_valid_speakers=3, num_valid_utts=30), np.random.default_rng(0))
    assert sorted(np.concatenate(split)) == list(range(403))
    held = set(speakers[split.trial])
    assert len(held) == 3 and not held & {40, 41, 42}
    assert set(speakers[split.train]) == set(speakers) - held
    assert len(split.valid) == 30
    assert not set(speakers[split.valid]) & held
    assert np.bincount(speakers[split.train])[list(set(speakers[split.valid]))].min() >= 2


def test_no_more_than_a_tenth_is_held_out() -> None:
    _, _, speakers = _corpus()
    options = EgsOptions(num_valid_speakers=1000, num_valid_utts=1000)
    split = split_utterances(speakers, options, np.random.default_rng(0))
    assert len(set(speakers[split.trial])) == 4
    assert len(split.valid) == (400 - len(split.trial)) // 10
    none = split_utterances(speakers, EgsOptions(num_valid_speakers=0, num_valid_utts=0), np.random.default_rng(0))
    assert len(none.train) == 400


@pytest.mark.parametrize(
    "options", [{"min_frames": 0}, {"min_frames": 50, "max_frames": 40}, {"num_repeats": 0}, {"balance": 2}]
)
def test_wrong_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(DataError):
        EgsOptions(**options)


def test_copies_follow_their_originals() -> None:
    """Utterances 0 to 99 of 20 speakers; 100 to 199 their copies; 200 to 299 slower copies, said to be of others."""
    speakers = np.concatenate([np.arange(100) % 20, np.arange(100) % 20, 20 + np.arange(100) % 20])
    originals = np.tile(np.arange(100), 3)
    options = EgsOptions(num_valid_speakers=2, num_valid_utts=8)
    split = split_with_copies(speakers, originals, options, np.random.default_rng(0))
    alone = split_utterances(speakers[:100], options, np.random.default_rng(0))
    assert np.array_equal(split.valid, alone.valid) and np.array_equal(split.trial, alone.trial)
    assert len(split.valid) == 8 and len(split.trial) == 10
    assert np.array_equal(split.train, np.concatenate([alone.train, 100 + alone.train, 200 + alone.train]))
    originals[150] = -1  # its original is too short to be used
    again = split_with_copies(speakers, originals, options, np.random.default_rng(0))
    held = speakers[150] in speakers[again.trial]
    assert (150 in again.train) == (not held)
