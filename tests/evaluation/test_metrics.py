"""Error rates against exact arithmetic over every threshold, against scikit-learn and against Kaldi's own programs."""

from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_curve

from timbre.evaluation import metrics
from timbre.evaluation.metrics import PRIORS, act_dcf, cllr, operating_points, roc, split
from timbre.evaluation.pav import weighted_ece
from timbre.utils.errors import DataError

Points = list[tuple[Fraction, Fraction]]


def operating_points_of(targets: np.ndarray, nontargets: np.ndarray) -> Points:
    """(miss rate, false-alarm rate) at every threshold that makes a difference, by counting."""
    thresholds = [*sorted({*targets.tolist(), *nontargets.tolist()}), np.inf]
    return [
        (Fraction(int((targets < t).sum()), len(targets)), Fraction(int((nontargets >= t).sum()), len(nontargets)))
        for t in thresholds
    ]


def crossing(a: tuple[Fraction, Fraction], b: tuple[Fraction, Fraction]) -> Fraction:
    """Where the segment from A, with fewer misses than false alarms, to B meets the diagonal."""
    before, after = a[0] - a[1], b[0] - b[1]
    return a[0] if after == before else a[0] + (b[0] - a[0]) * -before / (after - before)


def tied_scores(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    num_target, num_nontarget, levels = rng.integers(1, 12), rng.integers(1, 30), rng.integers(1, 15)
    return (
        rng.integers(0, levels, num_target).astype(float) + rng.integers(0, 3),
        rng.integers(0, levels, num_nontarget).astype(float),
    )


@pytest.mark.parametrize("seed", range(60))
def test_equal_exact_arithmetic_over_all_thresholds(seed: int) -> None:
    targets, nontargets = tied_scores(seed)
    points = operating_points_of(targets, nontargets)
    curve = roc(targets, nontargets)

    above = next(index for index, (miss, false_alarm) in enumerate(points) if miss >= false_alarm)
    eer = points[0][0] if above == 0 else crossing(points[above - 1], points[above])
    assert curve.eer() == pytest.approx(float(eer), abs=1e-15)

    # the hull passes below every chord between two operating points, so its crossing is the lowest of all chords'
    chords = [crossing(a, b) for a, b in product(points, points) if a[0] <= a[1] and b[0] >= b[1]]
    assert curve.rocch_eer() == pytest.approx(float(min(chords)), abs=1e-15)

    for prior in (*PRIORS, 0.5, 0.9):
        p = Fraction(prior)
        cost = min(p * miss + (1 - p) * false_alarm for miss, false_alarm in points) / min(p, 1 - p)
        assert curve.min_dcf(prior) == pytest.approx(float(cost), abs=1e-14)


@pytest.mark.parametrize("levels", [30, 3000, 10**9])
def test_corners_left_out_change_nothing(levels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(levels)
    targets, nontargets = (np.round(rng.normal(m, 1, 4000) * levels) for m in (2.5, 0))
    whole = roc(targets, nontargets)
    monkeypatch.setattr(metrics, "_CORNERS", 64)
    reduced = roc(targets, nontargets)
    assert levels == 30 or 64 < len(reduced.thresholds) < len(whole.thresholds) / 2
    assert (reduced.eer(), reduced.rocch_eer()) == (whole.eer(), whole.rocch_eer())
    assert [reduced.min_dcf(prior) for prior in (*PRIORS, 0.5)] == [whole.min_dcf(prior) for prior in (*PRIORS, 0.5)]
    assert reduced.min_cllr() == pytest.approx(whole.min_cllr(), rel=1e-12)
    assert abs((targets < reduced.eer_threshold()).mean() - (targets < whole.eer_threshold()).mean()) < 2 / 64
    on_curve = dict(zip(whole.thresholds, zip(whole.misses, whole.false_alarms, strict=True), strict=True))
    assert all(
        on_curve[t] == point
        for t, point in zip(reduced.thresholds, zip(reduced.misses, reduced.false_alarms, strict=True), strict=True)
    )


def test_extremes() -> None:
    low, high = np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0])
    assert roc(high, low).eer() == roc(high, low).rocch_eer() == roc(high, low).min_dcf(0.01) == 0
    assert roc(low, high).eer() == 1
    assert roc(np.ones(3), np.ones(7)).eer() == roc(np.ones(3), np.ones(7)).rocch_eer() == 0.5
    assert roc(low, high).min_dcf(0.01) == 1


