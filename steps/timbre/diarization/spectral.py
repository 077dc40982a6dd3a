"""Spectral clustering of windows with as many speakers as the gap between eigenvalues says. Called by clustering.py."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from timbre.backend.scoring import map_products
from timbre.backend.vectors import Floats, Ints, Vectors
from timbre.runtime.factors import Factors
from timbre.utils.errors import DataError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_DENSE = 600  # windows up to which all eigenvectors are quicker to find than some
_SEED = 0  # of k-means, and of the first vector of the iteration


@dataclass(frozen=True)
class SpectralOptions:
    """How windows are connected, and how many speakers there may be.

    Args:
        keep: share of the windows that each window stays connected to, the ones that score highest
        min_keep: but at least this many
        max_keep: and at most this many, which bounds the memory of long recordings
        min_speakers: fewest speakers
        max_speakers: most
    """

    keep: float = 0.1
    min_keep: int = 6
    max_keep: int = 1000
    min_speakers: int = 1
    max_speakers: int = 15

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise DataError(f"spectral: keep is {self.keep:g}; it must be above 0, and at most 1")
        if not 1 <= self.min_keep <= self.max_keep:
            raise DataError(f"spectral: 1 <= min_keep <= max_keep is wanted, not {self.min_keep} and {self.max_keep}")
        if not 1 <= self.min_speakers <= self.max_speakers:
            text = f"{self.min_speakers} and {self.max_speakers}"
            raise DataError(f"spectral: 1 <= min_speakers <= max_speakers is wanted, not {text}")


def cluster(
    factors: Factors, is_llr: bool, options: SpectralOptions = SpectralOptions(), num_speakers: int | None = None
) -> Ints:
    """Cluster of each window, (N,), numbered from 1 in the order in which the clusters appear.

    The normalised Laplacian's eigenvectors with unit rows, by k-means (Ng, Jordan and Weiss 2001); the number of
    speakers is where the gap between its eigenvalues is largest (von Luxburg 2007). What is not among the highest
    scores of a window is left out first, so that memory is N times as many as are kept.

    Args:
        factors: scores of all windows
        is_llr: scores are log-likelihood ratios, else cosines
        options: connections and bounds
        num_speakers: the number of clusters to make, whatever the eigenvalues
    """
    count = len(factors.left)
    if num_speakers is not None and num_speakers < 1:
        raise DataError(f"{num_speakers} speakers; it must be at least 1")
    most = min(num_speakers or options.max_speakers, count)
    if most == 1:
        return np.ones(count, np.int64)
    values, vectors = _eigen(connections(factors, is_llr, options), most + 1)
    number = num_speakers or choose_number(values, options.min_speakers, most)
    number = min(number, count)
    if number == 1:
        return np.ones(count, np.int64)
    rows = vectors[:, :number]
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    from sklearn.cluster import KMeans  # slow to import

    found = KMeans(number, n_init=10, random_state=_SEED).fit_predict(rows)
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    labels: Ints = 1 + np.argsort(np.argsort(first))[inverse].astype(np.int64)
    return labels


def connections(factors: Factors, is_llr: bool, options: SpectralOptions) -> "csr_array":
    """The pruned affinities, (N, N) sparse and symmetric, between 0 and 1: (1 + cosine) / 2, or the probability that
    two windows are of the same speaker at even odds.
    """
    from scipy.sparse import csr_array

    count = len(factors.left)
    kept = min(count, max(options.min_keep, min(options.max_keep, int(np.ceil(options.keep * count)))))
    columns = np.empty((count, kept), np.int32)
    values = np.empty((count, kept), np.float64)

    def prune(rows: slice, block: Vectors) -> None:
        scores = block + factors.left_bias[rows, None] + factors.right_bias[factors.group[rows]]
        columns[rows] = np.argpartition(scores, count - kept, axis=1)[:, count - kept :]
        chosen = np.take_along_axis(scores, columns[rows], axis=1)
        values[rows] = 1 / (1 + np.exp(-np.clip(chosen, -500, 500))) if is_llr else (1 + np.clip(chosen, -1, 1)) / 2

    map_products(factors, prune)
    graph = csr_array((values.ravel(), columns.ravel(), np.arange(0, count * kept + 1, kept)), shape=(count, count))
    return (graph + graph.T) / 2


def choose_number(values: Floats, least: int, most: int) -> int:
    """The number of speakers k, from LEAST to MOST, after which the eigenvalues (ascending) rise the most."""
    gaps = np.diff(values)[least - 1 : most]
    return least + int(np.argmax(gaps)) if len(gaps) else min(least, len(values))


def _eigen(graph: "csr_array", number: int) -> tuple[Floats, NDArray[np.float64]]:
    """The NUMBER lowest eigenvalues of the normalised Laplacian of GRAPH, ascending, and their vectors (N, number)."""
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import eigsh

    count = graph.shape[0]
    scale = 1 / np.sqrt(np.maximum(graph.sum(axis=1), np.finfo(np.float64).tiny))
    similar = diags_array(scale) @ graph @ diags_array(scale)
    number = min(number, count)
    if count <= _DENSE or number >= count - 1:
        values, vectors = np.linalg.eigh(similar.toarray())
    else:
        start = np.random.default_rng(_SEED).standard_normal(count)
        values, vectors = eigsh(similar, number, which="LA", v0=start)
    order = np.argsort(-values)[:number]
    return 1 - values[order], vectors[:, order]
