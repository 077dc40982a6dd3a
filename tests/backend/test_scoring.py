"""Scores against densities written out, against every pair one by one, and for any blocks and threads."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from timbre.backend import scoring
from timbre.backend.backends import CosineBackend, PldaBackend, PldaScoring
from timbre.backend.plda import Plda
from timbre.backend.scoring import map_products, score_blocks, score_pairs
from timbre.backend.vectors import Projection, Side, group_means, read_sides
from timbre.datadir.ark import write_vectors
from timbre.runtime.factors import Factors
from timbre.utils.errors import DataError


def make_side(seed: int, count: int, dim: int = 6, max_utts: int = 1) -> Side:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, dim), dtype=np.float32)
    return Side([f"u{row}" for row in range(count)], vectors, rng.integers(1, max_utts + 1, count))


def make_plda(seed: int, dim: int = 6) -> Plda:
    rng = np.random.default_rng(seed)
    within, between = (factor @ factor.T + 0.1 * np.eye(dim) for factor in rng.standard_normal((2, dim, dim)))
    return Plda.from_covariances(rng.standard_normal(dim), within, between)


def all_scores(factors: Factors) -> np.ndarray:
    shape = len(factors.left), len(factors.right)
    enroll, test = (index.ravel() for index in np.indices(shape))
    return score_pairs(factors, enroll, test).reshape(shape)


def test_plda_is_the_ratio_of_joint_densities() -> None:
    """log p(e, t | same speaker) - log p(e) p(t), where e averages n utterances; PldaBackend never forms a joint."""
    plda = make_plda(0)
    within, between = plda.covariances()
    enroll, test = make_side(1, 8, max_utts=4), make_side(2, 5)
    scores = all_scores(PldaBackend(Projection(), plda, PldaScoring(normalize_length=False)).factors(enroll, test))
    for row, n in enumerate(enroll.num_utts):
        e_covariance, t_covariance = between + within / n, between + within
        joint = np.block([[e_covariance, between], [between, t_covariance]])
        for column in range(5):
            e, t = enroll.vectors[row], test.vectors[column]
            expected = (
                multivariate_normal.logpdf(np.concatenate([e, t]), np.tile(plda.mean, 2), joint)
                - multivariate_normal.logpdf(e, plda.mean, e_covariance)
                - multivariate_normal.logpdf(t, plda.mean, t_covariance)
            )
            assert scores[row, column] == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("normalize_length", [True, False])
def test_plda_of_single_utterances_is_symmetric(normalize_length: bool) -> None:
    backend = PldaBackend(Projection(length="sqrt_dim"), make_plda(3), PldaScoring(normalize_length))
    a, b = make_side(4, 20), make_side(5, 30)
    forth, back = all_scores(backend.factors(a, b)), all_scores(backend.factors(b, a))
    assert np.abs(forth - back.T).max() < 1e-5 * np.abs(forth).max()


def test_cosine_of_every_pair() -> None:
    enroll, test, mean = make_side(6, 7), make_side(7, 9), np.full(6, 0.3)
    transform = np.random.default_rng(8).standard_normal((4, 7))
    scores = all_scores(CosineBackend(Projection(mean, transform, "unit")).factors(enroll, test))
    for row, column in np.ndindex(scores.shape):
        e, t = (
            transform[:, :6] @ (v.astype(float) - mean) + transform[:, 6]
            for v in (enroll.vectors[row], test.vectors[column])
        )
        assert scores[row, column] == pytest.approx(e @ t / np.linalg.norm(e) / np.linalg.norm(t), abs=1e-6)
    assert np.abs(scores).max() <= 1 + 1e-6


@pytest.mark.parametrize("num_test", [20, 5000])  # 5,000 trials of 300 x 20 pairs are dense
def test_score_of_a_pair_is_the_same_in_any_list(num_test: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    factors = PldaBackend(Projection(), make_plda(10)).factors(make_side(11, 300, max_utts=3), make_side(12, num_test))
    enroll, test = rng.integers(0, 300, 5000).astype(np.int32), rng.integers(0, num_test, 5000).astype(np.int32)
    monkeypatch.setattr(scoring, "_CHUNK", 700)
    scores = score_pairs(factors, enroll, test)
    expected = (factors.left[enroll].astype(float) * factors.right[test]).sum(axis=1) + factors.terms(enroll, test)
    assert np.abs(scores - expected).max() < 1e-5 * np.abs(expected).max()
    assert scores.tobytes() == score_pairs(factors, enroll, test, 3).tobytes()
    for rows in (rng.permutation(5000), np.argsort(enroll), np.arange(50), np.arange(1000, 3000, 7), [4321]):
        assert scores[rows].tobytes() == score_pairs(factors, enroll[rows], test[rows]).tobytes()


@pytest.mark.parametrize("in_order", [True, False])
def test_blocks_of_a_list_are_its_scores_from_any_block_on(in_order: bool) -> None:
    rng = np.random.default_rng(18)
    factors = PldaBackend(Projection(), make_plda(19)).factors(make_side(20, 90), make_side(21, 5000))
    enroll, test = rng.integers(0, 90, 1000).astype(np.int32), rng.integers(0, 5000, 1000).astype(np.int32)
    enroll = np.sort(enroll) if in_order else enroll
    expected = (factors.left[enroll].astype(float) * factors.right[test]).sum(axis=1) + factors.terms(enroll, test)
    blocks = list(score_blocks(factors, enroll, test, size=300))
    assert [len(block) for block in blocks] == [300, 300, 300, 100]
    assert np.abs(np.concatenate(blocks) - expected).max() < 1e-5 * np.abs(expected).max()
    for block, again in zip(blocks[2:], score_blocks(factors, enroll, test, 2, start=600, size=300), strict=True):
        assert np.array_equal(block, again)


def test_map_products_visits_every_row_once() -> None:
    factors = Factors.dot(make_side(13, 1000).vectors, make_side(14, 50).vectors)
    seen = np.zeros((1000, 50))

    def add(rows: slice, block: np.ndarray) -> None:
        seen[rows] += block

    map_products(factors, add, 2)
    assert np.allclose(seen, factors.left @ factors.right.T, atol=1e-6)


@pytest.mark.parametrize(
    ("projection", "message"),
    [
        (Projection(mean=np.zeros(5), length="unit"), "the mean has dimension 5, the vectors have 6"),
        (Projection(transform=np.zeros((3, 9)), length="unit"), "the transform has 9 columns"),
        (Projection(mean=np.ones(6), length="unit"), "the vector of 'u1' is zero once centred"),
    ],
)
def test_bad_projections(projection: Projection, message: str) -> None:
    side = make_side(15, 3)
    side.vectors[1] = 1
    with pytest.raises(DataError, match=message):
        CosineBackend(projection).factors(side, side)


def test_plda_of_another_dimension() -> None:
    side = make_side(16, 3)
    with pytest.raises(DataError, match="the PLDA model has dimension 4, the vectors have 6"):
        PldaBackend(Projection(), make_plda(0, dim=4)).factors(side, side)


def test_models_beside_utterances(tmp_path: Path) -> None:
    vectors = np.arange(12, dtype=np.float32).reshape(4, 3)
    write_vectors(tmp_path / "x", ["a-1", "a-2", "b-1", "b-2"], vectors)
    (tmp_path / "models").write_text("a a-1 a-2\nunused z-9\n")
    scp = tmp_path / "x.scp"
    enroll, test = read_sides(["b-2", "a"], ["b-1", "a-1"], scp, scp, tmp_path / "models")
    assert np.array_equal(enroll.vectors, [vectors[3], vectors[:2].mean(axis=0)])
    assert enroll.num_utts.tolist() == [1, 2]
    assert np.array_equal(test.vectors, vectors[[2, 0]])


def test_means_of_many_models_are_made_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(17)
    monkeypatch.setattr("timbre.backend.vectors._ROWS", 16)
    matrix, counts = rng.standard_normal((90, 4), dtype=np.float32), rng.integers(1, 40, 25)
    rows = rng.integers(0, 90, counts.sum())
    expected = [matrix[part].mean(axis=0) for part in np.split(rows, np.cumsum(counts)[:-1])]
    assert np.allclose(group_means(matrix, rows, counts), expected, atol=1e-6)
