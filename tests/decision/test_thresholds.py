"""Thresholds and expected errors against counting by hand and against a drawn bootstrap, trial by trial."""

import numpy as np
import pytest

from timbre.runtime.thresholds import ErrorRate, OperatingPoint, bayes_threshold, operating_points, rate_threshold


def make(num_speakers: int, utts: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Log-likelihood ratios of all pairs of utterances, targets, both speakers; some speakers are like everybody."""
    random = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(num_speakers), utts)
    one, two = np.triu_indices(len(speaker), 1)
    target = speaker[one] == speaker[two]
    hard = random.normal(0, 1.5, num_speakers)
    llrs = random.normal(np.where(target, 2, -2), 2) + hard[speaker[one]] + hard[speaker[two]]
    return np.round(llrs, 1), target, speaker[one], speaker[two]  # rounded: many are equal


def test_bayes_thresholds() -> None:
    assert bayes_threshold(0.5) == 0 and bayes_threshold(0.01) == pytest.approx(np.log(99))


@pytest.mark.parametrize("rate", [0.5, 0.05, 0.01, 0.0001])
def test_the_lowest_threshold_with_that_rate(rate: float) -> None:
    nontargets = np.round(np.random.default_rng(0).normal(size=3000), 1)
    threshold = rate_threshold(nontargets, rate)
    assert np.mean(nontargets >= threshold) <= rate
    below = nontargets[nontargets < threshold].max()  # accepting the next equal scores too would be too many
    assert np.mean(nontargets >= below) > rate


def test_rates_and_intervals_are_those_of_weighted_trials() -> None:
    llrs, target, enroll, test = make(12, 5)
    points = operating_points(llrs, target, enroll, test, num_draws=200, seed=3)
    assert [(point.kind, point.value) for point in points] == [
        *(("prior", prior) for prior in (0.5, 0.05, 0.01, 0.001)),
        *(("false_alarm_rate", rate) for rate in (0.05, 0.01, 0.001, 0.0001)),
    ]
    for point in (points[0], points[1], points[4]):
        wrong = {"miss": llrs[target] < point.threshold, "false_alarm": llrs[~target] >= point.threshold}
        draws = {"miss": [], "false_alarm": []}
        for index in range(200):
            counts = np.bincount(np.random.default_rng([3, index]).integers(0, 12, 12), minlength=12)
            weights = {
                "miss": counts[enroll[target]].astype(float),
                "false_alarm": (counts[enroll[~target]] * counts[test[~target]]).astype(float),
            }
            for name in draws:
                draws[name].append(np.average(wrong[name], weights=weights[name]))
        for name in draws:
            found: ErrorRate = getattr(point, name)
            assert found.errors == wrong[name].sum() and found.trials == len(wrong[name])
            assert (found.low, found.high) == pytest.approx(np.quantile(draws[name], [0.025, 0.975]))


def test_whether_a_list_is_large_enough() -> None:
    fine, few, wide = (
        ErrorRate(400, 4000, 0.09, 0.11),
        ErrorRate(3, 4000, 0.0001, 0.002),
        ErrorRate(400, 4000, 0.02, 0.3),
    )
    for miss, alarm, word in (
        (fine, fine, "yes"),
        (few, fine, "no: 3 misses, of which 30 are wanted"),
        (few, few, "no: 3 misses and 3 false alarms, of which 30 are wanted"),
        (fine, wide, "no: too few speakers to know the false alarms"),
    ):
        assert OperatingPoint("prior", 0.5, 0.0, miss, alarm).word == word
    point = OperatingPoint("false_alarm_rate", 0.0001, 9.0, fine, ErrorRate(0, 4000, 0, 0.00075))
    assert point.word == "no: 4,000 nontargets cannot show a rate of 0.01 %"


def test_no_error_is_bounded_by_the_rule_of_three() -> None:
    _, target, enroll, test = make(6, 4)
    point = operating_points(np.where(target, 50.0, -50.0), target, enroll, test, num_draws=20)[0]
    assert (point.miss.errors, point.miss.low, point.miss.high) == (0, 0.0, 3 / point.miss.trials)
