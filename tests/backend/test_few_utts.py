"""Adaptation to few utterances: nothing of none, all of very many, and no covariance of less than it takes."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from timbre.backend.adaptation import FewUtts, adapt_backend, weights_of
from timbre.backend.backends import CosineBackend, PldaBackend
from timbre.backend.plda import Plda
from timbre.backend.vectors import Projection
from timbre.datadir.ark import write_vectors
from timbre.utils.errors import DataError

DIM = 6
METHODS = ["kaldi", "coral", "coral+", "mean"]


@pytest.fixture
def old() -> PldaBackend:
    covariance = np.diag(np.arange(1.0, DIM + 1))
    return PldaBackend(
        Projection(np.full(DIM, 0.5)), Plda.from_covariances(np.full(DIM, 0.1), covariance, 2 * covariance)
    )


def embeddings(folder: Path, number: int) -> Path:
    vectors = 3 + 4 * np.random.default_rng(number).normal(size=(number, DIM))
    write_vectors(folder / f"new{number}", [f"u{row:04d}" for row in range(number)], vectors.astype(np.float32))
    return folder / f"new{number}.scp"


def same(one: PldaBackend, other: PldaBackend) -> bool:
    assert one.projection.mean is not None and other.projection.mean is not None
    pairs = [(one.projection.mean, other.projection.mean), (one.plda.mean, other.plda.mean)]
    pairs += zip(one.plda.covariances(), other.plda.covariances(), strict=True)
    return all(np.allclose(ours, theirs, rtol=1e-4, atol=1e-4) for ours, theirs in pairs)


def adapt(old: PldaBackend, scp: Path, method: str, few: FewUtts = FewUtts()) -> PldaBackend:
    adapted = adapt_backend(old, scp, method, weights_of(method, {}), few=few)
    assert isinstance(adapted, PldaBackend)
    return adapted


@pytest.mark.parametrize("method", METHODS)
def test_priors_lead_from_all_of_it_to_nothing(method: str, old: PldaBackend, tmp_path: Path) -> None:
    scp = embeddings(tmp_path, 200)
    full = adapt(old, scp, method)
    assert not same(full, old)
    assert same(adapt(old, scp, method, FewUtts(1e-6, 1e-6)), full), "many utterances to one of the prior"
    assert same(adapt(old, scp, method, FewUtts(1e9, 1e9)), old), "one utterance to many of the prior"


def test_the_mean_of_n_has_weight_n_of_n_and_prior(old: PldaBackend, tmp_path: Path) -> None:
    for number, weight in ((10, 0.5), (30, 0.75)):
        scp = embeddings(tmp_path, number)
        cosine = CosineBackend(replace(old.projection, length="unit"))
        full, shrunk = (adapt_backend(cosine, scp, "mean", {}, few=few) for few in (FewUtts(), FewUtts(10)))
        assert full.projection.mean is not None and shrunk.projection.mean is not None
        assert np.allclose(shrunk.projection.mean, weight * full.projection.mean + (1 - weight) * 0.5)


def test_no_covariance_of_few(old: PldaBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    scp = embeddings(tmp_path, 50)
    adapted = adapt(old, scp, "coral", FewUtts(min_utts=51))
    assert same(adapted, adapt(old, scp, "mean")) and adapted.settings["adaptation"]["method"] == "mean"
    assert "only the mean is adapted: 50 utterances, and coral takes 51 in 6 dimensions" in caplog.text
    assert not same(adapt(old, scp, "coral", FewUtts(min_utts=50)), adapt(old, scp, "mean"))
    few = embeddings(tmp_path, DIM)
    adapted = adapt(old, few, "coral+", FewUtts(min_utts=1))
    assert same(adapted, adapt(old, few, "mean")), "as few as dimensions tell no covariance"


def test_what_makes_no_sense_is_refused(old: PldaBackend, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"new1.scp: adaptation takes two embeddings at least, and there is one"):
        adapt(old, embeddings(tmp_path, 1), "kaldi")
    with pytest.raises(DataError, match="prior_utts is -1; it must be 0 or more"):
        FewUtts(prior_utts=-1)
    with pytest.raises(DataError, match="lip has its own weight, and no prior_utts"):
        adapt_backend(old, tmp_path / "x.scp", "lip", {}, tmp_path / "utt2spk", FewUtts(1))
