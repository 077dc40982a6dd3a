"""Crops by any back-end, plain and normalised: the mean over all pairs, against loops over the pairs."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from steps.normalize_scores import normalize_scores
from steps.score_crops import score_crops
from steps.score_trials import score_trials
from timbre.backend.backends import Backend, CosineBackend, PldaBackend
from timbre.backend.plda import Plda
from timbre.backend.vectors import Projection, Side
from timbre.datadir.ark import write_vectors
from timbre.datadir.trials import read_scores, read_trials
from timbre.utils.errors import DataError

DIM, CROPS, COHORT, TOP = 8, 3, 12, 5
UTTS = ["a-1", "a-2", "b-1", "b-2", "c-1"]
PAIRS = [(one, other) for one in UTTS for other in UTTS if one != other]
Table = dict[str, np.ndarray]


def backends() -> list[Backend]:
    rng = np.random.default_rng(0)
    mean, factors = rng.normal(size=DIM), rng.standard_normal((2, DIM, DIM))
    plda = Plda.from_covariances(np.zeros(DIM), *(factor @ factor.T + np.eye(DIM) for factor in factors))
    return [CosineBackend(Projection(mean, None, "unit")), PldaBackend(Projection(mean, None, "sqrt_dim"), plda)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Trials of all pairs, their speakers, and a cohort."""
    lines = [f"{a} {b} {'target' if a[0] == b[0] else 'nontarget'}\n" for a, b in PAIRS]
    (tmp_path / "trials").write_text("".join(lines))
    (tmp_path / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in UTTS))
    rng = np.random.default_rng(5)
    write_vectors(tmp_path / "cohort", [f"z{n:02d}" for n in range(COHORT)], rng.normal(size=(COHORT, DIM)))
    return tmp_path


def write(path: Path, table: Table) -> Path:
    ids = sorted(table)
    write_vectors(path.with_suffix(""), ids, np.stack([table[key] for key in ids]).astype(np.float32))
    return path.with_suffix(".scp")


def crops(seed: int, whole: bool) -> Table:
    rng = np.random.default_rng(seed)
    names = [f"#{number:02d}" for number in range(CROPS)] + ["#full"] * whole
    return {utt + name: rng.normal(size=DIM).astype(np.float32) for utt in UTTS for name in names}


def one(backend: Backend, left: np.ndarray, right: np.ndarray) -> float:
    """The score of two vectors, by themselves."""
    factors = backend.factors(Side.single(["l"], left[None]), Side.single(["r"], right[None]))
    return float(factors.left[0] @ factors.right[0] + factors.terms(np.array([0]), np.array([0]))[0])


def expected(backend: Backend, table: Table, left: list[str], right: str, cohort: np.ndarray) -> tuple[float, float]:
    """(score, its AS-norm) of the utterances LEFT and RIGHT."""

    def vectors(utts: list[str], whole: bool) -> list[np.ndarray]:
        return [v for key, v in table.items() if key.rpartition("#")[0] in utts and (key[-4:] == "full") == whole]

    def mean(a: list[np.ndarray], b: list[np.ndarray]) -> float:
        return float(np.mean([one(backend, x, y) for x, y in product(a, b)]))

    has_whole = any(key.endswith("#full") for key in table)

    def score(a: list[list[np.ndarray]], b: list[list[np.ndarray]]) -> float:
        return float(np.mean([mean(x, y) for x, y in zip(a, b, strict=True)]))

    sides = [[vectors(utts, whole) for whole in ((False, True) if has_whole else (False,))] for utts in (left, [right])]
    raw, normalized = score(*sides), []
    for side in sides:
        against = sorted(score(side, [[member]] * len(side)) for member in cohort)[-TOP:]
        normalized.append((raw - np.mean(against)) / np.std(against))
    return raw, float(np.mean(normalized))


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("backend", backends(), ids=["cosine", "plda"])
def test_scores_and_as_norm_are_means_over_all_pairs(backend: Backend, whole: bool, folder: Path) -> None:
    table = crops(1, whole)
    scp, trials = write(folder / "crops", table), folder / "trials"
    (folder / "backend").mkdir()
    backend.write(folder / "backend")
    (folder / "models").write_text("a-1 a-1 a-2\n")
    cohort = np.random.default_rng(5).normal(size=(COHORT, DIM)).astype(np.float32)
    for models in (None, folder / "models"):
        given = {"backend_dir": folder / "backend", "enroll_spk2utt": models, "nj": 1}
        score_trials(trials, scp, scp, folder / "raw", **given)
        normalize_scores(trials, folder / "raw", scp, scp, folder / "cohort.scp", folder / "norm", top_n=TOP, **given)
        raw, norm = (read_scores(folder / name, read_trials(trials)) for name in ("raw", "norm"))
        for (a, b), *found in list(zip(PAIRS, raw, norm, strict=True))[::3]:
            left = ["a-1", "a-2"] if models and a == "a-1" else [a]
            assert found == pytest.approx(expected(backend, table, left, b, cohort), abs=2e-4), (a, b)
    if isinstance(backend, CosineBackend):
        score_crops(trials, scp, scp, folder / "c", measure="cosine", mean=folder / "backend/mean.vec", nj=1)
        score_trials(trials, scp, scp, folder / "raw", backend_dir=folder / "backend", nj=1)
        both = [read_scores(folder / name, read_trials(trials)) for name in ("c", "raw")]
        assert both[0] == pytest.approx(both[1], abs=1e-6)


