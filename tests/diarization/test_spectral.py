"""Spectral clustering: known speakers, the number by the eigengap, sparse as dense, scikit-learn on the same graph."""

import numpy as np
import pytest
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_rand_score

from timbre.diarization.spectral import SpectralOptions, choose_number, cluster, connections
from timbre.runtime.factors import Factors
from timbre.utils.errors import DataError


def cosines(num_speakers: int, each: int, noise: float, seed: int = 0) -> tuple[Factors, np.ndarray]:
    rng = np.random.default_rng(seed)
    speakers = np.repeat(np.arange(num_speakers), each)
    vectors = rng.standard_normal((num_speakers, 64))[speakers] + noise * rng.standard_normal((len(speakers), 64))
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Factors.dot(unit, unit), speakers


@pytest.mark.parametrize("num_speakers", [2, 3, 6, 10])
def test_finds_speakers_and_their_number(num_speakers: int) -> None:
    factors, speakers = cosines(num_speakers, 30, 0.8)
    assert adjusted_rand_score(cluster(factors, False), speakers) == 1
    assert adjusted_rand_score(cluster(factors, False, num_speakers=num_speakers), speakers) == 1


def test_many_windows_go_through_a_sparse_solver() -> None:
    factors, speakers = cosines(5, 160, 1.0)
    labels = cluster(factors, False, SpectralOptions(keep=0.05))
    assert adjusted_rand_score(labels, speakers) == 1
    assert labels[0] == 1  # numbers in the order of appearance


def test_is_scikit_learns_on_the_same_graph() -> None:
    factors, _ = cosines(4, 25, 2.2, seed=3)
    graph = connections(factors, False, SpectralOptions(keep=0.2)).toarray()
    sklearn = SpectralClustering(4, affinity="precomputed", random_state=0, assign_labels="kmeans").fit_predict(graph)
    assert adjusted_rand_score(cluster(factors, False, SpectralOptions(keep=0.2), 4), sklearn) > 0.95


def test_connections_are_the_highest_scores() -> None:
    factors, _ = cosines(3, 20, 1.0)
    graph = connections(factors, True, SpectralOptions(keep=0.1, min_keep=2)).toarray()
    scores = factors.left @ factors.right.T
    kept = scores >= np.sort(scores, axis=1)[:, -6:-5]  # 6 of 60, itself among them
    probability = 1 / (1 + np.exp(-scores.astype(np.float64)))
    np.testing.assert_allclose(graph, (kept * probability + (kept * probability).T) / 2, atol=1e-6)


def test_number_of_speakers_lies_within_its_bounds() -> None:
    values = np.array([0.0, 0.01, 0.02, 0.6, 0.65, 0.7])
    assert choose_number(values, 1, 5) == 3
    assert choose_number(values, 4, 5) in (4, 5)
    assert choose_number(values, 1, 2) in (1, 2)
    factors, _ = cosines(6, 10, 0.5)
    assert cluster(factors, False, SpectralOptions(max_speakers=4)).max() <= 4
    one, _ = cosines(1, 1, 0.5)
    assert cluster(one, False).tolist() == [1]
    with pytest.raises(DataError, match="0 speakers"):
        cluster(factors, False, num_speakers=0)
