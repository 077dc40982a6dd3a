"""Agglomerative clustering against scipy where nothing ties, and against a merge by hand where everything may."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from timbre.runtime.ahc import AhcOptions, cluster
from timbre.utils.errors import DataError


def random_costs(count: int, seed: int, grid: float = 0.0) -> np.ndarray:
    costs = np.random.default_rng(seed).standard_normal((count, count)).astype(np.float32)
    costs = np.triu(costs, 1) + np.triu(costs, 1).T
    return np.round(costs / grid) * np.float32(grid) if grid else costs


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


def merge_by_hand(costs: np.ndarray, threshold: float, number: int = 1, largest: float = np.inf) -> list[int]:
    """All pairs looked at each time: (cost, numbers of the two), the lowest first."""
    clusters = {point + 1: [point] for point in range(len(costs))}
    sums = {(a, b): costs[a - 1, b - 1] for a in clusters for b in clusters if a < b}
    new = len(costs)
    while len(clusters) > number:
        pairs = [
            (np.float32(sums[a, b] / np.float32(len(clusters[a]) * len(clusters[b]))), a, b)
            for a in clusters
            for b in clusters
            if a < b and len(clusters[a]) + len(clusters[b]) <= largest
        ]
        if not pairs or min(pairs)[0] > threshold:
            break
        _, a, b = min(pairs)
        new += 1
        merged = clusters.pop(a) + clusters.pop(b)
        for other in clusters:
            sums[other, new] = np.float32(sums[min(a, other), max(a, other)] + sums[min(b, other), max(b, other)])
        clusters[new] = merged
    labels = [0] * len(costs)
    for label, key in enumerate(sorted(clusters), start=1):
        for point in clusters[key]:
            labels[point] = label
    return labels


@pytest.mark.parametrize("number", [1, 2, 7, 60])
def test_partition_is_scipys_average_linkage(number: int) -> None:
    costs = random_costs(60, seed=number) + np.float32(10)
    np.fill_diagonal(costs, 0)
    tree = linkage(squareform(costs.astype(np.float64)), "average")
    assert partition(cluster(costs.copy(), num_speakers=number)) == partition(fcluster(tree, number, "maxclust"))
    threshold = float(np.median(tree[:, 2]))
    found = cluster(costs.copy(), AhcOptions(-threshold))
    assert partition(found) == partition(fcluster(tree, np.float32(threshold), "distance"))


@pytest.mark.parametrize("seed", range(12))
def test_ties_go_to_the_clusters_with_the_smaller_numbers(seed: int) -> None:
    costs = random_costs(25, seed, grid=1.0)
    threshold = [-0.5, 0.0, 0.25][seed % 3]
    assert cluster(costs.copy(), AhcOptions(-threshold)).tolist() == merge_by_hand(costs, threshold)
    assert cluster(costs.copy(), num_speakers=3).tolist() == merge_by_hand(costs, np.inf, 3)


def test_no_cluster_is_larger_than_the_share_allows() -> None:
    costs = random_costs(40, 3, grid=0.5)
    labels = cluster(costs.copy(), AhcOptions(max_spk_fraction=0.3), num_speakers=5)
    assert np.bincount(labels).max() <= 12
    assert labels.tolist() == merge_by_hand(costs, np.inf, 5, largest=12)


def test_thresholds_beyond_all_scores() -> None:
    costs = random_costs(30, 1)
    assert cluster(costs.copy(), AhcOptions(-1e6)).tolist() == [1] * 30
    assert cluster(costs.copy(), AhcOptions(1e6)).tolist() == list(range(1, 31))
    assert cluster(np.zeros((1, 1), np.float32)).tolist() == [1]


def test_order_of_the_windows_changes_labels_only() -> None:
    costs = random_costs(50, 5)
    order = np.random.default_rng(0).permutation(50)
    first = cluster(costs.copy(), AhcOptions(0.1))
    second = cluster(costs[np.ix_(order, order)].copy(), AhcOptions(0.1))
    assert partition(first[order]) == partition(second)


def test_two_passes_of_well_separated_speakers() -> None:
    speakers = np.random.default_rng(2).integers(0, 4, 300)
    costs = np.where(speakers[:, None] == speakers, -1, 1).astype(np.float32)
    costs += random_costs(300, 4) * np.float32(0.1)
    for options in (AhcOptions(0.0), AhcOptions(0.0, first_pass_max=70)):
        assert partition(cluster(costs.copy(), options)) == partition(speakers)


def test_bad_input() -> None:
    with pytest.raises(DataError, match="NaN or infinite"):
        cluster(np.full((3, 3), np.nan, np.float32))
    with pytest.raises(DataError, match="square"):
        cluster(np.zeros((3, 2), np.float32))
    with pytest.raises(DataError, match="0 speakers"):
        cluster(np.zeros((3, 3), np.float32), num_speakers=0)
    with pytest.raises(DataError, match="max_spk_fraction"):
        AhcOptions(max_spk_fraction=0)
