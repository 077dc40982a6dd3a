"""Adaptation to another domain: what each method is defined by, and fewer errors on speakers of that domain."""

from pathlib import Path

import numpy as np
import pytest

from timbre.backend.adaptation import adapt_backend, weights_of
from timbre.backend.backends import Backend, CosineBackend, PldaBackend, read_backend
from timbre.backend.plda import Plda, train_plda
from timbre.backend.plda_adapt import coral, coral_plus, interpolate
from timbre.backend.scoring import score_pairs
from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.vectors import Embeddings, Projection, Side
from timbre.datadir.ark import write_vectors
from timbre.evaluation.metrics import roc, split
from timbre.utils.errors import DataError

DIM = 12
METHODS = ["kaldi", "coral", "coral+", "lip", "cip"]


class Domain:
    """Embeddings of many speakers; the second domain has another mean and stretches them in some directions."""

    def __init__(self, shifted: bool) -> None:
        rng = np.random.default_rng(0)
        axes, _ = np.linalg.qr(rng.normal(size=(DIM, DIM)))
        self.stretch = axes * np.repeat([0.3, 1, 4], [4, 4, 4]) @ axes.T if shifted else np.eye(DIM)
        self.mean = np.full(DIM, 2.0) if shifted else np.zeros(DIM)
        self.within = rng.normal(size=(DIM, DIM)) / DIM**0.5

    def draw(self, seed: int, num_speakers: int, num_utts: int) -> tuple[np.ndarray, list[str]]:
        rng = np.random.default_rng(seed)
        speakers = np.repeat(rng.normal(size=(num_speakers, DIM)), num_utts, axis=0)
        vectors = self.mean + (speakers + rng.normal(size=speakers.shape) @ self.within) @ self.stretch
        return vectors.astype(np.float32), [f"s{row // num_utts:04d}" for row in range(len(vectors))]


@pytest.fixture(scope="module")
def old() -> PldaBackend:
    vectors, speakers = Domain(False).draw(1, 300, 6)
    stats = SpeakerStats.collect(vectors, speakers)
    return PldaBackend(Projection(stats.mean), train_plda(stats.shifted(stats.mean)))


@pytest.fixture(scope="module")
def new() -> tuple[np.ndarray, list[str]]:
    return Domain(True).draw(2, 60, 4)


@pytest.fixture
def files(new: tuple[np.ndarray, list[str]], tmp_path: Path) -> tuple[Path, Path]:
    vectors, speakers = new
    ids = [f"{speaker}-{row}" for row, speaker in enumerate(speakers)]
    write_vectors(tmp_path / "new", ids, vectors)
    utt2spk = tmp_path / "utt2spk"
    utt2spk.write_text("".join(f"{key} {speaker}\n" for key, speaker in zip(ids, speakers, strict=True)))
    return tmp_path / "new.scp", utt2spk


def error_rate(backend: Backend) -> float:
    """EER between all pairs of utterances of speakers of the new domain that no training saw."""
    vectors, speakers = Domain(True).draw(3, 60, 4)
    side = Side.single([str(row) for row in range(len(vectors))], vectors)
    enroll, test = np.triu_indices(len(vectors), 1)
    names = np.array(speakers)
    scores = score_pairs(backend.factors(side, side), enroll, test)
    return roc(*split(scores, names[enroll] == names[test])).eer()


@pytest.mark.parametrize("method", METHODS)
def test_fewer_errors_in_the_new_domain(method: str, old: PldaBackend, files: tuple[Path, Path]) -> None:
    utt2spk = files[1] if method in ("lip", "cip") else None
    adapted = adapt_backend(old, files[0], method, weights_of(method, {}), utt2spk)
    assert error_rate(adapted) < error_rate(old) - 0.005
    assert np.allclose(adapted.projection.mean, Embeddings.read(files[0]).mean())


def assert_no_smaller(covariance: np.ndarray, other: np.ndarray) -> None:
    """COVARIANCE has at least the variance of OTHER in every direction."""
    assert np.linalg.eigvalsh(covariance - other).min() > -1e-6 * np.trace(other)


def test_coral_has_the_covariance_of_the_new_domain(old: PldaBackend, new: tuple[np.ndarray, list[str]]) -> None:
    vectors = new[0]
    model = coral(old.plda, vectors)
    assert np.allclose(sum(model.covariances()), np.cov(vectors.T, bias=True), rtol=1e-5, atol=1e-5)
    assert np.allclose(model.mean, vectors.mean(axis=0), atol=1e-5)
    assert np.allclose(model.psi, old.plda.psi)  # mapped, not learnt: the ratios of the variances are as they were


def test_coral_of_the_model_is_training_on_mapped_embeddings(new: tuple[np.ndarray, list[str]]) -> None:
    vectors, speakers = Domain(False).draw(4, 2000, 6)
    model = train_plda(SpeakerStats.collect(vectors, speakers), 50)

    def root(matrix: np.ndarray, exponent: float) -> np.ndarray:
        values, axes = np.linalg.eigh(matrix)
        return (axes * values**exponent) @ axes.T

    align = root(np.cov(new[0].T, bias=True), 0.5) @ root(np.cov(vectors.T, bias=True), -0.5)
    mapped = ((vectors - vectors.mean(axis=0)) @ align.T).astype(np.float32)
    trained = train_plda(SpeakerStats.collect(mapped, speakers), 50)
    for ours, theirs in zip(coral(model, new[0]).covariances(), trained.covariances(), strict=True):
        assert np.abs(ours - theirs).max() < 0.01 * np.abs(theirs).max()


