"""Models of several utterances: each way to enrol them against one session, or one density, at a time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from timbre.backend.backends import Backend, CosineBackend, PldaBackend, PldaScoring
from timbre.backend.plda import Plda
from timbre.backend.scoring import score_pairs
from timbre.backend.vectors import MultiEnroll, Projection, Side, read_sides
from timbre.datadir.ark import write_vectors
from timbre.runtime.factors import Factors
from timbre.utils.errors import DataError

DIM = 5
MODELS = {"m1": ["a-1"], "m2": ["a-2", "b-1"], "m4": ["c-1", "a-1", "b-2", "c-2"]}
ENROLL = [*MODELS, "b-1"]  # the last is an utterance
TEST = ["c-1", "a-2", "b-2"]


@pytest.fixture
def vectors(tmp_path: Path) -> dict[str, np.ndarray]:
    ids = ["a-1", "a-2", "b-1", "b-2", "c-1", "c-2"]
    matrix = np.random.default_rng(0).standard_normal((6, DIM), dtype=np.float32)
    write_vectors(tmp_path / "x", ids, matrix)
    (tmp_path / "models").write_text("".join(f"{model} {' '.join(utts)}\n" for model, utts in MODELS.items()))
    return dict(zip(ids, matrix, strict=True))


@pytest.fixture
def sides(vectors: dict[str, np.ndarray], tmp_path: Path) -> Callable[[MultiEnroll], tuple[Side, Side]]:
    scp = tmp_path / "x.scp"
    return lambda multi: read_sides(ENROLL, TEST, scp, scp, tmp_path / "models", multi)


def make_plda() -> Plda:
    rng = np.random.default_rng(1)
    within, between = (factor @ factor.T + 0.1 * np.eye(DIM) for factor in rng.standard_normal((2, DIM, DIM)))
    return Plda.from_covariances(rng.standard_normal(DIM), within, between)


def make_backends() -> list[Backend]:
    mean = np.full(DIM, 0.2)
    plain = PldaScoring(normalize_length=False)
    return [
        CosineBackend(Projection(mean, length="unit")),
        PldaBackend(Projection(mean, length="sqrt_dim"), make_plda()),
        PldaBackend(Projection(mean, length="sqrt_dim"), make_plda(), plain),
    ]


def all_scores(factors: Factors) -> np.ndarray:
    shape = len(factors.left), len(factors.right)
    return score_pairs(factors, *(index.ravel() for index in np.indices(shape))).reshape(shape)


@pytest.mark.parametrize("backend", make_backends(), ids=["cosine", "plda", "plda_plain"])
def test_mean_of_the_scores_of_the_sessions(
    backend: Backend, sides: Callable[[MultiEnroll], tuple[Side, Side]], vectors: dict[str, np.ndarray]
) -> None:
    utts = Side.single(list(vectors), np.stack(list(vectors.values())))
    single = dict(zip(utts.ids, all_scores(backend.factors(utts, sides("average")[1])), strict=True))
    scores = all_scores(backend.factors(*sides("scores")))
    for row, model in enumerate(ENROLL):
        expected = np.mean([single[utt] for utt in MODELS.get(model, [model])], axis=0)
        assert np.allclose(scores[row], expected, rtol=1e-5, atol=1e-5)


def test_plda_by_the_book_is_the_ratio_of_the_densities_of_all_sessions(
    sides: Callable[[MultiEnroll], tuple[Side, Side]], vectors: dict[str, np.ndarray]
) -> None:
    """log p(x1, ..., xn, t | one speaker) - log p(x1, ..., xn | one speaker) - log p(t)."""
    _, _, backend = make_backends()
    assert isinstance(backend, PldaBackend)
    within, between = backend.plda.covariances()
    projected = backend.projection.apply(Side.single(list(vectors), np.stack(list(vectors.values()))))
    place = {utt: vector.astype(float) for utt, vector in zip(vectors, projected, strict=True)}

    def log_density(utts: list[str]) -> float:
        covariance = np.kron(np.ones((len(utts),) * 2), between) + np.kron(np.eye(len(utts)), within)
        stacked = np.concatenate([place[utt] for utt in utts])
        return float(multivariate_normal.logpdf(stacked, np.tile(backend.plda.mean, len(utts)), covariance))

    scores = all_scores(backend.factors(*sides("plda")))
    for row, model in enumerate(ENROLL):
        utts = MODELS.get(model, [model])
        for column, test in enumerate(TEST):
            expected = log_density([*utts, test]) - log_density(utts) - log_density([test])
            assert scores[row, column] == pytest.approx(expected, abs=1e-4)


def test_one_session_is_the_same_enrolled_in_any_way(sides: Callable[[MultiEnroll], tuple[Side, Side]]) -> None:
    for backend in make_backends()[1:]:
        average, scores, book = (all_scores(backend.factors(*sides(multi))) for multi in ("average", "scores", "plda"))
        for other in (scores, book):
            assert np.allclose(other[[0, 3]], average[[0, 3]], rtol=1e-5, atol=1e-5)
            assert not np.allclose(other[[1, 2]], average[[1, 2]], rtol=1e-2, atol=1e-2)


def test_cosine_has_no_model_of_several_utterances(sides: Callable[[MultiEnroll], tuple[Side, Side]]) -> None:
    with pytest.raises(DataError, match="cosine has no model of several utterances; average them, or their scores"):
        make_backends()[0].factors(*sides("plda"))


def test_messages_name_the_utterance_of_a_model(tmp_path: Path, vectors: dict[str, np.ndarray]) -> None:
    matrix = np.stack(list(vectors.values()))
    matrix[5] = 0.2  # c-2, a session of m4: zero once centred
    write_vectors(tmp_path / "x", list(vectors), matrix)
    scp = tmp_path / "x.scp"
    side = read_sides(ENROLL, TEST, scp, scp, tmp_path / "models", "scores")
    backend = CosineBackend(Projection(np.full(DIM, np.float32(0.2), np.float64), length="unit"))
    with pytest.raises(DataError, match=r"x.scp: the vector of 'c-2' is zero once centred"):
        backend.factors(*side)
