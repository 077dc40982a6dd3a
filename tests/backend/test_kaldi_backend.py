"""LDA, PLDA and every score against the files of real Kaldi programs, within 1e-6 of the largest value (LDA 1e-5).

A part of the files is in the clone; the rest is checked where the whole reference lies beside the project.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from timbre.backend.backends import CosineBackend, PldaBackend, PldaScoring
from timbre.backend.chain_training import train_backend
from timbre.backend.lda import compute_lda
from timbre.backend.plda import Plda, log_likelihood, train_plda
from timbre.backend.plda_adapt import adapt_plda
from timbre.backend.scoring import score_pairs
from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.vectors import Embeddings, Projection, Side, read_sides
from timbre.datadir.ark import read_mat
from timbre.datadir.trials import read_trials


@pytest.fixture(scope="module")
def folder(kaldi: Path) -> Path:
    return kaldi / "backend"


@pytest.fixture(scope="module")
def whole(kaldi_full: Path) -> Path:
    return kaldi_full / "backend"


def stats_of(folder: Path, vectors: np.ndarray | None = None) -> SpeakerStats:
    train = Embeddings.read(folder / "train.ark")
    return SpeakerStats.collect(train.matrix if vectors is None else vectors, train.speakers(folder / "train.utt2spk"))


def assert_same_covariances(model: Plda, reference: Plda, tolerance: float = 1e-6) -> None:
    assert np.abs(model.mean - reference.mean).max() < tolerance
    for ours, kaldis in zip(model.covariances(), reference.covariances(), strict=True):
        assert np.abs(ours - kaldis).max() < tolerance * np.abs(kaldis).max()


def lda_projection(folder: Path, mean: str = "train.mean.vec") -> Projection:
    return Projection.read(folder / mean, folder / "lda20_tot0.0.mat", "sqrt_dim")


@pytest.mark.parametrize("name", ["lda20_tot0.0", "lda20_tot0.1", "lda20_tot0.0_nosub"])
def test_lda(folder: Path, name: str) -> None:
    stats = stats_of(folder)
    if "nosub" not in name:
        stats = stats.shifted(stats.mean)
    lda, reference = compute_lda(stats, 20, 0.1 if "0.1" in name else 0.0), read_mat(f"{folder / name}.mat")
    signs = np.sign((lda * reference).sum(axis=1, keepdims=True))
    assert np.abs(lda * signs - reference).max() < 1e-5


def test_mean(folder: Path) -> None:
    mean = Embeddings.read(folder / "train.ark").mean()
    assert np.abs(mean - read_mat(str(folder / "train.mean.bin.vec"))).max() < 1e-12
    assert np.abs(mean - read_mat(str(folder / "train.mean.vec"))).max() < 1e-6


@pytest.mark.parametrize(("num_iters", "name"), [(1, "plda_raw_iter1"), (10, "plda_raw")])
def test_plda(folder: Path, num_iters: int, name: str) -> None:
    assert_same_covariances(train_plda(stats_of(folder), num_iters), Plda.read(folder / name))


def test_plda_after_many_iterations(whole: Path) -> None:
    assert_same_covariances(train_plda(stats_of(whole), 100), Plda.read(whole / "plda_raw_iter100"))


def test_plda_of_the_recipe_chain(folder: Path) -> None:
    train = Embeddings.read(folder / "train.ark")
    projected = lda_projection(folder).apply(Side.single(train.ids, train.matrix))
    assert_same_covariances(train_plda(stats_of(folder, projected)), Plda.read(folder / "plda_lda"))


def test_back_end_of_a_list_is_that_of_the_recipe_chain(folder: Path, tmp_path: Path) -> None:
    """ivector-mean, ivector-compute-lda, ivector-normalize-length and ivector-compute-plda, in files of Kaldi's."""
    lda = {"class_path": "Lda", "init_args": {"dim": 20}}
    config = {"transforms": ["Mean", lda, "LengthNorm"], "model": "TwoCovariancePlda"}
    train_backend(folder / "train.ark", folder / "train.utt2spk", config).write(tmp_path)
    assert np.abs(read_mat(str(tmp_path / "mean.vec")) - read_mat(str(folder / "train.mean.bin.vec"))).max() < 1e-12
    ours, kaldis = read_mat(str(tmp_path / "transform.mat")), read_mat(str(folder / "lda20_tot0.0.mat"))
    signs = np.sign((ours * kaldis).sum(axis=1))
    assert np.abs(ours * signs[:, None] - kaldis).max() < 1e-5
    model, reference = Plda.read(tmp_path / "plda"), Plda.read(folder / "plda_lda")
    for own, theirs in zip(model.covariances(), reference.covariances(), strict=True):
        assert np.abs(own * np.outer(signs, signs) - theirs).max() < 2e-6 * np.abs(theirs).max()