def test_coral_plus_never_loses_variance(old: PldaBackend, new: tuple[np.ndarray, list[str]]) -> None:
    own, aligned = old.plda.covariances(), coral(old.plda, new[0]).covariances()
    for before, after in zip(own, coral_plus(old.plda, new[0], 0, 0).covariances(), strict=True):
        assert np.allclose(before, after)
    for before, target, after in zip(own, aligned, coral_plus(old.plda, new[0], 1, 1).covariances(), strict=True):
        assert_no_smaller(after, before)
        assert_no_smaller(after, target)
        assert np.linalg.eigvalsh(before - target).max() > 0.01 * np.trace(target)  # where coral has less


def test_interpolation(old: PldaBackend, new: tuple[np.ndarray, list[str]]) -> None:
    inside = train_plda(SpeakerStats.collect(*new))
    for regularize in (False, True):
        ends = [interpolate(inside, old.plda, weight, regularize) for weight in (0, 0.5, 1)]
        for covariances in zip(*(model.covariances() for model in ends), strict=True):
            assert np.allclose(covariances[1], (covariances[0] + covariances[2]) / 2)
        for covariance, theirs in zip(ends[2].covariances(), inside.covariances(), strict=True):
            assert np.allclose(covariance, theirs)
        assert all(np.array_equal(model.mean, inside.mean) for model in ends)
    for covariance, theirs in zip(interpolate(inside, old.plda, 0).covariances(), old.plda.covariances(), strict=True):
        assert np.allclose(covariance, theirs)
    regular = interpolate(inside, old.plda, 0.3, True).covariances()
    for covariance, theirs in zip(regular, inside.covariances(), strict=True):
        assert_no_smaller(covariance, theirs)


def test_a_model_with_a_speaker_subspace(new: tuple[np.ndarray, list[str]]) -> None:
    """Between speakers its covariance is singular: no method may need the inverse."""
    rng = np.random.default_rng(5)
    loadings = rng.normal(size=(DIM, 2))
    model = Plda.from_covariances(np.zeros(DIM), np.eye(DIM), loadings @ loadings.T)
    inside = train_plda(SpeakerStats.collect(*new))
    for adapted in (coral_plus(model, new[0]), interpolate(model, inside, 0.5, True)):
        assert np.isfinite(adapted.transform).all() and np.isfinite(adapted.psi).all()
        assert_no_smaller(adapted.covariances()[1], model.covariances()[1])


def test_the_folder_says_how_it_was_adapted(old: PldaBackend, files: tuple[Path, Path], tmp_path: Path) -> None:
    adapt_backend(old, files[0], "coral+", weights_of("coral+", {"between_covar_scale": 0.5})).write(tmp_path / "plda")
    back = read_backend(tmp_path / "plda")
    assert isinstance(back, PldaBackend)
    wanted = {"method": "coral+", "within_covar_scale": 0.8, "between_covar_scale": 0.5}
    assert back.settings["adaptation"] == wanted


def test_cosine_adapts_its_mean(files: tuple[Path, Path]) -> None:
    cosine = CosineBackend(Projection(np.zeros(DIM), length="unit"))
    adapted = adapt_backend(cosine, files[0], "mean", {})
    assert error_rate(adapted) < error_rate(cosine) - 0.005
    with pytest.raises(DataError, match="the back-end subtracts no mean: there is nothing to adapt"):
        adapt_backend(CosineBackend(Projection(length="unit")), files[0], "mean", {})
    with pytest.raises(DataError, match="kaldi is for PLDA; of cosine only the mean can be adapted"):
        adapt_backend(cosine, files[0], "kaldi", weights_of("kaldi", {}))


def test_what_cannot_be_adapted(old: PldaBackend, files: tuple[Path, Path], tmp_path: Path) -> None:
    scp, utt2spk = files
    with pytest.raises(DataError, match=r"lip needs the speakers of the embeddings \(--utt2spk\)"):
        adapt_backend(old, scp, "lip", weights_of("lip", {}))
    with pytest.raises(DataError, match="coral has no use for the speakers"):
        adapt_backend(old, scp, "coral", {}, utt2spk)
    with pytest.raises(DataError, match="coral has no weight; it has no weights"):
        weights_of("coral", {"weight": 0.5, "regularize": None})
    with pytest.raises(DataError, match=r"the weight of the new domain is 1.5. it must lie between 0 and 1"):
        adapt_backend(old, scp, "cip", weights_of("cip", {"weight": 1.5}), utt2spk)
    vectors = np.random.default_rng(6).normal(size=(5, DIM)).astype(np.float32)
    write_vectors(tmp_path / "few", list("abcde"), vectors)
    with pytest.raises(DataError, match=r"few.scp: 5 embeddings do not tell a covariance of 12 dimensions"):
        adapt_backend(old, tmp_path / "few.scp", "coral+", weights_of("coral+", {}))
    write_vectors(tmp_path / "narrow", list("abcde"), vectors[:, :3])
    with pytest.raises(DataError, match=r"narrow.scp: the PLDA model has dimension 12, the vectors have 3"):
        adapt_backend(PldaBackend(Projection(), old.plda), tmp_path / "narrow.scp", "kaldi", weights_of("kaldi", {}))
