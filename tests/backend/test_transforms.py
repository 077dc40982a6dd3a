"""Transforms against what each promises of the training embeddings, and chains of them against one after the other."""

from pathlib import Path

import numpy as np
import pytest

from timbre.backend.backends import CosineBackend, PldaBackend, read_backend
from timbre.backend.chain_training import train_backend
from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.transforms import Mean, Pca, Transform, Wccn, Whitening
from timbre.backend.vectors import Embeddings, Projection, Side
from timbre.datadir.ark import read_mat, write_vectors
from timbre.datadir.tables import read_table
from timbre.utils.configure import choose
from timbre.utils.errors import DataError

DIM = 6


def make_vectors(seed: int = 0, num_speakers: int = 40) -> tuple[np.ndarray, list[str]]:
    """Speakers with 1 to 8 utterances, whose axes differ in length and direction."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 9, num_speakers)
    names = [f"s{index:02d}" for index, count in enumerate(counts) for _ in range(count)]
    mix = rng.normal(size=(DIM, DIM))
    vectors = np.repeat(rng.normal(0, 2, (num_speakers, DIM)), counts, axis=0) + rng.normal(size=(len(names), DIM))
    return (vectors @ mix + 3).astype(np.float32), names


def apply(projection: Projection, vectors: np.ndarray) -> np.ndarray:
    side = Side.single([str(row) for row in range(len(vectors))], vectors)
    return projection.apply(side).astype(float)


def stats_after(transform: Transform) -> SpeakerStats:
    vectors, speakers = make_vectors()
    projected = apply(transform.train(SpeakerStats.collect(vectors, speakers)), vectors)
    return SpeakerStats.collect(projected.astype(np.float32), speakers)


def test_mean_over_utterances_and_over_speakers() -> None:
    assert np.abs(stats_after(Mean()).mean).max() < 1e-5
    over_speakers = stats_after(Mean(over="speakers"))
    assert np.abs(over_speakers.means.mean(axis=0)).max() < 1e-5 < np.abs(over_speakers.mean).max()


def test_wccn_makes_the_within_speaker_covariance_the_identity() -> None:
    assert np.allclose(stats_after(Wccn()).within, np.eye(DIM), atol=1e-4)
    assert not np.allclose(stats_after(Wccn(shrinkage=0.5)).within, np.eye(DIM), atol=0.05)


@pytest.mark.parametrize("kind", ["zca", "pca"])
def test_whitening_makes_the_total_covariance_the_identity(kind: str) -> None:
    stats = stats_after(Whitening(kind))  # type: ignore[arg-type]
    assert np.allclose(stats.within + stats.between, np.eye(DIM), atol=1e-4)
    assert np.abs(stats.mean).max() < 1e-5


def test_zca_is_the_whitening_that_moves_vectors_least() -> None:
    vectors, speakers = make_vectors()
    stats = SpeakerStats.collect(vectors, speakers)
    centered = vectors - vectors.mean(axis=0)
    moved = {kind: np.square(apply(Whitening(kind).train(stats), vectors) - centered).sum() for kind in ("zca", "pca")}
    assert moved["zca"] < moved["pca"]
    linear = Whitening("zca").train(stats).transform[:, :-1]
    assert np.allclose(linear, linear.T)


def test_pca_keeps_the_most_variance() -> None:
    vectors, speakers = make_vectors()
    stats = SpeakerStats.collect(vectors, speakers)
    linear = Pca(3).train(stats).transform[:, :-1]
    assert np.allclose(linear @ linear.T, np.eye(3))
    variances = np.linalg.svd(vectors - vectors.mean(axis=0, dtype=float), compute_uv=False) ** 2 / len(vectors)
    assert np.allclose(apply(Pca(3).train(stats), vectors).var(axis=0), variances[:3], rtol=1e-4)


def test_pca_to_the_dimensions_that_vary_within_speakers() -> None:
    vectors, speakers = make_vectors()
    vectors[:, 2] = vectors[:, 0] + vectors[:, 1]
    projection = Pca().train(SpeakerStats.collect(vectors, speakers))
    assert apply(projection, vectors).shape[1] == DIM - 1


CHAINS = [
    ["Mean"],
    ["LengthNorm"],
    ["Mean", "Lda", "LengthNorm"],
    ["Lda", "Mean", "Wccn"],
    ["Mean", "LengthNorm", "Mean", "Lda", "Wccn", "LengthNorm"],
    ["Whitening", "LengthNorm", "Pca", "Mean", "LengthNorm", "LengthNorm"],
    ["Mean", "Mean", "LengthNorm", "LengthNorm", "Mean"],
]


@pytest.mark.parametrize("names", CHAINS, ids="-".join)
def test_a_chain_is_its_transforms_one_after_the_other(names: list[str], tmp_path: Path) -> None:
    """Each trained on what those before it make of all vectors; then written, and read back."""
    vectors, speakers = make_vectors()
    arguments = {"Lda": {"dim": 4}, "Pca": {"dim": 5}}
    config = [{"class_path": name, "init_args": arguments.get(name, {})} for name in names]
    expected = vectors.astype(float)
    for one in config:
        transform = choose(Transform, one)()  # type: ignore[type-abstract]
        stats = SpeakerStats.collect(expected.astype(np.float32), speakers)
        expected = apply(transform.train(stats), expected.astype(np.float32))
    ids = [f"{name}-{row}" for row, name in enumerate(speakers)]
    write_vectors(tmp_path / "x", ids, vectors)
    (tmp_path / "utt2spk").write_text("".join(f"{key} {name}\n" for key, name in zip(ids, speakers, strict=True)))
    content = {"transforms": config, "model": {"class_path": "TwoCovariancePlda"}}
    backend = train_backend(tmp_path / "x.scp", tmp_path / "utt2spk", content)
    backend.write(tmp_path / "backend")
    for projection in (backend.projection, read_backend(tmp_path / "backend").projection):
        projected = apply(projection, vectors)
        signs = np.sign((projected * expected).sum(axis=0))  # of eigenvectors
        assert np.abs(projected * signs - expected).max() < 2e-4 * np.abs(expected).max()


def test_affine_maps_in_a_row_become_one_file(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    chain = Projection(np.ones(DIM))
    for shape in ((5, DIM + 1), (5, 6)):
        chain = chain.before(Projection(transform=rng.normal(size=shape)))
    chain = chain.before(Projection(length="sqrt_dim")).before(Projection(transform=rng.normal(size=(4, 6))))
    CosineBackend(chain.before(Projection(length="unit"))).write(tmp_path)
    files = {"backend.yaml", "mean.vec", "transform.mat", "transform2.mat"}
    assert {path.name for path in tmp_path.iterdir()} == files
    assert read_mat(str(tmp_path / "transform.mat")).shape == (5, DIM + 1)
    CosineBackend(Projection(length="unit")).write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"backend.yaml"}  # none is left of the earlier chain


def test_cosine_ends_with_unit_length_whatever_is_listed(tmp_path: Path) -> None:
    vectors, speakers = make_vectors()
    ids = [f"{name}-{row}" for row, name in enumerate(speakers)]
    write_vectors(tmp_path / "x", ids, vectors)
    (tmp_path / "utt2spk").write_text("".join(f"{key} {name}\n" for key, name in zip(ids, speakers, strict=True)))
    for transforms in ([], ["Mean"], ["Mean", "LengthNorm"], [{"class_path": "LengthNorm"}, "Wccn"]):
        backend = train_backend(tmp_path / "x.scp", tmp_path / "utt2spk", {"transforms": transforms, "model": "Cosine"})
        assert np.allclose(np.linalg.norm(apply(backend.projection, vectors), axis=1), 1, atol=1e-6)
        assert isinstance(backend, CosineBackend)


def test_what_cannot_be_trained() -> None:
    vectors, speakers = make_vectors()
    vectors[:, 2] = vectors[:, 0] + vectors[:, 1]
    stats = SpeakerStats.collect(vectors, speakers)
    exact = SpeakerStats(stats.means, stats.counts, np.diag([1.0, 1, 0, 1, 1, 1]))
    with pytest.raises(DataError, match="Wccn: the within-speaker covariance is singular in 6 dimensions"):
        Wccn().train(exact)
    assert np.isfinite(Wccn(shrinkage=0.1).train(exact).transform).all()
    with pytest.raises(DataError, match="shrinkage is 2; it must lie between 0 and 1"):
        Wccn(shrinkage=2).train(stats)
    for dim in (0, 7):
        with pytest.raises(DataError, match=f"Pca to {dim} dimensions: the vectors have 6"):
            Pca(dim).train(stats)
    with pytest.raises(DataError, match="Whitening of embeddings that never vary"):
        Whitening().train(SpeakerStats(np.ones((3, 2)), np.array([2, 2, 2]), np.zeros((2, 2))))


def test_ioffe_of_more_dimensions_than_residuals(root: Path, kaldi: Path, tmp_path: Path) -> None:
    """Ten speakers of two utterances have ten residuals: principal components bring 32 dimensions to ten."""
    folder = kaldi / "backend"
    speakers = read_table(folder / "train.utt2spk")
    chosen: dict[str, list[str]] = {}
    for utt, speaker in speakers.items():
        chosen.setdefault(speaker, []).append(utt)
    utts = [utt for speaker in sorted(chosen)[-10:] for utt in chosen[speaker][:2]]
    side = Embeddings.read(folder / "train.ark").take(utts, "the test")
    write_vectors(tmp_path / "few", utts, side.vectors)
    config = root / "conf" / "backend" / "plda_ioffe.yaml"
    backend = train_backend(tmp_path / "few.scp", folder / "train.utt2spk", config)
    assert isinstance(backend, PldaBackend) and backend.plda.dim == 10
    assert np.isfinite(backend.factors(side, side).left).all()


def test_whitening_says_what_hardly_varies(caplog: pytest.LogCaptureFixture) -> None:
    vectors, speakers = make_vectors()
    vectors[:, 2] = 1
    assert np.isfinite(Whitening().train(SpeakerStats.collect(vectors, speakers)).transform).all()
    assert "1 of 6 dimensions vary less than the floor" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("transforms: [Mean]\n", "conf.yaml: a back-end has model, and perhaps transforms and scoring, not transforms"),
        ("model: Cosine\nlda: 3\n", "a back-end has model, and perhaps transforms and scoring, not model, lda"),
        ("model: Svm\n", "conf.yaml: model 'Svm' is unknown; there are Cosine, IoffePlda, SimplifiedPlda, Two"),
        ("model: Cosine\ntransforms: Mean\n", "transforms must be a list of class_path and init_args, not 'Mean'"),
        ("model: Cosine\ntransforms: [{class_path: Lda, init_args: {dims: 3}}]\n", "conf.yaml: Lda: .*dims"),
        ("model: Cosine\ntransforms: [{class_path: LengthNorm, init_args: {length: 3}}]\n", "conf.yaml: LengthNorm: "),
        ("model: IoffePlda\nscoring: {smooth: 3}\n", "conf.yaml: PldaScoring: .*smooth"),
    ],
)
def test_wrong_configurations_are_told(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "conf.yaml").write_text(content)
    with pytest.raises(DataError, match=message):
        train_backend(tmp_path / "x.scp", tmp_path / "utt2spk", tmp_path / "conf.yaml")


def test_every_configuration_of_the_recipe_trains_and_is_read_back(root: Path, kaldi: Path, tmp_path: Path) -> None:
    folder = kaldi / "backend"
    configs = sorted((root / "conf" / "backend").glob("*.yaml"))
    assert len(configs) >= 6
    for config in configs:
        if "simplified" in config.name:  # of 100 dimensions, and there are 32 here
            small = tmp_path / config.name
            small.write_text(config.read_text().replace("dim: 100", "dim: 20"))
            config = small
        backend = train_backend(folder / "train.ark", folder / "train.utt2spk", config)
        backend.write(tmp_path / config.stem)
        back = read_backend(tmp_path / config.stem)
        assert type(back) is type(backend)
        assert back.settings == backend.settings  # type: ignore[attr-defined]
        if isinstance(back, PldaBackend) and isinstance(backend, PldaBackend):
            assert back.options == backend.options
            assert np.array_equal(back.plda.transform, backend.plda.transform)