def test_no_result_depends_on_the_order_of_trials() -> None:
    rng = np.random.default_rng(0)
    scores, target = rng.integers(0, 50, 3000) / 7, rng.random(3000) < 0.2
    order = rng.permutation(3000)
    first, second = (roc(*split(s, t)) for s, t in ((scores, target), (scores[order], target[order])))
    assert (first.eer(), first.rocch_eer(), first.min_dcf(0.01)) == (
        second.eer(), second.rocch_eer(), second.min_dcf(0.01)
    )  # fmt: skip


def test_bounds() -> None:
    rng = np.random.default_rng(1)
    for separation in np.linspace(-1, 4, 20):
        targets, nontargets = rng.normal(separation, 1, 300), rng.normal(0, 1, 2000)
        curve = roc(targets, nontargets)
        assert curve.rocch_eer() <= curve.eer()
        for prior in PRIORS:
            assert curve.min_dcf(prior) <= min(1, act_dcf(targets, nontargets, prior))


def test_eer_is_where_the_curve_of_scikit_learn_crosses_the_diagonal() -> None:
    rng = np.random.default_rng(2)
    for _ in range(10):
        scores, target = np.round(rng.normal(0, 1, 500), 2), rng.random(500) < 0.3
        scores[target] += 1.5
        false_alarms, hits, _ = roc_curve(target, scores, drop_intermediate=False)
        excess = (1 - hits) - false_alarms
        expected = np.interp(0, excess[::-1], false_alarms[::-1])
        assert roc(*split(scores, target)).eer() == pytest.approx(expected, abs=1e-12)


def test_llr_costs_of_gaussian_scores() -> None:
    """LLRs of N(m, 2m) against N(-m, 2m) are calibrated: actDCF is minDCF, and Cllr is known by integration."""
    rng = np.random.default_rng(3)
    mean = 2.0
    targets, nontargets = rng.normal([[mean], [-mean]], np.sqrt(2 * mean), (2, 400_000))
    curve = roc(targets, nontargets)
    for prior in (0.05, 0.5):
        assert act_dcf(targets, nontargets, prior) == pytest.approx(curve.min_dcf(prior), rel=0.01)
    grid = np.linspace(-25, 30, 200_001)
    density = np.exp(-((grid - mean) ** 2) / (4 * mean)) / np.sqrt(4 * np.pi * mean)
    expected = np.sum(density * np.logaddexp(0, -grid)) * (grid[1] - grid[0]) / np.log(2)
    assert cllr(targets, nontargets) == pytest.approx(expected, rel=0.01)
    assert cllr(targets + 3, nontargets + 3) > cllr(targets, nontargets)
    assert cllr(np.zeros(5), np.zeros(9)) == pytest.approx(1)


@pytest.mark.parametrize("seed", range(20))
def test_min_cllr_is_cllr_after_isotonic_regression(seed: int) -> None:
    targets, nontargets = tied_scores(seed)
    scores, labels = np.concatenate([targets, nontargets]), np.repeat([1.0, 0.0], [len(targets), len(nontargets)])
    fitted = IsotonicRegression(y_min=0, y_max=1).fit(scores, labels).predict(scores)
    with np.errstate(divide="ignore"):
        llrs = np.log(fitted) - np.log1p(-fitted) - np.log(len(targets) / len(nontargets))
    curve = roc(targets, nontargets)
    assert curve.min_cllr() == pytest.approx(cllr(*split_llrs(llrs, labels)), abs=1e-9)
    pools = curve.pav()
    assert (np.diff(pools.llrs()) > 0).all()
    assert (pools.targets.sum(), pools.nontargets.sum()) == (len(targets), len(nontargets))
    for odds in (-2.0, 0.7):  # the entropy of the posteriors, by its definition
        prior = 1 / (1 + np.exp(-odds))
        posterior = 1 / (1 + np.exp(-(llrs + odds)))
        with np.errstate(divide="ignore"):
            costs = -np.log2(np.where(labels == 1, posterior, 1 - posterior))
        expected = prior * costs[labels == 1].mean() + (1 - prior) * costs[labels == 0].mean()
        assert pools.ece(np.array([odds]))[0] == pytest.approx(expected, abs=1e-9)


