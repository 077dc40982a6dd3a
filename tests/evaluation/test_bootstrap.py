"""The bootstrap over speakers against trials written out as often as their speakers are drawn."""

import numpy as np
import pytest

from timbre.evaluation.bootstrap import Draws, bootstrap
from timbre.evaluation.metrics import act_dcf, cllr, roc
from timbre.runtime.thresholds import interval


def make_trials(seed: int, num_speakers: int = 12, num_trials: int = 400) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    enroll, test = rng.integers(0, num_speakers, (2, num_trials))
    test[: num_trials // 4] = enroll[: num_trials // 4]
    target = enroll == test
    scores = np.round(rng.normal(2.0 * target, 1), 1)  # ties
    return scores, target, enroll, test


def test_a_draw_is_the_error_rate_of_the_trials_it_repeats() -> None:
    scores, target, enroll, test = make_trials(0)
    draws = bootstrap(scores, target, enroll, test, num_draws=20, seed=5)
    for index in range(20):
        drawn = np.random.default_rng([5, index]).integers(0, 12, 12)
        times = np.bincount(drawn, minlength=12)
        repeats = np.where(target, times[enroll], times[enroll] * times[test])
        curve = roc(np.repeat(scores, repeats * target), np.repeat(scores, repeats * ~target))
        assert draws.eer[index] == curve.eer()
        assert [draws.min_dcf[prior][index] for prior in (0.05, 0.01)] == [curve.min_dcf(0.05), curve.min_dcf(0.01)]


@pytest.mark.parametrize("num_speakers", [12, 150])
@pytest.mark.parametrize("two_way", [False, True])
def test_every_measure_is_that_of_the_trials_repeated(two_way: bool, num_speakers: int) -> None:
    """With few speakers many trials are of one pair, with many most pairs have one trial or none."""
    scores, target, enroll, test = make_trials(3, num_speakers, 900)
    draws = bootstrap(scores, target, enroll, test, num_draws=20, seed=7, llr=True, two_way=two_way)
    pools = [np.unique(enroll), np.unique(test)] if two_way else [np.arange(1 + max(enroll.max(), test.max()))]
    for index in range(20):
        rng = np.random.default_rng([7, index])
        times = [np.bincount(pool[rng.integers(0, len(pool), len(pool))], minlength=num_speakers) for pool in pools]
        repeats = times[0][enroll] * times[-1][test]
        repeats = repeats if two_way else np.where(enroll == test, times[0][enroll], repeats)
        targets, nontargets = np.repeat(scores, repeats * target), np.repeat(scores, repeats * ~target)
        curve = roc(targets, nontargets)
        assert (draws.eer[index], draws.min_dcf[0.01][index]) == (curve.eer(), curve.min_dcf(0.01))
        assert (draws.rocch_eer[index], draws.min_cllr[index]) == pytest.approx((curve.rocch_eer(), curve.min_cllr()))
        assert draws.cllr[index] == pytest.approx(cllr(targets, nontargets))
        assert draws.act_dcf[0.01][index] == pytest.approx(act_dcf(targets, nontargets, 0.01))


def test_two_way_intervals_are_wider() -> None:
    trials = simulate(np.random.default_rng(4), 60)
    widths = [np.ptp(interval(bootstrap(*trials, num_draws=300, two_way=way).eer)) for way in (False, True)]
    assert widths[1] > widths[0]


def test_same_for_any_order_and_number_of_threads() -> None:
    scores, target, enroll, test = make_trials(1)
    order = np.random.default_rng(0).permutation(len(scores))
    first = bootstrap(scores, target, enroll, test, num_draws=50)
    second = bootstrap(scores[order], target[order], enroll[order], test[order], num_draws=50, nj=3)
    assert np.array_equal(first.eer, second.eer)
    assert np.array_equal(first.min_dcf[0.01], second.min_dcf[0.01])
    assert not np.array_equal(first.eer, bootstrap(scores, target, enroll, test, num_draws=50, seed=1).eer)


def simulate(rng: np.random.Generator, num_speakers: int) -> tuple[np.ndarray, ...]:
    """All pairs of two utterances a speaker; speakers differ in how well they are recognised."""
    speaker = np.repeat(np.arange(num_speakers), 2)
    enroll, test = np.triu_indices(len(speaker), 1)
    enroll, test = speaker[enroll], speaker[test]
    target = enroll == test
    quality = rng.normal(0, 1, num_speakers)
    scores = rng.normal(2.0 * target, 1) + np.where(target, 1, -0.5) * (quality[enroll] + quality[test]) / 2
    return scores, target, enroll, test


def test_intervals_cover_the_true_error_rate() -> None:
    rng = np.random.default_rng(0)
    scores, target, *_ = simulate(rng, 1200)
    truth = roc(scores[target], scores[~target]).eer()
    covered = 0
    for _ in range(60):
        ends = interval(bootstrap(*simulate(rng, 40), num_draws=200).eer)
        assert ends is not None
        covered += ends[0] <= truth <= ends[1]
    assert covered >= 50


def test_too_few_speakers_have_no_interval() -> None:
    scores, target, enroll, test = make_trials(2, num_speakers=1, num_trials=40)
    target[:20] = False  # labelled so, whatever the speakers
    assert interval(bootstrap(scores, target, enroll, test, num_draws=100).eer) is not None
    assert interval(Draws(np.full(10, np.nan), {}).eer) is None
    assert interval(np.array([])) is None
    two = np.array([0, 1, 0]), np.array([0, 1, 1])
    draws = bootstrap(np.array([1.0, 2.0, 0.0]), np.array([True, True, False]), *two, num_draws=200)
    assert 60 < np.isnan(draws.eer).sum() < 140  # the one nontarget pair is gone when a speaker is drawn twice


def test_interval_is_made_of_percentiles() -> None:
    low, high = interval(np.arange(1001.0))
    assert (low, high) == (pytest.approx(25), pytest.approx(975))
