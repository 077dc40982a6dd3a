"""Ioffe's and the simplified PLDA against EM, against densities written out, and what no training may do."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from timbre.backend.backends import PldaBackend, PldaScoring
from timbre.backend.plda import Plda, log_likelihood, train_plda
from timbre.backend.plda_ioffe import train_ioffe
from timbre.backend.plda_subspace import train_subspace
from timbre.backend.scoring import score_pairs
from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.vectors import Projection, Side
from timbre.utils.errors import DataError

DIM = 5


def make_data(seed: int, counts: np.ndarray, rank: int = DIM) -> tuple[np.ndarray, list[str]]:
    """Speakers of a subspace of RANK dimensions, and a full residual covariance."""
    rng = np.random.default_rng(seed)
    speakers = rng.normal(size=(len(counts), rank)) @ rng.normal(0, 2, (rank, DIM))
    names = [f"s{index:03d}" for index, count in enumerate(counts) for _ in range(count)]
    residual = rng.normal(size=(len(names), DIM)) @ rng.normal(size=(DIM, DIM))
    return (np.repeat(speakers, counts, axis=0) + residual + 1).astype(np.float32), names


def make_stats(seed: int, counts: np.ndarray, rank: int = DIM) -> SpeakerStats:
    return SpeakerStats.collect(*make_data(seed, counts, rank))


UNEQUAL = np.random.default_rng(0).integers(1, 9, 60)
EQUAL = np.full(60, 4)


def test_ioffe_is_the_most_likely_model_of_as_many_utterances_each() -> None:
    stats = make_stats(1, EQUAL)
    closed = train_ioffe(stats)
    best = log_likelihood(stats, closed)
    assert best == pytest.approx(log_likelihood(stats, train_plda(stats, 1000)), abs=1e-4)
    rng = np.random.default_rng(1)
    for _ in range(100):  # no step in any direction is uphill
        transform = closed.transform + rng.normal(0, 1e-2, (DIM, DIM))
        psi = np.abs(closed.psi * (1 + rng.normal(0, 1e-2, DIM)))
        assert log_likelihood(stats, Plda(closed.mean, transform, psi)) < best


def test_ioffe_in_one_dimension_by_a_general_optimiser() -> None:
    stats = make_stats(2, EQUAL)
    one = SpeakerStats(stats.means[:, :1], stats.counts, stats.scatter[:1, :1])
    model = train_ioffe(one)

    def loss(logs: np.ndarray) -> float:
        return -log_likelihood(one, Plda.from_covariances(model.mean, *np.exp(logs)[:, None, None]))

    found = np.exp(minimize(loss, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12}).x)
    assert np.allclose([covariance.item() for covariance in model.covariances()], found, rtol=1e-4)


def test_ioffe_finds_the_truth_from_speakers_of_different_size() -> None:
    """Also where speakers do not differ at all in some dimensions."""
    counts = np.random.default_rng(3).integers(3, 9, 4000)
    stats = make_stats(4, counts, rank=3)
    closed, em = train_ioffe(stats), train_plda(stats, 100)
    assert np.count_nonzero(closed.psi > 0.01) == 3
    for ours, ems in zip(closed.covariances(), em.covariances(), strict=True):
        assert np.abs(ours - ems).max() < 0.03 * np.abs(ems).max()


@pytest.mark.parametrize("dim", [1, 3, DIM])
def test_likelihood_of_simplified_plda_never_decreases(dim: int) -> None:
    for seed in range(3):
        stats = make_stats(seed, UNEQUAL)
        likelihoods = [log_likelihood(stats, train_subspace(stats, dim, num_iters)) for num_iters in range(12)]
        assert all(after >= before - 1e-12 for before, after in pairwise(likelihoods))


def test_a_subspace_of_all_dimensions_is_the_two_covariance_model() -> None:
    stats = make_stats(5, UNEQUAL)
    full, two = train_subspace(stats, DIM, 800), train_plda(stats, 800)
    assert log_likelihood(stats, full) == pytest.approx(log_likelihood(stats, two), abs=1e-5)
    for ours, theirs in zip(full.covariances(), two.covariances(), strict=True):
        assert np.abs(ours - theirs).max() < 2e-3 * np.abs(theirs).max()


def test_a_subspace_has_its_rank_and_finds_the_truth() -> None:
    stats = make_stats(6, np.random.default_rng(6).integers(2, 7, 4000), rank=2)
    model = train_subspace(stats, 2, 50)
    assert np.count_nonzero(model.psi) == 2
    rng = np.random.default_rng(6)  # as make_data draws
    rng.normal(size=(4000, 2))
    loadings = rng.normal(0, 2, (2, DIM))
    within, between = model.covariances()
    assert np.abs(between - loadings.T @ loadings).max() < 0.08 * np.abs(between).max()
    em = train_plda(stats, 100).covariances()[0]
    assert np.abs(within - em).max() < 0.02 * np.abs(em).max()


@pytest.mark.parametrize("train", [train_ioffe, lambda stats: train_subspace(stats, 2)], ids=["ioffe", "simplified"])
def test_scores_are_ratios_of_densities(train: object) -> None:
    plda = train(make_stats(7, UNEQUAL))  # type: ignore[operator]
    within, between = plda.covariances()
    vectors = make_data(8, np.full(3, 2))[0]
    side = Side.single([f"u{row}" for row in range(6)], vectors)
    backend = PldaBackend(Projection(), plda, PldaScoring(normalize_length=False))
    pairs = [index.ravel() for index in np.indices((6, 6))]
    scores = score_pairs(backend.factors(side, side), *pairs)
    joint = np.block([[between + within, between], [between, between + within]])
    for score, e, t in zip(scores, *(vectors[index] for index in pairs), strict=True):
        alone = [multivariate_normal.logpdf(x, plda.mean, between + within) for x in (e, t)]
        both = multivariate_normal.logpdf(np.concatenate([e, t]), np.tile(plda.mean, 2), joint)
        assert score == pytest.approx(both - sum(alone), abs=1e-4)


def test_what_cannot_be_trained() -> None:
    stats = make_stats(9, UNEQUAL)
    flat = SpeakerStats(stats.means, stats.counts, np.diag([1.0, 1, 0, 1, 1]))
    with pytest.raises(DataError, match="within-speaker covariance is singular in 5 dimensions"):
        train_ioffe(flat)
    for dim in (0, 6):
        with pytest.raises(DataError, match=f"a speaker subspace of {dim} dimensions: the vectors have 5"):
            train_subspace(stats, dim)