def split_llrs(llrs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return llrs[labels == 1], llrs[labels == 0]


def test_min_cllr_bounds() -> None:
    rng = np.random.default_rng(5)
    targets, nontargets = rng.normal(2, 2, 4000), rng.normal(-2, 2, 9000)  # calibrated
    curve = roc(targets, nontargets)
    assert curve.min_cllr() < cllr(targets, nontargets) < curve.min_cllr() + 0.01
    assert roc(np.exp(targets), np.exp(nontargets)).min_cllr() == pytest.approx(curve.min_cllr(), abs=1e-12)
    assert roc(np.ones(3), np.ones(7)).min_cllr() == pytest.approx(1)
    assert roc(np.array([0.0]), np.array([1.0])).min_cllr() == pytest.approx(1)  # no ascending map makes use of it
    assert roc(np.array([1.0]), np.array([0.0])).min_cllr() == 0


def test_rocch_eer_is_the_value_of_a_game() -> None:
    """The hull's EER is the least max(miss, false alarm) over all mixtures of thresholds: a linear programme."""
    for seed in range(8):
        targets, nontargets = tied_scores(seed)
        points = np.array(operating_points_of(targets, nontargets), float)
        bounds = np.hstack([points.T, -np.ones((2, 1))])
        best = linprog(
            np.append(np.zeros(len(points)), 1),
            A_ub=bounds,
            b_ub=np.zeros(2),
            A_eq=[np.append(np.ones(len(points)), 0)],
            b_eq=[1],
        )
        assert roc(targets, nontargets).rocch_eer() == pytest.approx(best.fun, abs=1e-9)


def test_ece_without_information_is_the_entropy_of_the_prior() -> None:
    odds = np.linspace(-4, 4, 9)
    prior = 1 / (1 + np.exp(-odds))
    entropy = -prior * np.log2(prior) - (1 - prior) * np.log2(1 - prior)
    assert weighted_ece(np.zeros(3), np.ones(3), np.zeros(2), np.ones(2), odds) == pytest.approx(entropy)


def test_infinite_scores_are_the_ends_of_the_curve() -> None:
    """An infinite score ranks as any number beyond the others does."""
    targets, nontargets = np.array([-np.inf, 0.5, 2, np.inf, np.inf]), np.array([-np.inf, 0, 1, np.inf])
    infinite, finite = roc(targets, nontargets), roc(np.clip(targets, -9, 9), np.clip(nontargets, -9, 9))
    assert infinite.eer() == finite.eer() and infinite.min_dcf(0.05) == finite.min_dcf(0.05)
    assert infinite.min_cllr() == finite.min_cllr() and infinite.rocch_eer() == finite.rocch_eer()
    assert cllr(targets, nontargets) == np.inf  # a target denied with certainty


def test_costs_are_part_of_the_operating_point() -> None:
    rng = np.random.default_rng(7)
    targets, nontargets = rng.normal(1, 1, 200), rng.normal(-1, 1, 700)
    points = operating_points(["0.01:10:1", "0.05", "0.5:1:19"])
    assert list(points) == ["0.01:10:1", "0.05", "0.5:1:19"]
    assert points["0.5:1:19"] == pytest.approx(0.05)
    rates = np.array(operating_points_of(targets, nontargets), float)
    cost = (0.01 * 10 * rates[:, 0] + 0.99 * 1 * rates[:, 1]).min() / min(0.01 * 10, 0.99 * 1)
    assert roc(targets, nontargets).min_dcf(points["0.01:10:1"]) == pytest.approx(cost)
    for name in ("1", "0.1:1", "0.1:0:1", "x", "nan", "0.1:inf:1"):
        with pytest.raises(DataError, match="operating point"):
            operating_points([name])


def test_kaldi_error_rates(kaldi_full: Path) -> None:
    """compute-eer does not interpolate: within one target trial. compute_min_dcf.py prints four decimals."""
    folder = kaldi_full / "backend"
    lines = [line.split("\t") for line in (folder / "metrics.tsv").read_text().splitlines()]
    assert len(lines) == 31
    for set_name, trials, system, eer, _, *costs in lines[1:]:
        rows = [line.split("\t") for line in (folder / f"{set_name}.{trials}.scores.tsv").read_text().splitlines()]
        scores = np.array([row[rows[0].index(system)] for row in rows[1:]], float)
        target = np.array(
            [line.endswith(" target") for line in (folder / f"{set_name}.{trials}").open().read().splitlines()]
        )
        curve = roc(*split(scores, target))
        assert abs(curve.eer() - float(eer) / 100) < 1 / curve.num_target + 5e-5
        for prior, cost in zip(PRIORS, costs[::2], strict=True):
            assert curve.min_dcf(prior) == pytest.approx(float(cost), abs=5.1e-5)


@pytest.mark.parametrize(
    ("scores", "target", "message"),
    [
        ([1.0, np.nan, 2.0], [True, True, False], "trial 2 is not a number"),
        ([1.0, -np.inf], [True, False], "trial 2 is infinite"),
        ([1.0, 2.0], [True, True], "none of the 2 trials is a nontarget"),
        ([1.0, 2.0], [False, False], "none of the 2 trials is a target"),
    ],
)
def test_bad_input(scores: list[float], target: list[bool], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split(np.array(scores), np.array(target))
