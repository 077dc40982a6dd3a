"""Embeddings on a plane, and how much of what they tell is still seen there. Called by plot_embeddings.py."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from timbre.datadir.ark import read_vectors
from timbre.datadir.tables import read_table
from timbre.utils.errors import DataError

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]
Method = Literal["tsne", "umap", "pca"]

_BLOCK = 1024  # rows of similarities at once


@dataclass(frozen=True)
class MapOptions:
    """How embeddings come onto the plane.

    Args:
        method: tsne (van der Maaten and Hinton 2008), umap (McInnes et al. 2018; needs umap-learn), both by cosine
            distance, or pca
        pca_dim: dimension that a PCA leaves first, which also subtracts the mean; 0: no PCA
        perplexity: of t-SNE, about how many neighbours count; by default 30, or a third of fewer than 90 embeddings
        neighbors: of UMAP, how many neighbours count
        seed: of t-SNE and UMAP
    """

    method: Method = "tsne"
    pca_dim: int = 0
    perplexity: float | None = None
    neighbors: int = 15
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pca_dim < 0 or self.pca_dim == 1:
            raise DataError(f"pca_dim is {self.pca_dim}; it must be 0 or at least 2")
        if self.perplexity is not None and not self.perplexity >= 1:
            raise DataError(f"perplexity is {self.perplexity:g}; it must be at least 1")
        if self.neighbors < 2:
            raise DataError(f"neighbors is {self.neighbors}; it must be at least 2")


@dataclass(frozen=True)
class Labelled:
    """Embeddings (N, dim) of utterances, and their labels by each table, in the order of the tables."""

    utts: list[str]
    vectors: Floats
    labels: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.utts)

    def take(self, rows: Ints) -> "Labelled":
        """Those of ROWS."""
        labels = {name: [column[row] for row in rows] for name, column in self.labels.items()}
        return Labelled([self.utts[row] for row in rows], self.vectors[rows], labels)

    def of_most(self, count: int) -> "Labelled":
        """Those of the COUNT labels of the first table that have most utterances; equal ones by name."""
        first = next(iter(self.labels.values()))
        kept = set(ranked(first)[:count])
        return self.take(np.array([row for row, label in enumerate(first) if label in kept], np.int64))

    def sample(self, count: int, seed: int) -> "Labelled":
        """COUNT of them, drawn without replacement, in the order that they have."""
        if len(self) <= count:
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False)))


@dataclass(frozen=True)
class Agreement:
    """How far neighbours have the same label, as shares of 1, in the embeddings and on the map.

    Of each utterance that is not alone under its label, the share of its `neighbors` nearest (or of as many as the
    label has others, if they are fewer) with its label; chance: what a random order gives. silhouette: mean silhouette
    of the embeddings by cosine distance (Rousseeuw 1987), from -1 to 1; None where it is not defined.
    """

    num_labels: int
    neighbors: int
    embeddings: float
    map: float
    chance: float
    silhouette: float | None

    def __str__(self) -> str:
        text = (
            f"Same label among the {self.neighbors} nearest: {self.embeddings:.0%} in the embeddings, {self.map:.0%} "
            f"on the map, {self.chance:.1%} by chance"
        )
        return text.replace("%", " %") + ("" if self.silhouette is None else f"; silhouette {self.silhouette:.2f}")


def read_labelled(embeddings: Path, tables: Sequence[Path]) -> tuple[Labelled, list[str]]:
    """Embeddings and the label of each by every table: utt2X, or spk2X through the utt2spk beside it.

    Returns:
        the embeddings, and notes on lines of the tables that are of no embedding

    Raises:
        DataError: an embedding that a table has no label for; two tables of the same name; whatever is unreadable
    """
    utts, vectors = read_vectors(embeddings)
    known, notes = set(utts), []
    labels: dict[str, list[str]] = {}
    for path in tables:
        name = path.name.removeprefix("utt2").removeprefix("spk2")
        if name in labels:
            raise DataError(f"there are two tables of {name}", path)
        table = read_table(path)
        if path.name.startswith("spk2"):
            table = _through_speakers(path, table, known)
        else:
            strange = [(line, utt) for line, utt in enumerate(table, start=1) if utt not in known]
            if strange:
                line, utt = strange[0]
                more = f" (nor have {len(strange) - 1:,} more)" if len(strange) > 1 else ""
                notes.append(f"{path}:{line}: '{utt}' has no embedding{more}")
        lacking = [utt for utt in utts if utt not in table]
        if lacking:
            raise DataError(f"no label for {len(lacking):,} of {len(utts):,} embeddings, such as '{lacking[0]}'", path)
        labels[name] = [table[utt] for utt in utts]
    return Labelled(utts, vectors, labels), notes


def _through_speakers(path: Path, table: Mapping[str, str], known: set[str]) -> dict[str, str]:
    speakers = read_table(path.with_name("utt2spk"))
    lacking = [
        (line, spk) for line, (utt, spk) in enumerate(speakers.items(), start=1) if utt in known and spk not in table
    ]
    if lacking:
        line, speaker = lacking[0]
        raise DataError(f"speaker '{speaker}' is not in {path.name}", path.with_name("utt2spk"), line)
    return {utt: table[speaker] for utt, speaker in speakers.items() if speaker in table}


def ranked(labels: Sequence[str]) -> list[str]:
    """Different LABELS, the most frequent first, equal ones by name."""
    counts = Counter(labels)
    return sorted(counts, key=lambda label: (-counts[label], label))


def project(vectors: Floats, options: MapOptions) -> Floats:
    """Places of VECTORS (N, dim) on a plane, (N, 2) float64; of the same seed, the same.

    Raises:
        DataError: too few of them for the options, or umap-learn is not installed
    """
    if len(vectors) < 3:
        raise DataError(f"{len(vectors)} embeddings are too few for a map")
    if options.method == "pca" or options.pca_dim:
        wanted = 2 if options.method == "pca" else options.pca_dim
        if wanted > min(vectors.shape):
            raise DataError(
                f"a PCA to {wanted} dimensions needs as many embeddings and dimensions, not {vectors.shape}"
            )
        vectors = _pca(vectors, wanted)
    if options.method == "tsne":
        from sklearn.manifold import TSNE

        perplexity = min(30, (len(vectors) - 1) / 3) if options.perplexity is None else options.perplexity
        if perplexity >= len(vectors):
            raise DataError(f"perplexity is {perplexity:g}; it must be less than the {len(vectors)} embeddings")
        tsne = TSNE(2, perplexity=perplexity, metric="cosine", init="pca", random_state=options.seed)
        return np.asarray(tsne.fit_transform(vectors), np.float64)
    if options.method == "umap":
        try:
            from umap import UMAP
        except ImportError as error:
            raise DataError("the method umap needs umap-learn: pip install umap-learn") from error
        if options.neighbors >= len(vectors):
            raise DataError(f"neighbors is {options.neighbors}; it must be less than the {len(vectors)} embeddings")
        umap = UMAP(n_neighbors=options.neighbors, metric="cosine", random_state=options.seed, n_jobs=1)
        return np.asarray(umap.fit_transform(vectors), np.float64)
    return vectors


def _pca(vectors: Floats, dim: int) -> Floats:
    """The first DIM principal components, each with its largest loading positive."""
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:dim]
    signs = np.sign(axes[np.arange(dim), np.abs(axes).argmax(axis=1)])
    return np.asarray(centred @ (axes * signs[:, None]).T)


def measure(vectors: Floats, places: Floats, labels: Sequence[str], neighbors: int = 10) -> Agreement:
    """How far LABELS agree among neighbours in VECTORS (N, dim), by cosine, and on the map PLACES (N, 2)."""
    names, index = np.unique(np.array(labels), return_inverse=True)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    counts = np.bincount(index)
    wanted = np.minimum(neighbors, counts[index] - 1)
    used = wanted > 0
    chance = float(((counts[index] - 1) / (len(index) - 1))[used].mean()) if used.any() else float("nan")
    near, on_map = (_purity(points, index, wanted) for points in (unit, places - places.mean(axis=0)))
    silhouette = None
    if 1 < len(names) < len(index):
        from sklearn.metrics import silhouette_score

        silhouette = float(silhouette_score(vectors, index, metric="cosine"))
    return Agreement(len(names), neighbors, near, on_map, chance, silhouette)


def _purity(points: Floats, index: Ints, wanted: Ints) -> float:
    """Mean share of the WANTED (N,) nearest of each of POINTS (N, dim), by Euclidean distance, that have its INDEX."""
    used = np.flatnonzero(wanted > 0)
    most = int(wanted.max(initial=0))
    squares = np.einsum("nd,nd->n", points, points)
    total = 0.0
    for start in range(0, len(used), _BLOCK):
        rows = used[start : start + _BLOCK]
        distances = squares - 2 * (points[rows] @ points.T)
        distances[np.arange(len(rows)), rows] = np.inf
        nearest = np.argpartition(distances, most - 1, axis=1)[:, :most]
        order = np.take_along_axis(distances, nearest, axis=1).argsort(axis=1, kind="stable")
        same = index[np.take_along_axis(nearest, order, axis=1)] == index[rows, None]
        counted = np.arange(most) < wanted[rows, None]
        total += float(((same & counted).sum(axis=1) / wanted[rows]).sum())
    return total / len(used) if len(used) else float("nan")
