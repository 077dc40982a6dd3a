"""Embeddings on their way to a back-end: looked up by id, averaged, centred, projected, length-normalised.

Called by backends.py and by the scripts that train and score.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from steps.datadir.ark import read_mat, read_vectors
from steps.datadir.tables import read_lists, read_table
from steps.utils.errors import DataError

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Length = Literal["unit", "sqrt_dim", "as_is"]

_ROWS = 8192  # of a working copy in double precision: 16 MB at dim 256


@dataclass(frozen=True)
class Side:
    """One side of the trials: ids, vectors (N, D) float32, the number of utterances averaged into each, (N,) int64."""

    ids: Sequence[str]
    vectors: Vectors
    num_utts: Ints

    @classmethod
    def single(cls, ids: Sequence[str], vectors: Vectors) -> "Side":
        """Vectors of one utterance each."""
        return cls(ids, vectors, np.ones(len(ids), np.int64))


@dataclass(frozen=True)
class Embeddings:
    """The vectors of a file: ids in file order and (N, D) float32, one row an id."""

    path: Path
    ids: list[str]
    matrix: Vectors

    @classmethod
    def read(cls, path: Path) -> "Embeddings":
        """Reads an scp or ark of vectors; raises as `read_vectors`."""
        return cls(path, *read_vectors(path))

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each id."""
        return {key: row for row, key in enumerate(self.ids)}

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self.matrix.shape[1])

    def find(self, ids: Sequence[str], what: str) -> Ints:
        """Rows of IDS, which WHAT names.

        Raises:
            DataError: some have no vector
        """
        rows = np.fromiter((self.rows.get(key, -1) for key in ids), np.int64, len(ids))
        missing = np.flatnonzero(rows < 0)
        if missing.size:
            raise DataError(
                f"no vector for '{ids[missing[0]]}' ({missing.size} of {len(ids)} ids of {what})", self.path
            )
        return rows

    def take(self, ids: Sequence[str], what: str) -> Side:
        """The vectors of IDS."""
        rows = self.find(ids, what)
        whole = np.array_equal(rows, np.arange(len(self.ids)))
        return Side.single(ids, self.matrix if whole else self.matrix[rows])

    def speakers(self, utt2spk: Path) -> list[str]:
        """The speaker of each id.

        Raises:
            DataError: UTT2SPK does not name an id
        """
        table = read_table(utt2spk)
        missing = [key for key in self.ids if key not in table]
        if missing:
            raise DataError(
                f"no speaker for '{missing[0]}' ({len(missing)} of {len(self.ids)} ids of {self.path})", utt2spk
            )
        return [table[key] for key in self.ids]

    def mean(self) -> Floats:
        """Mean of all vectors, (D,), as Kaldi's ivector-mean."""
        mean: Floats = self.matrix.mean(axis=0, dtype=np.float64)
        return mean

    def average(self, lists: Mapping[str, Sequence[str]], what: str) -> Side:
        """The mean vector of each list of ids, as Kaldi's ivector-mean."""
        counts = np.array([len(ids) for ids in lists.values()], np.int64)
        rows = self.find([key for ids in lists.values() for key in ids], what)
        return Side(list(lists), group_means(self.matrix, rows, counts).astype(np.float32), counts)


def read_sides(
    enroll_ids: Sequence[str], test_ids: Sequence[str], enroll_scp: Path, test_scp: Path, enroll_spk2utt: Path | None
) -> tuple[Side, Side]:
    """The vectors that a list of trials names, enrolment and test.

    An enrolment id that ENROLL_SPK2UTT names is a model, the average of the utterances listed there; any other is an
    utterance.

    Raises:
        DataError: an id has no vector, or the two files hold vectors of different dimension
    """
    test = Embeddings.read(test_scp)
    enroll = test if enroll_scp == test_scp else Embeddings.read(enroll_scp)
    if enroll.dim != test.dim:
        raise DataError(f"vectors of dimension {enroll.dim}, but those of {test_scp} have {test.dim}", enroll_scp)
    test_side = test.take(test_ids, "the trials")
    if enroll_spk2utt is None:
        return enroll.take(enroll_ids, "the trials"), test_side
    models = read_lists(enroll_spk2utt)
    lists = {key: models.get(key, [key]) for key in enroll_ids}
    return enroll.average(lists, f"{enroll_spk2utt} and the trials"), test_side


