"""Agglomerative clustering with average linkage, label for label that of Kaldi's agglomerative-cluster.

Called by clustering.py and agglomerative_cluster.py. There is no memory beside the matrix of costs worth mentioning.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timbre.utils.errors import DataError

Costs = NDArray[np.float32]
Labels = NDArray[np.int64]

FIRST_PASS_MAX = 32767  # Kaldi's --first-pass-max-utterances
_EVERYTHING = np.float32(np.inf)
_NO_NUMBER = np.iinfo(np.int32).max  # of rows whose cluster is gone: it is older than none
_FULL = 0.75  # share of the rows that have a cluster, below which the others are forgotten


@dataclass(frozen=True)
class AhcOptions:
    """When merging stops, and what it may not do; as Kaldi's agglomerative-cluster.

    Args:
        threshold: clusters are merged as long as their average score is this or more (not with a known number)
        max_spk_fraction: no cluster gets more than this share of the windows, where the number of speakers is known
            and the share leaves room for so few
        first_pass_max: recordings with more windows are clustered in equal parts first, and then the clusters of all
        min_windows: windows of clusters with fewer go to the larger one that they score best with, one by one, where
            the number of speakers is not known (not in Kaldi; 1: every cluster stays)
    """

    threshold: float = 0.0
    max_spk_fraction: float = 1.0
    first_pass_max: int = FIRST_PASS_MAX
    min_windows: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.max_spk_fraction <= 1:
            raise DataError(f"max_spk_fraction is {self.max_spk_fraction:g}; it must be above 0, and at most 1")
        if self.min_windows < 1:
            raise DataError(f"min_windows is {self.min_windows}; it must be at least 1")
        if self.first_pass_max < 2:
            raise DataError(f"first_pass_max is {self.first_pass_max}; it must be at least 2")


def cluster(costs: Costs, options: AhcOptions = AhcOptions(), num_speakers: int | None = None) -> Labels:
    """Cluster of each window, (N,), numbered from 1 as Kaldi does: the one that was made last has the highest number.

    Pairs of equal cost are merged in the order of their clusters' numbers, the smaller ones first; sums of costs are
    rounded to float32 as in Kaldi, so that the labels are the same even where costs tie.

    Args:
        costs: (N, N) float32, symmetric, the lower the more alike (scores times -1); it is overwritten
        options: when to stop; the threshold is one of scores: costs up to minus the threshold are merged
        num_speakers: the number of clusters to make, whatever the threshold
    """
    num_points = len(costs)
    costs = np.ascontiguousarray(costs, np.float32)
    if costs.shape != (num_points, num_points) or not num_points:
        raise DataError(f"costs of shape {costs.shape}; a square matrix is wanted")
    if not np.isfinite(costs.sum(dtype=np.float64)):
        raise DataError("costs are NaN or infinite")
    fraction = 1.0
    max_cost = -np.float32(options.threshold)
    if num_speakers is not None:
        if num_speakers < 1:
            raise DataError(f"{num_speakers} speakers; it must be at least 1")
        max_cost = _EVERYTHING
        fraction = options.max_spk_fraction if options.max_spk_fraction * num_speakers >= 1 else 1.0
    clusters = _Clusters(costs, np.ones(num_points, np.int64), [[point] for point in range(num_points)])
    limits = _Limits(max_cost, num_speakers or 1, int(np.ceil(np.float32(fraction) * num_points)))
    if num_points > options.first_pass_max:
        clusters = _first_pass(costs, options.first_pass_max, limits)
    labels = np.zeros(num_points, np.int64)
    for label, members in enumerate(_merge(clusters, limits).members, start=1):
        labels[members] = label
    return labels


@dataclass(frozen=True)
class _Limits:
    max_cost: np.float32
    min_clusters: int
    max_size: int


@dataclass(frozen=True)
class _Clusters:
    """Clusters in the order of their numbers: sums of the costs between them (N, N), sizes (N,), points of each."""

    sums: Costs
    sizes: Labels
    members: list[list[int]]


def _first_pass(costs: Costs, max_points: int, limits: _Limits) -> _Clusters:
    """The clusters of equal parts of the points; ten times as many are left of each part as are wanted in the end."""
    num_parts = -(-len(costs) // max_points)
    size = -(-len(costs) // num_parts)
    parts = []
    for start in range(0, len(costs), size):
        stop = min(start + size, len(costs))
        points = [[point] for point in range(start, stop)]
        part = _Clusters(costs[start:stop, start:stop].copy(), np.ones(stop - start, np.int64), points)
        parts.append(_merge(part, _Limits(limits.max_cost, 10 * limits.min_clusters, limits.max_size)))
    members = [one for part in parts for one in part.members]
    sums = np.zeros((len(members), len(members)), np.float32)
    begin = 0
    for part in parts:
        end = begin + len(part.members)
        sums[begin:end, begin:end] = part.sums
        for row, new in enumerate(part.members, start=begin):
            for column, old in enumerate(members[:begin]):  # one after the other, as Kaldi adds them up
                block = costs[np.ix_(new, old)].ravel()
                sums[row, column] = sums[column, row] = np.add.accumulate(block)[-1]
        begin = end
    return _Clusters(sums, np.concatenate([part.sizes for part in parts]), members)


class _Merging:
    """The state of merging. A pair of clusters belongs to the younger one, the one with the higher number.

    Each cluster has the lowest cost of its pairs. When its partner in that pair is gone the cost is kept as a bound
    from below, for other pairs cost as much or more, and the pair is looked for when no bound is lower: a merge then
    costs some passes over rows, not over the matrix. With what merging creates, a new, youngest cluster, bounds of
    others never fall.
    """

    def __init__(self, clusters: _Clusters, max_size: int) -> None:
        count = len(clusters.sizes)
        self.sums = clusters.sums
        self.members = list(clusters.members)
        self.sizes = clusters.sizes.astype(np.float32)  # products are rounded as Kaldi rounds them
        self.max_size, self.is_limited = max_size, max_size < clusters.sizes.sum()
        self.number = np.arange(count, dtype=np.int32)  # of the cluster in each row
        self.row_of = np.concatenate([np.arange(count), np.full(count, -1)])  # by number
        self.bound = np.full(count, np.inf, np.float32)
        self.partner = np.full(count, -1, np.int32)  # its number; -1: to be looked for
        self.costs = np.empty(count, np.float32)  # of the pairs of a row, to save making room for them each time
        self.count = self.next_number = count
        for row in range(count):
            self._find(row)

    def closest(self) -> tuple[np.float32, int, int]:
        """The lowest cost and the rows of its pair, the one with the smaller number first; ties by these numbers."""
        while True:
            lowest = self.bound.min()
            if np.isinf(lowest):
                return lowest, -1, -1
            rows = np.flatnonzero(self.bound == lowest)
            unknown = rows[self.partner[rows] < 0]
            if not len(unknown):
                break
            for row in unknown:
                self._find(row)
        younger = min(rows, key=lambda row: (self.partner[row], self.number[row]))
        return lowest, int(self.row_of[self.partner[younger]]), int(younger)

    def merge(self, older: int, younger: int) -> None:
        """Makes one cluster, with a new number, of those in two rows."""
        self.partner[(self.partner == self.number[older]) | (self.partner == self.number[younger])] = -1
        self.bound[younger], self.partner[younger], self.number[younger] = np.inf, -1, _NO_NUMBER
        self.sums[older] += self.sums[younger]
        self.sums[:, older] = self.sums[older]
        self.sizes[older] += self.sizes[younger]
        self.members[older] = self.members[older] + self.members[younger]
        self.number[older], self.row_of[self.next_number] = self.next_number, older
        self.next_number += 1
        self.count -= 1
        self._find(older)
        if self.count < _FULL * len(self.number):
            self._compact()

    def in_order(self) -> _Clusters:
        """What is left, by number."""
        rows = np.argsort(self.number)[: self.count]
        members = [self.members[row] for row in rows]
        return _Clusters(self.sums[np.ix_(rows, rows)], self.sizes[rows].astype(np.int64), members)

    def _find(self, row: int) -> None:
        """The pair of lowest cost of the cluster in ROW with an older one, of equal ones that with the oldest."""
        costs = self.costs[: len(self.number)]
        np.multiply(self.sizes, self.sizes[row], out=costs)
        np.divide(self.sums[row], costs, out=costs)
        costs[self.number >= self.number[row]] = np.inf
        if self.is_limited:
            costs[self.sizes + self.sizes[row] > self.max_size] = np.inf
        self.bound[row] = lowest = costs[costs.argmin()]
        self.partner[row] = -1 if np.isinf(lowest) else self.number[costs == lowest].min()

    def _compact(self) -> None:
        """Forgets the rows of clusters that are gone: short rows are quick to go through. It needs no more memory."""
        rows = np.flatnonzero(self.number != _NO_NUMBER)
        flat, width = self.sums.reshape(-1), len(rows)
        for to, row in enumerate(rows):  # what is written lies before all that is still to be read
            flat[to * width : (to + 1) * width] = self.sums[row, rows]
        self.sums = flat[: width * width].reshape(width, width)
        self.sizes, self.number, self.bound = self.sizes[rows], self.number[rows], self.bound[rows]
        self.partner, self.members = self.partner[rows], [self.members[row] for row in rows]
        self.row_of[self.number] = np.arange(width)


def _merge(clusters: _Clusters, limits: _Limits) -> _Clusters:
    """CLUSTERS merged until LIMITS forbid it; sums are overwritten."""
    merging = _Merging(clusters, limits.max_size)
    while merging.count > limits.min_clusters:
        cost, older, younger = merging.closest()
        if older < 0 or cost > limits.max_cost:
            break
        merging.merge(older, younger)
    return merging.in_order()