def test_log_likelihood_is_kaldis_objective(folder: Path) -> None:
    """As ivector-compute-plda --verbose=2 logs it after the first iteration and the tenth."""
    stats = stats_of(folder)
    assert log_likelihood(stats, train_plda(stats, 1)) == pytest.approx(-44.687, abs=5e-4)
    assert log_likelihood(stats, train_plda(stats, 10)) == pytest.approx(-44.2494, abs=5e-5)


def test_smoothing(folder: Path) -> None:
    assert_same_covariances(Plda.read(folder / "plda_raw").smooth(0.1), Plda.read(folder / "plda_raw_smooth0.1"))


def test_adaptation(folder: Path) -> None:
    adapted = adapt_plda(Plda.read(folder / "plda_raw"), Embeddings.read(folder / "indomain.ark").matrix, 1, 0.75, 0.25)
    assert_same_covariances(adapted, Plda.read(folder / "plda_raw_adapt_sre16"))


@pytest.mark.parametrize(("name", "scales"), [("default", (1, 0.3, 0.7)), ("mds0", (0, 0.5, 0.5))])
def test_adaptation_with_other_scales(whole: Path, name: str, scales: tuple[float, float, float]) -> None:
    adapted = adapt_plda(Plda.read(whole / "plda_raw"), Embeddings.read(whole / "indomain.ark").matrix, *scales)
    assert_same_covariances(adapted, Plda.read(whole / f"plda_raw_adapt_{name}"))


def test_adaptation_of_the_recipe_chain(whole: Path) -> None:
    indomain = Embeddings.read(whole / "indomain.ark")
    projected = lda_projection(whole, "indomain.mean.vec").apply(Side.single(indomain.ids, indomain.matrix))
    adapted = adapt_plda(Plda.read(whole / "plda_lda"), projected, 1, 0.75, 0.25)
    assert_same_covariances(adapted, Plda.read(whole / "plda_lda_adapt"))


def system_scores(folder: Path, set_name: str, trials_name: str, system: str) -> np.ndarray:
    """Scores of one column of a .scores.tsv, computed as README.md says it was."""
    trials = read_trials(folder / f"{set_name}.{trials_name}")
    models = folder / f"{set_name}.enroll.spk2utt" if trials_name == "trials" else None
    vectors = folder / f"{set_name}.ark"
    enroll, test = read_sides(trials.enroll_ids, trials.test_ids, vectors, vectors, models)
    if "_n1" in system:
        enroll = Side.single(enroll.ids, enroll.vectors)
    mean = "train.mean.vec" if set_name == "eval" else "indomain.mean.vec"
    if system == "cosine":
        return score_pairs(CosineBackend.read(folder / mean).factors(enroll, test), trials.enroll, trials.test)
    model = "plda_" + re.sub("_(norm|nonorm|simple|smooth).*", "", system)
    projection = Projection() if system.startswith("raw") else lda_projection(folder, mean)
    options = PldaScoring("nonorm" not in system, "simple" in system, 0.1 if "smooth" in system else 0.0)
    backend = PldaBackend(projection, Plda.read(folder / model), options)
    return score_pairs(backend.factors(enroll, test), trials.enroll, trials.test)


def check_scores(folder: Path, set_name: str, trials_name: str) -> int:
    rows = [line.split("\t") for line in (folder / f"{set_name}.{trials_name}.scores.tsv").read_text().splitlines()]
    reference = np.array(rows[1:], float)
    for column, system in enumerate(rows[0]):
        scores, wanted = system_scores(folder, set_name, trials_name, system), reference[:, column]
        assert np.abs(scores - wanted).max() < 1e-6 * np.abs(wanted).max(), system
    return len(rows[0])


def test_scores(folder: Path) -> None:
    assert check_scores(folder, "eval", "trials") == 9


@pytest.mark.parametrize(
    ("set_name", "trials_name", "systems"),
    [("eval", "trials", 9), ("eval", "utt_trials", 4), ("indeval", "trials", 13), ("indeval", "utt_trials", 4)],
)
def test_all_scores(whole: Path, set_name: str, trials_name: str, systems: int) -> None:
    assert check_scores(whole, set_name, trials_name) == systems