@dataclass(frozen=True)
class Projection:
    """From an embedding to what a back-end compares: minus a mean, through an affine map, scaled to a length.

    mean: (D,) or None; transform: (K, D) or (K, D + 1) or None; length: "unit" as for cosine, "sqrt_dim" as Kaldi's
    ivector-normalize-length, or "as_is".
    """

    mean: Floats | None = None
    transform: Floats | None = None
    length: Length = "as_is"

    @classmethod
    def read(cls, mean: Path | None, transform: Path | None, length: Length) -> "Projection":
        """With Kaldi's mean.vec and transform.mat, where they are given."""
        return cls(_read(mean, 1, "vector"), _read(transform, 2, "matrix"), length)

    def apply(self, side: Side) -> Vectors:
        """The vectors of SIDE, projected: (N, K) float32.

        Raises:
            DataError: the dimensions do not fit, or a vector to be scaled is zero
        """
        self._check(side.vectors.shape[1])
        parts = [self._block(vectors, side.ids[rows]) for rows, vectors in double_blocks(side.vectors)]
        return np.concatenate(parts)

    def _check(self, dim: int) -> None:
        if self.mean is not None and len(self.mean) != dim:
            raise DataError(f"the mean has dimension {len(self.mean)}, the vectors have {dim}")
        if self.transform is not None and self.transform.shape[1] not in (dim, dim + 1):
            raise DataError(f"the transform has {self.transform.shape[1]} columns, the vectors are of dimension {dim}")

    def _block(self, vectors: Floats, ids: Sequence[str]) -> Vectors:
        dim = vectors.shape[1]
        if self.mean is not None:
            vectors = vectors - self.mean
        if self.transform is not None:
            offset = self.transform[:, dim:].sum(axis=1)  # the last column of an affine map, otherwise 0
            vectors = vectors @ self.transform[:, :dim].T + offset
        if self.length != "as_is":
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            if not norms.all():
                raise DataError(f"the vector of '{ids[int(norms.argmin())]}' is zero once centred: it has no direction")
            vectors = vectors * ((1.0 if self.length == "unit" else vectors.shape[1] ** 0.5) / norms)
        return vectors.astype(np.float32)


def double_blocks(matrix: Vectors) -> Iterator[tuple[slice, Floats]]:
    """MATRIX (N, D) in double precision, some rows at a time, so that memory stays bounded."""
    for begin in range(0, len(matrix), _ROWS):
        rows = slice(begin, begin + _ROWS)
        yield rows, matrix[rows].astype(np.float64)


def group_means(matrix: Vectors, rows: Ints, counts: Ints) -> Floats:
    """Means of consecutive groups of ROWS of MATRIX (N, D), COUNTS[i] > 0 rows in group i: (len(counts), D)."""
    means = np.empty((len(counts), matrix.shape[1]))
    ends = np.cumsum(counts)
    begins = ends - counts
    group = 0
    while group < len(counts):  # whole groups, about _ROWS rows of them at a time
        first = begins[group]
        stop = max(group + 1, int(np.searchsorted(ends, first + _ROWS, side="right")))
        chosen = matrix[rows[first : ends[stop - 1]]].astype(np.float64)
        means[group:stop] = np.add.reduceat(chosen, begins[group:stop] - first) / counts[group:stop, None]
        group = stop
    return means


def _read(path: Path | None, ndim: int, kind: str) -> Floats | None:
    if path is None:
        return None
    array = read_mat(str(path)).astype(np.float64)
    if array.ndim != ndim or not array.size or not np.isfinite(array).all():
        raise DataError(f"not a {kind} of finite numbers", path)
    return array
