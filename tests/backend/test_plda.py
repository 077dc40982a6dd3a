"""PLDA, LDA and their files: properties that hold for any data, and what is said of data that will not do."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from timbre.backend.backends import CosineBackend, PldaBackend, PldaOverrides, PldaScoring, read_backend
from timbre.backend.lda import compute_lda, possible_dim
from timbre.backend.model_files import write_object
from timbre.backend.plda import Plda, log_likelihood, train_plda
from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.vectors import Projection
from timbre.datadir.ark import read_mat
from timbre.utils.errors import DataError


def make_vectors(seed: int, dim: int = 5, num_speakers: int = 30) -> tuple[np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 9, num_speakers)
    names = [f"s{index:02d}" for index, count in enumerate(counts) for _ in range(count)]
    centers = np.repeat(rng.normal(0, 2, (num_speakers, dim)), counts, axis=0)
    order = rng.permutation(len(names))
    vectors = centers + rng.normal(0, 1, centers.shape) * np.arange(1, dim + 1)
    return vectors[order].astype(np.float32), [names[row] for row in order]


def test_statistics_by_hand() -> None:
    vectors, speakers = make_vectors(0)
    stats = SpeakerStats.collect(vectors, speakers)
    scatter = np.zeros((5, 5))
    for row, name in enumerate(sorted(set(speakers))):
        own = vectors[[speaker == name for speaker in speakers]].astype(float)
        assert np.allclose(stats.means[row], own.mean(axis=0))
        assert stats.counts[row] == len(own)
        scatter += (own - own.mean(axis=0)).T @ (own - own.mean(axis=0))
    assert np.allclose(stats.scatter, scatter)
    assert np.allclose(stats.mean, vectors.mean(axis=0))


def test_likelihood_never_decreases() -> None:
    for seed in range(5):
        stats = SpeakerStats.collect(*make_vectors(seed))
        likelihoods = [log_likelihood(stats, train_plda(stats, num_iters)) for num_iters in range(12)]
        assert all(b >= a - 1e-12 for a, b in pairwise(likelihoods))


def test_model_basis_whitens() -> None:
    plda = train_plda(SpeakerStats.collect(*make_vectors(1)))
    within, between = plda.covariances()
    assert np.allclose(plda.transform @ within @ plda.transform.T, np.eye(5))
    assert np.allclose(plda.transform @ between @ plda.transform.T, np.diag(plda.psi), atol=1e-12)
    assert (np.diff(plda.psi) <= 0).all()


def test_lda_whitens_within_speakers_and_orders_between() -> None:
    stats = SpeakerStats.collect(*make_vectors(2))
    lda = compute_lda(stats, 3)
    linear = lda[:, :5]
    assert np.allclose(linear @ (stats.scatter / stats.num_utts) @ linear.T, np.eye(3))
    assert np.allclose(linear @ stats.mean + lda[:, 5], 0)
    projected = (stats.means @ linear.T + lda[:, 5]) * np.sqrt(stats.counts)[:, None]
    between = projected.T @ projected
    assert np.allclose(between, np.diag(np.diag(between)), atol=1e-6)
    assert (np.diff(np.diag(between)) < 0).all()


def test_expected_length_after_normalisation() -> None:
    """A vector of n utterances is scaled so that its energy under its own distribution is the dimension."""
    plda = train_plda(SpeakerStats.collect(*make_vectors(3)))
    vectors, num_utts = make_vectors(4)[0][:20], np.arange(1, 21)
    latent = plda.latent(vectors, num_utts).astype(float)
    assert np.allclose((latent**2 / (plda.psi + 1 / num_utts[:, None])).sum(axis=1), 5, rtol=1e-5)
    assert np.allclose(np.linalg.norm(plda.latent(vectors, num_utts, simple=True), axis=1), 5**0.5, rtol=1e-5)


def test_files_round_trip(kaldi: Path, tmp_path: Path) -> None:
    for name in ("plda_raw", "plda_lda"):
        Plda.read(kaldi / "backend" / name).write(tmp_path / name)
        assert (tmp_path / name).read_bytes() == (kaldi / "backend" / name).read_bytes()
    lda = kaldi / "backend" / "lda20_tot0.0.mat"
    write_object(tmp_path / "transform.mat", read_mat(str(lda)))
    assert (tmp_path / "transform.mat").read_bytes() == lda.read_bytes()
    mean = kaldi / "backend" / "train.mean.bin.vec"
    write_object(tmp_path / "mean.vec", read_mat(str(mean)))
    assert (tmp_path / "mean.vec").read_bytes() == mean.read_bytes()


def test_text_form(kaldi: Path) -> None:
    text, binary = (Plda.read(kaldi / "backend" / name) for name in ("plda_lda.txt", "plda_lda"))
    for name in ("mean", "transform", "psi"):
        assert np.allclose(getattr(text, name), getattr(binary, name), rtol=1e-6, atol=1e-6)


def test_any_cut_of_a_model_is_refused(kaldi: Path, tmp_path: Path) -> None:
    for name in ("plda_lda", "plda_lda.txt"):
        data = (kaldi / "backend" / name).read_bytes()
        for length in {0, 1, 2, 7, 9, 15, 20, 200, len(data) // 2, len(data) - 9, len(data) - 2}:
            (tmp_path / "plda").write_bytes(data[:length])
            with pytest.raises(DataError, match="not a Kaldi PLDA model, or cut short"):
                Plda.read(tmp_path / "plda")


def test_backend_folder(tmp_path: Path) -> None:
    plda = train_plda(SpeakerStats.collect(*make_vectors(5)))
    PldaBackend(Projection(np.ones(7), np.ones((5, 8)), "as_is"), plda).write(tmp_path)
    back = PldaBackend.read(tmp_path)
    assert np.array_equal(back.projection.mean, np.ones(7))
    assert np.array_equal(back.projection.transform, np.ones((5, 8)))
    assert back.projection.length == "as_is"
    PldaBackend(Projection(length="sqrt_dim"), plda).write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backend.yaml", "plda"]  # no older mean or transform
    (tmp_path / "backend.yaml").unlink()
    assert PldaBackend.read(tmp_path).projection.length == "sqrt_dim"  # a folder of Kaldi's recipe
    (tmp_path / "backend.yaml").write_text("length_norm: false\n")  # of an earlier version
    assert PldaBackend.read(tmp_path).projection.length == "as_is"
    (tmp_path / "backend.yaml").write_text("parts: [{files: [], length: perhaps}]\n")
    with pytest.raises(DataError, match=r"backend.yaml: parts must be a list of files and a length"):
        PldaBackend.read(tmp_path)
    (tmp_path / "backend.yaml").write_text("parts: [{files: [], length: unit}]\nscoring: {smooth: 1}\n")
    with pytest.raises(DataError, match=r"backend.yaml: PldaScoring: .*smooth"):
        PldaBackend.read(tmp_path)


def test_any_back_end_is_read_from_its_folder(kaldi: Path, tmp_path: Path) -> None:
    plda = train_plda(SpeakerStats.collect(*make_vectors(5)))
    PldaBackend(Projection(np.ones(5)), plda, PldaScoring(smoothing=0.1)).write(tmp_path / "plda")
    back = read_backend(tmp_path / "plda", PldaOverrides(normalize_length=False))
    assert isinstance(back, PldaBackend) and back.projection.length == "as_is"
    assert back.options == PldaScoring(normalize_length=False, smoothing=0.1)
    (tmp_path / "kaldi").mkdir()
    (tmp_path / "kaldi" / "plda").write_bytes((kaldi / "backend" / "plda_raw").read_bytes())
    assert isinstance(read_backend(tmp_path / "kaldi"), PldaBackend)
    CosineBackend(Projection(np.ones(5), np.ones((3, 6)), "unit")).write(tmp_path / "lda")
    back = read_backend(tmp_path / "lda")
    assert isinstance(back, CosineBackend) and np.array_equal(back.projection.mean, np.ones(5))
    with pytest.raises(DataError, match="no back-end: there is neither plda nor mean"):
        read_backend(tmp_path)


def test_data_that_cannot_train() -> None:
    vectors, speakers = make_vectors(6)
    with pytest.raises(DataError, match="at least two speakers, there is only 'a'"):
        SpeakerStats.collect(vectors[:3], ["a", "a", "a"])
    with pytest.raises(DataError, match="each of the 3 speakers has one"):
        SpeakerStats.collect(vectors[:3], ["a", "b", "c"])
    stats = SpeakerStats.collect(vectors, speakers)
    with pytest.raises(DataError, match="LDA to 6 dimensions: these embeddings allow 1 to 5"):
        compute_lda(stats, 6)
    few = [int(speaker[1:]) < 4 for speaker in speakers]
    few_stats = SpeakerStats.collect(vectors[few], [s for s, chosen in zip(speakers, few, strict=True) if chosen])
    with pytest.raises(DataError, match="allow 1 to 3, the number of speakers less one"):
        compute_lda(few_stats, 4)
    assert [possible_dim(few_stats, dim) for dim in (0, 2, 3, 4, 99)] == [0, 2, 3, 3, 3]
    assert possible_dim(stats, 99) == 5
    with pytest.raises(DataError, match="never vary within a speaker"):
        compute_lda(SpeakerStats(stats.means, stats.counts, np.zeros((5, 5))), 2)


def test_too_many_dimensions_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """EM starts from identities and so gets through, as Kaldi's does, to a model of the start and not of the data."""
    vectors = np.random.default_rng(7).standard_normal((40, 5), dtype=np.float32)
    vectors[:, 2] = 1
    assert np.isfinite(train_plda(SpeakerStats.collect(vectors, [f"s{row % 8}" for row in range(40)])).psi).all()
    assert "vary in 4 of 5 dimensions: LDA first" in caplog.text
    with pytest.raises(DataError, match="within-speaker covariance is singular in 3 dimensions"):
        Plda.from_covariances(np.zeros(3), np.diag([1.0, 1.0, 0.0]), np.eye(3))
