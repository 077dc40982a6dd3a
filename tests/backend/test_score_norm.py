"""Score normalisation against one trial at a time, and what it must not depend on."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from timbre.backend import score_norm, scoring
from timbre.backend.backends import Backend, CosineBackend, PldaBackend
from timbre.backend.plda import Plda
from timbre.backend.score_norm import (
    CohortStats,
    Method,
    cohort_stats,
    normalize,
    normalize_trials,
    read_cohort,
    side_stats,
)
from timbre.backend.scoring import score_pairs
from timbre.backend.vectors import Projection, Side
from timbre.datadir.ark import write_vectors
from timbre.runtime.factors import Factors
from timbre.utils.errors import DataError


def make_side(seed: int, count: int, max_utts: int = 1) -> Side:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, 8), dtype=np.float32)
    return Side([f"{seed}-{row}" for row in range(count)], vectors, rng.integers(1, max_utts + 1, count))


def backends() -> list[Backend]:
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((2, 8, 8))
    plda = Plda.from_covariances(np.zeros(8), *(factor @ factor.T + np.eye(8) for factor in factors))
    return [CosineBackend(Projection(length="unit")), PldaBackend(Projection(length="sqrt_dim"), plda)]


def all_scores(factors: Factors) -> np.ndarray:
    shape = len(factors.left), len(factors.right)
    return score_pairs(factors, *(index.ravel() for index in np.indices(shape))).reshape(shape)


def expected_score(method: Method, raw: float, e: np.ndarray, t: np.ndarray, top_n: int) -> float:
    """One trial, from the cohort scores E and T of its two sides, as the definitions say."""
    best_e, best_t = (np.argsort(scores)[-top_n:] for scores in (e, t))
    chosen = {"as-norm": (e[best_e], t[best_t]), "as-norm2": (e[best_t], t[best_e])}.get(method, (e, t))
    z, t_normalized = ((raw - scores.mean()) / scores.std() for scores in chosen)
    return {"z-norm": z, "t-norm": t_normalized}.get(method, (z + t_normalized) / 2)


@pytest.mark.parametrize("backend", backends(), ids=["cosine", "plda"])
@pytest.mark.parametrize("top_n", [7, 40, 99])
@pytest.mark.parametrize("method", get_args(Method))
def test_one_trial_at_a_time(backend: Backend, top_n: int, method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    enroll, test, cohort = make_side(1, 90, max_utts=3), make_side(2, 11), make_side(3, 40)
    raw = all_scores(backend.factors(enroll, test))
    enroll_cohort = all_scores(backend.factors(enroll, cohort))
    test_cohort = all_scores(backend.factors(cohort, test)).T  # the cohort on the other side: scores are symmetric
    rows, columns = np.random.default_rng(4).permutation([*np.ndindex(raw.shape), (3, 3), (3, 3)])[:400].T
    monkeypatch.setattr(scoring, "_BLOCK", 64 * 40)
    monkeypatch.setattr(score_norm, "_GATHER", 1000)
    monkeypatch.setattr(score_norm, "_TRIALS", 70)
    scores = raw[rows, columns]
    results = []
    for dense, nj in ((0, 1), (0, 3), (10**9, 3)):
        monkeypatch.setattr(score_norm, "_DENSE", dense)
        monkeypatch.setattr(score_norm, "_MASKS", 4)
        results.append(normalize_trials(scores, rows, columns, backend, (enroll, test), cohort, method, top_n, nj))
    assert np.array_equal(results[0], results[1])
    assert np.allclose(results[0], results[2], rtol=2e-4, atol=2e-4)
    for row, column, score, result in zip(rows, columns, scores, results[0], strict=True):
        expected = expected_score(method, score, enroll_cohort[row], test_cohort[column], min(top_n, 40))
        assert result == pytest.approx(expected, rel=2e-4, abs=2e-4)


def test_models_of_several_utterances_are_normalised_as_they_are_scored() -> None:
    backend, test, cohort = backends()[1], make_side(2, 5), make_side(3, 40)
    sessions, counts = make_side(5, 6), np.array([1, 2, 3])
    means = np.stack([part.mean(axis=0) for part in np.split(sessions.vectors, [1, 3])])
    rows, columns = (index.ravel() for index in np.indices((3, 5)))
    test_cohort = all_scores(backend.factors(test, cohort))
    for multi in ("scores", "plda"):
        enroll = Side(["a", "b", "c"], means, counts, None, multi, sessions)
        raw, own = all_scores(backend.factors(enroll, test)), all_scores(backend.factors(enroll, cohort))
        for method in ("as-norm", "as-norm2"):
            result = normalize_trials(raw.ravel(), rows, columns, backend, (enroll, test), cohort, method, 9)
            for row, column, score in zip(rows, columns, result, strict=True):
                expected = expected_score(method, raw[row, column], own[row], test_cohort[column], 9)
                assert score == pytest.approx(expected, rel=2e-4, abs=2e-4)


def test_unchanged_by_an_affine_map_of_all_scores() -> None:
    rng = np.random.default_rng(4)
    left, right = rng.standard_normal((30, 8), dtype=np.float32), rng.standard_normal((50, 8), dtype=np.float32)
    plain = Factors.dot(left, right)
    mapped = Factors(3 * left, right, np.full(30, 2.0), np.full((1, 50), 5.0), plain.group)
    for top_n in (None, 10):
        before, after = cohort_stats(plain, top_n), cohort_stats(mapped, top_n)
        scores = rng.standard_normal(30)
        assert np.allclose(
            normalize(scores, before, before), normalize(3 * scores + 7, after, after), rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("rows", [4, 10**6])
def test_what_stands_on_both_sides_is_the_same_scored_once_or_twice(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_norm, "_ROWS", rows)
    backend, both, cohort = backends()[1], make_side(5, 20), make_side(6, 60)
    test = Side([*both.ids[5:], "new"], np.concatenate([both.vectors[5:], both.vectors[:1]]), np.ones(16, np.int64))
    enroll_stats, test_stats = side_stats(backend, both, test, cohort, 10)
    alone = cohort_stats(backend.factors(test, cohort), 10)
    assert np.allclose(test_stats.mean, alone.mean, rtol=1e-5)
    assert np.allclose(test_stats.std, alone.std, rtol=1e-4)
    assert np.array_equal(enroll_stats.mean[5:], test_stats.mean[:-1])
    again, some = side_stats(backend, both, Side.single(both.ids[3:], both.vectors[3:]), cohort, 10)  # nothing is new
    assert np.array_equal(again.mean[3:], some.mean) and np.allclose(again.std, enroll_stats.std, rtol=1e-4)


def test_models_are_not_taken_for_utterances_of_the_same_name() -> None:
    backend, cohort = backends()[1], make_side(7, 60)
    model = make_side(8, 10, max_utts=5)
    test = Side.single(model.ids, model.vectors)
    _, stats = side_stats(backend, model, test, cohort, 10)
    assert np.allclose(stats.mean, cohort_stats(backend.factors(test, cohort), 10).mean, rtol=1e-5)


def test_a_cohort_that_scores_alike_is_refused() -> None:
    with pytest.raises(DataError, match="2 of 2 vectors score alike against all of the cohort"):
        cohort_stats(Factors.dot(np.ones((2, 3), np.float32), np.ones((5, 3), np.float32)), None)


@pytest.mark.parametrize("method", ["as-norm", "as-norm2", "s-norm", "z-norm", "t-norm"])
def test_a_cohort_of_copies_is_refused(tmp_path: Path, method: Method) -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    copies = np.tile(np.random.default_rng(1).normal(size=5), (4, 1)).astype(np.float32)
    write_vectors(tmp_path / "copies", ["c1", "c2", "c3", "c4"], copies)
    with pytest.raises(DataError, match=r"copies\.scp: all 4 vectors of the cohort are the same"):
        read_cohort(tmp_path / "copies.scp", None, (), ())
    ids = [f"u{row}" for row in range(6)]
    side, cohort = (
        Side.single(ids, vectors, None),
        Side.single(list("abcd"), copies * np.float32([[1], [2], [3], [4]]), None),
    )
    rows = np.arange(6)
    with pytest.raises(DataError, match="a cohort of copies cannot normalise scores"):
        normalize_trials(np.ones(6), rows, rows, CosineBackend.read(), (side, side), cohort, method)


def test_population_deviation() -> None:
    stats = cohort_stats(Factors.dot(np.ones((1, 1), np.float32), np.float32([[1], [2], [3], [6]])), None)
    assert (stats.mean[0], stats.std[0]) == (3, pytest.approx(np.sqrt(3.5)))
    assert cohort_stats(Factors.dot(np.ones((1, 1), np.float32), np.float32([[1], [2], [3], [6]])), 2).mean[0] == 4.5


@pytest.fixture
def cohort_files(tmp_path: Path) -> Path:
    side = make_side(9, 6)
    ids = [f"{speaker}-{utt}" for speaker in "abc" for utt in "12"]
    write_vectors(tmp_path / "cohort", ids, side.vectors)
    (tmp_path / "utt2spk").write_text("".join(f"{key} {key[0]}\n" for key in ids))
    return tmp_path


def test_cohort_of_speakers_leaves_out_those_of_the_trials(
    cohort_files: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    scp, utt2spk = cohort_files / "cohort.scp", cohort_files / "utt2spk"
    cohort = read_cohort(scp, utt2spk, {"x"}, {"x-1"})
    assert cohort.ids == ["a", "b", "c"]
    assert np.allclose(cohort.vectors[1], make_side(9, 6).vectors[2:4].mean(axis=0), atol=1e-6)
    assert not caplog.text
    assert read_cohort(scp, utt2spk, {"b"}, set()).ids == ["a", "c"]
    assert "left out 1 of 3 speakers" in caplog.text
    assert read_cohort(scp, utt2spk, set(), {"c-2"}).ids == ["a", "b"]
    assert read_cohort(scp, None, set(), {"c-2"}).ids == ["a-1", "a-2", "b-1", "b-2", "c-1"]
    with pytest.raises(DataError, match="a cohort of 1 cannot normalise"):
        read_cohort(scp, utt2spk, {"a", "b"}, set())


def test_cohort_like_one_without_speakers_has_utterances_of_few(cohort_files: Path) -> None:
    scp, utt2spk = cohort_files / "cohort.scp", cohort_files / "utt2spk"
    whole = read_cohort(scp, None, set(), set())
    for number in (2, 3, 4):
        cohort = read_cohort(scp, utt2spk, {"b"}, set(), number)
        assert len(cohort.ids) == number and "b-1" not in cohort.ids
        assert len({utt[0] for utt in cohort.ids}) == (1 if number == 2 else 2), "all those of one speaker first"
        for utt, vector in zip(cohort.ids, cohort.vectors, strict=True):
            assert np.array_equal(vector, whole.vectors[list(whole.ids).index(utt)])
    assert sorted(read_cohort(scp, utt2spk, {"b"}, set(), 99).ids) == ["a-1", "a-2", "c-1", "c-2"]
    for few in (0, 1):
        with pytest.raises(DataError, match=f"a cohort of {few} cannot normalise"):
            read_cohort(scp, utt2spk, set(), set(), few)


def test_a_cohort_member_twice_is_refused(cohort_files: Path) -> None:
    lines = (cohort_files / "cohort.scp").read_text().splitlines()
    (cohort_files / "cohort.scp").write_text("\n".join([*lines, lines[0]]) + "\n")
    with pytest.raises(DataError, match="a-1"):
        read_cohort(cohort_files / "cohort.scp", None, set(), set())


def test_bad_cohorts() -> None:
    backend, enroll = CosineBackend(Projection(length="unit")), make_side(1, 4)
    with pytest.raises(DataError, match="the 1 highest cohort scores have no spread"):
        side_stats(backend, enroll, enroll, make_side(2, 9), 1)
    narrow = Side.single(["a", "b"], np.ones((2, 5), np.float32))
    with pytest.raises(DataError, match="vectors of dimension 8 on one side and 5 on the other"):
        side_stats(backend, enroll, enroll, narrow, None)


def test_stats_at_rows() -> None:
    stats = CohortStats(np.arange(3.0), np.arange(3.0) + 1)
    assert np.array_equal(stats.at(np.array([2, 0])).std, [3, 1])