@pytest.mark.parametrize("backend", backends(), ids=["cosine", "plda"])
def test_equal_crops_score_as_the_whole_and_one_side_may_be_whole(backend: Backend, folder: Path) -> None:
    """Ten times the same vector is that vector, normalised or not: nothing counts crops as utterances."""
    (folder / "backend").mkdir()
    backend.write(folder / "backend")
    rng = np.random.default_rng(2)
    plain = {utt: rng.normal(size=DIM).astype(np.float32) for utt in UTTS}
    same = {f"{utt}#{number:02d}": vector for utt, vector in plain.items() for number in range(10)}
    single, many = write(folder / "plain", plain), write(folder / "same", same)
    found = []
    for name, sides in (("w", (single, single)), ("c", (many, many)), ("wc", (single, many)), ("cw", (many, single))):
        given = {"backend_dir": folder / "backend", "nj": 1}
        score_trials(folder / "trials", *sides, folder / name, **given)
        cohort = folder / "cohort.scp"
        normalize_scores(folder / "trials", folder / name, *sides, cohort, folder / f"{name}n", top_n=TOP, **given)
        found.append([read_scores(folder / file, read_trials(folder / "trials")) for file in (name, f"{name}n")])
    for other in found[1:]:
        assert np.abs(np.array(other) - found[0]).max() < 1e-4


@pytest.mark.parametrize("backend", backends(), ids=["cosine", "plda"])
def test_crops_on_one_side_alone_are_normalised_as_one_utterance(backend: Backend, folder: Path) -> None:
    """Whole utterances enrolled, crops tested: the cohort is compared with either as what it is."""
    (folder / "backend").mkdir()
    backend.write(folder / "backend")
    table, rng = crops(1, False), np.random.default_rng(2)
    whole = {utt: rng.normal(size=DIM).astype(np.float32) for utt in UTTS}
    sides = write(folder / "whole", whole), write(folder / "crops", table)
    trials, given = folder / "trials", {"backend_dir": folder / "backend", "nj": 1}
    score_trials(trials, *sides, folder / "raw", **given)
    normalize_scores(trials, folder / "raw", *sides, folder / "cohort.scp", folder / "norm", top_n=TOP, **given)
    found = read_scores(folder / "norm", read_trials(trials))
    cohort = np.random.default_rng(5).normal(size=(COHORT, DIM)).astype(np.float32)

    def mean(left: list[np.ndarray], right: list[np.ndarray]) -> float:
        return float(np.mean([one(backend, a, b) for a, b in product(left, right)]))

    for (a, b), score in list(zip(PAIRS, found, strict=True))[::4]:
        left, right = [whole[a]], [table[f"{b}#{number:02d}"] for number in range(CROPS)]
        normalized = []
        for side in (left, right):
            against = sorted(mean(side, [member]) for member in cohort)[-TOP:]
            normalized.append((mean(left, right) - np.mean(against)) / np.std(against))
        assert score == pytest.approx(np.mean(normalized), abs=2e-4), (a, b)


def test_what_does_not_fit_is_told_in_one_line(folder: Path) -> None:
    some = crops(1, True)
    del some["b-1#full"]
    none = {key: vector for key, vector in crops(1, False).items() if not key.startswith("b-2")}
    both, alone = write(folder / "both", crops(1, True)), write(folder / "alone", crops(2, False))
    for left, right, text in (
        (both, alone, "alone.scp: one side has vectors of whole utterances beside crops, the other crops alone"),
        (alone, write(folder / "some", some), "some.scp: 'b-1' has no vector of the whole utterance, others have one"),
        (alone, write(folder / "none", none), "none.scp: no vectors for 'b-2'"),
    ):
        with pytest.raises(DataError) as info:
            score_trials(folder / "trials", left, right, folder / "scores", nj=1)
        assert text in str(info.value) and not (folder / "scores").exists()
