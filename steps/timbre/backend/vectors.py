"""Embeddings on their way to a back-end: looked up by id, averaged, centred, projected, length-normalised.

Called by backends.py and by the scripts that train and score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from timbre.datadir.ark import read_mat, read_vectors
from timbre.datadir.tables import read_lists, read_table
from timbre.feats.protocols import MARK, WHOLE
from timbre.runtime.factors import Length, affine, double_blocks, scaled
from timbre.utils.errors import DataError

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
MultiEnroll = Literal["average", "scores", "plda"]

_ROWS = 8192  # of a working copy in double precision: 16 MB at dim 256


@dataclass(frozen=True)
class Side:
    """One side of the trials: ids, vectors (N, D) float32, the number of utterances averaged into each, (N,) int64.

    path: the file that they are from, for messages; multi: what a back-end makes of several utterances of an id, and
    sessions: unless it is "average", these utterances, those of the first id first; whole: where sessions are crops of
    an utterance, and it has a vector of its own beside them, that.
    """

    ids: Sequence[str]
    vectors: Vectors
    num_utts: Ints
    path: Path | None = None
    multi: MultiEnroll = "average"
    sessions: "Side | None" = None
    whole: "Side | None" = None

    @classmethod
    def single(cls, ids: Sequence[str], vectors: Vectors, path: Path | None = None) -> "Side":
        """Vectors of one utterance each."""
        return cls(ids, vectors, np.ones(len(ids), np.int64), path)


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
        return Side.single(ids, self.matrix if whole else self.matrix[rows], self.path)

    def has_crops(self, ids: Sequence[str]) -> bool:
        """IDS, by the first of them, have no vector of their own but several of crops, named id#00, id#01, ..."""
        return bool(ids) and ids[0] not in self.rows and f"{ids[0]}{MARK}00" in self.rows

    def find_crops(self, ids: Sequence[str], models: Mapping[str, Sequence[str]]) -> tuple[list[Ints], list[Ints]]:
        """Rows of the crops of each of IDS, named id#00, id#01, ..., or just id; and of the whole, id#full.

        Of an id that MODELS names, those of all its utterances. Wholes are none where no id has one.

        Raises:
            DataError: an id has no crop, or only some of them have a vector of the whole utterance
        """
        utts = {key: models.get(key, [key]) for key in ids}
        wanted = {utt for members in utts.values() for utt in members}
        found: dict[str, dict[str, int]] = {}
        for row, key in enumerate(self.ids):
            utt, crop = (key, "") if key in wanted else key.rpartition(MARK)[::2]
            found.setdefault(utt, {})[crop] = row
        for key, members in utts.items():
            for utt in members:
                if not found.get(utt, {}).keys() - {WHOLE}:
                    raise DataError(f"no vectors for '{utt}'" + f" of model '{key}'" * (key in models), self.path)
        wholes = [[found[utt][WHOLE] for utt in utts[key] if WHOLE in found[utt]] for key in ids]
        partial = [key for key, rows in zip(ids, wholes, strict=True) if len(rows) < len(utts[key])]
        if partial and any(wholes):
            raise DataError(f"'{partial[0]}' has no vector of the whole utterance, others have one", self.path)
        crops = [[row for utt in utts[key] for crop, row in found[utt].items() if crop != WHOLE] for key in ids]
        return [np.array(rows) for rows in crops], [] if partial else [np.array(rows) for rows in wholes]

    def crops(self, ids: Sequence[str], models: Mapping[str, Sequence[str]]) -> Side:
        """What `find_crops` finds, as sessions whose scores are averaged."""
        found = self.find_crops(ids, models)
        crops, wholes = (self._grouped(ids, rows) if rows else None for rows in found)
        assert crops is not None
        return replace(crops, whole=wholes)

    def _grouped(self, ids: Sequence[str], groups: Sequence[Ints]) -> Side:
        rows, counts = np.concatenate(groups), np.array([len(group) for group in groups], np.int64)
        means = group_means(self.matrix, rows, counts).astype(np.float32)
        sessions = Side.single([self.ids[row] for row in rows], self.matrix[rows], self.path)
        return Side(ids, means, counts, self.path, "scores", sessions)

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

    def average(self, lists: Mapping[str, Sequence[str]], what: str, multi: MultiEnroll = "average") -> Side:
        """The mean vector of each list of ids, as Kaldi's ivector-mean, with the vectors themselves if MULTI asks."""
        counts = np.array([len(ids) for ids in lists.values()], np.int64)
        utts = [key for ids in lists.values() for key in ids]
        rows = self.find(utts, what)
        means = group_means(self.matrix, rows, counts).astype(np.float32)
        sessions = None if multi == "average" else Side.single(utts, self.matrix[rows], self.path)
        return Side(list(lists), means, counts, self.path, multi, sessions)


