"""Scores with a gradient are those of the library, and their gradient is that of differences."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from timbre.backend.backends import Backend, CosineBackend, PldaBackend, PldaScoring
from timbre.backend.chain_training import train_backend
from timbre.backend.scoring import score_pairs
from timbre.backend.vectors import Projection, Side
from timbre.datadir.ark import write_vectors
from timbre.datadir.tables import write_table
from timbre.explain.torch_scores import TorchBackend
from timbre.utils.errors import DataError

DIM = 12
LDA = {"class_path": "Lda", "init_args": {"dim": 8}}
SQRT, UNIT = ({"class_path": "LengthNorm", "init_args": {"length": length}} for length in ("sqrt_dim", "unit"))
CHAINS: dict[str, dict[str, Any]] = {
    "cosine": {"model": "Cosine"},
    "cosine of mean, LDA": {"transforms": ["Mean", UNIT, LDA], "model": "Cosine"},
    "plda": {"transforms": ["Mean", LDA, SQRT], "model": "TwoCovariancePlda"},
    "plda of whitening, twice scaled": {"transforms": ["Mean", UNIT, "Whitening", SQRT], "model": "TwoCovariancePlda"},
}


def vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(30, 1, DIM)) + 0.5
    found: np.ndarray = (means + 0.7 * rng.normal(size=(30, 6, DIM))).reshape(-1, DIM).astype(np.float32)
    return found


def trained(folder: Path, config: Mapping[str, Any]) -> Backend:
    names = [f"s{number:02d}-{utt}" for number in range(30) for utt in range(6)]
    write_vectors(folder / "train", names, vectors())
    write_table(folder / "utt2spk", {name: name[:3] for name in names})
    return train_backend(folder / "train.scp", folder / "utt2spk", config)


def check(backend: Backend, num_utts: int) -> None:
    found = vectors()
    enroll, test = found[:40], found[40:80]
    ids = [str(number) for number in range(40)]
    sides = Side(ids, enroll, np.full(40, num_utts, np.int64)), Side.single(ids, test)
    expected = score_pairs(backend.factors(*sides), np.arange(40), np.arange(40))
    scores = TorchBackend(backend)(torch.from_numpy(enroll), num_utts, torch.from_numpy(test))
    assert expected.std() > 0.05
    assert np.abs(scores.numpy() - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("chain", CHAINS)
def test_scores_are_those_of_the_library(chain: str, tmp_path: Path) -> None:
    backend = trained(tmp_path, CHAINS[chain])
    check(backend, 1)
    if isinstance(backend, PldaBackend):
        check(backend, 3)
        for options in (PldaScoring(False), PldaScoring(True, True), PldaScoring(smoothing=0.3)):
            check(replace(backend, options=options), 2)
        flat = replace(backend.plda, psi=np.where(np.arange(backend.plda.dim) < 3, backend.plda.psi, 0.0))
        check(replace(backend, plda=flat), 1)  # dimensions in which speakers do not differ


def test_one_side_may_be_one_vector(tmp_path: Path) -> None:
    backend = TorchBackend(trained(tmp_path, CHAINS["plda"]))
    one, many = torch.from_numpy(vectors()[:1]), torch.from_numpy(vectors()[10:15])
    expected = torch.cat([backend(one, 1, row[None]) for row in many])
    assert torch.allclose(backend(one, 1, many), expected) and torch.allclose(backend(many, 1, one), expected)


@pytest.mark.parametrize("chain", ["cosine of mean, LDA", "plda"])
def test_the_gradient_is_that_of_differences(chain: str, tmp_path: Path) -> None:
    backend = TorchBackend(trained(tmp_path, CHAINS[chain]))
    pair = [torch.from_numpy(row[None].copy()).double().requires_grad_(True) for row in vectors()[[3, 4]]]
    assert torch.autograd.gradcheck(lambda enroll, test: backend(enroll, 2, test), pair)


def test_a_back_end_of_another_kind_is_refused() -> None:
    class Other:
        projection = Projection()

        def factors(self, enroll: Side, test: Side) -> Any: ...

        def write(self, folder: Path) -> None: ...

    with pytest.raises(DataError, match="Other: its scores have no gradient here"):
        TorchBackend(Other())
    TorchBackend(CosineBackend.read())