def read_sides(
    enroll_ids: Sequence[str],
    test_ids: Sequence[str],
    enroll_scp: Path,
    test_scp: Path,
    enroll_spk2utt: Path | None,
    multi: MultiEnroll = "average",
    crops: bool = False,
) -> tuple[Side, Side]:
    """The vectors that a list of trials names, enrolment and test.

    An enrolment id that ENROLL_SPK2UTT names is a model of the utterances listed there, of which the back-end makes
    what MULTI says; any other is an utterance. With CROPS, ids may have several vectors, id#00, id#01, ..., the scores
    of which are to be averaged, whatever MULTI says.

    Raises:
        DataError: an id has no vector, or the two files hold vectors of different dimension
    """
    test = Embeddings.read(test_scp)
    enroll = test if enroll_scp == test_scp else Embeddings.read(enroll_scp)
    if enroll.dim != test.dim:
        raise DataError(f"vectors of dimension {enroll.dim}, but those of {test_scp} have {test.dim}", enroll_scp)
    test_side = test.crops(test_ids, {}) if crops and test.has_crops(test_ids) else test.take(test_ids, "the trials")
    models = read_lists(enroll_spk2utt) if enroll_spk2utt else {}
    if crops and enroll.has_crops([utt for key in enroll_ids[:1] for utt in models.get(key, [key])]):
        return enroll.crops(enroll_ids, models), test_side
    if enroll_spk2utt is None:
        return enroll.take(enroll_ids, "the trials"), test_side
    lists = {key: models.get(key, [key]) for key in enroll_ids}
    return enroll.average(lists, f"{enroll_spk2utt} and the trials", multi), test_side


@dataclass(frozen=True)
class Projection:
    """From an embedding to what a back-end compares: minus a mean, through an affine map, scaled to a length.

    mean: (D,) or None; transform: (K, D) or (K, D + 1) or None; length: "unit" as for cosine, "sqrt_dim" as Kaldi's
    ivector-normalize-length, or "as_is"; then: what comes after it, since scaling cannot be folded into a matrix.
    """

    mean: Floats | None = None
    transform: Floats | None = None
    length: Length = "as_is"
    then: "Projection | None" = None

    @classmethod
    def read(cls, mean: Path | None, transform: Path | None, length: Length) -> "Projection":
        """With Kaldi's mean.vec and transform.mat, where they are given."""
        return cls(_read_array(mean, 1, "vector"), _read_array(transform, 2, "matrix"), length)

    def apply(self, side: Side) -> Vectors:
        """The vectors of SIDE, projected: (N, K) float32.

        Raises:
            DataError: the dimensions do not fit, or a vector to be scaled is zero
        """
        self._check(side.vectors.shape[1], side.path)
        dim = side.vectors.shape[1] if self.transform is None else len(self.transform)
        projected = np.empty((len(side.vectors), dim), np.float32)
        for rows, vectors in double_blocks(side.vectors):
            projected[rows] = self._block(vectors, side, rows)
        return projected if self.then is None else self.then.apply(replace(side, vectors=projected))

    def before(self, other: "Projection") -> "Projection":
        """This and then OTHER; affine maps in a row, (K, D + 1) each, become one."""
        if self.then is not None:
            return replace(self, then=self.then.before(other))
        if self.length == "as_is":
            mean, transform = _compose(self, other)
            return Projection(mean, transform, other.length, other.then)
        if other.mean is None and other.transform is None:  # scaled twice: the last length is what remains
            return replace(self, length=self.length if other.length == "as_is" else other.length, then=other.then)
        return replace(self, then=other)

    def _check(self, dim: int, path: Path | None) -> None:
        if self.mean is not None and len(self.mean) != dim:
            raise DataError(f"the mean has dimension {len(self.mean)}, the vectors have {dim}", path)
        if self.transform is not None and self.transform.shape[1] not in (dim, dim + 1):
            columns = self.transform.shape[1]
            raise DataError(f"the transform has {columns} columns, the vectors are of dimension {dim}", path)

    def _block(self, vectors: Floats, side: Side, rows: slice) -> Floats:
        vectors = affine(vectors, self.mean, self.transform)
        if self.length != "as_is":
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            if not norms.all():
                utt = side.ids[rows][int(norms.argmin())]
                raise DataError(f"the vector of '{utt}' is zero once centred: it has no direction", side.path)
            vectors = scaled(vectors, norms, self.length)
        return vectors


def _compose(first: Projection, second: Projection) -> tuple[Floats | None, Floats | None]:
    """Mean and transform of FIRST, which does not scale, and then SECOND; transforms have an offset."""
    if first.transform is None:
        if first.mean is None or second.mean is None:
            return second.mean if first.mean is None else first.mean, second.transform
        return first.mean + second.mean, second.transform
    linear, offset = first.transform[:, :-1], first.transform[:, -1]
    if second.mean is not None:
        offset = offset - second.mean
    if second.transform is not None:
        matrix, shift = second.transform[:, :-1], second.transform[:, -1]
        linear, offset = matrix @ linear, matrix @ offset + shift
    return first.mean, np.column_stack([linear, offset])


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


def _read_array(path: Path | None, ndim: int, kind: str) -> Floats | None:
    if path is None:
        return None
    array = read_mat(str(path)).astype(np.float64)
    if array.ndim != ndim or not array.size or not np.isfinite(array).all():
        raise DataError(f"not a {kind} of finite numbers", path)
    return array
