"""Scores of utterances that have several vectors each, such as ten crops: means over all pairs.

Distances and plain cosines for score_crops.py; `CropBackend` for the scripts that score by any back-end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timbre.backend.backends import Backend
from timbre.backend.scoring import score_pairs
from timbre.backend.vectors import Embeddings, Floats, Ints, Projection, Side, Vectors, group_means
from timbre.datadir.trials import Trials
from timbre.runtime.factors import Factors, Integers
from timbre.utils.errors import DataError

_BLOCK = 1 << 22  # bytes of gathered vectors at a time


@dataclass(frozen=True)
class CropBackend:
    """A back-end for sides of which one or both have crops: mean of its scores over all pairs of crops.

    A score is a product of two vectors plus a term of each side (`Factors`), so that its mean over pairs is the same of
    the mean vectors and terms. Where there are vectors of whole utterances beside crops, the score is the mean of that
    and of the score of the wholes. A cohort has neither, and is compared with either.
    """

    backend: Backend

    @classmethod
    def around(cls, backend: Backend, sides: tuple[Side, Side]) -> Backend:
        """BACKEND itself where neither of SIDES has crops."""
        enroll, test = sides
        return cls(backend) if test.sessions is not None or enroll.whole is not None else backend

    @property
    def projection(self) -> Projection:
        """What comes before the model."""
        return self.backend.projection

    def write(self, folder: Path) -> None:
        """Writes the back-end underneath."""
        self.backend.write(folder)

    def factors(self, enroll: Side, test: Side) -> Factors:
        """All mean scores of ENROLL against TEST.

        Raises:
            DataError: one side has vectors of wholes beside its crops, the other crops alone
        """
        crops = self._mean(enroll, test)
        if enroll.whole is None and test.whole is None:
            return crops
        if any(side.whole is None and side.sessions is not None for side in (enroll, test)):
            raise DataError("one side has vectors of whole utterances beside crops, the other crops alone", test.path)
        whole = self._mean(enroll.whole or enroll, test.whole or test)
        left, right = (np.hstack(pair) for pair in ((crops.left, whole.left), (crops.right, whole.right)))
        biases = (crops.left_bias + whole.left_bias) / 2, (crops.right_bias + whole.right_bias) / 2
        return Factors(np.float32(0.5) * left, right, *biases, crops.group)

    def _mean(self, enroll: Side, test: Side) -> Factors:
        """Those of the crops, or whatever the sessions of ENROLL and TEST are."""
        if test.sessions is None:
            return self.backend.factors(enroll, test)
        crops = self.backend.factors(enroll, test.sessions)
        rows = np.arange(len(crops.right))
        right = group_means(crops.right, rows, test.num_utts).astype(np.float32)
        ends = np.cumsum(test.num_utts)
        bias = np.add.reduceat(crops.right_bias, ends - test.num_utts, axis=1) / test.num_utts
        return Factors(crops.left, right, crops.left_bias, bias, crops.group)


@dataclass(frozen=True)
class CropSide:
    """One side of the trials, projected: vectors (N, D) float32 of crops, and rows[k], those of the id of number k.

    whole: (K, D), the vector of the whole utterance of each id, or None where the protocol has none.
    """

    vectors: Vectors
    rows: Sequence[Ints]
    whole: Floats | None

    @classmethod
    def read(
        cls, embeddings: Embeddings, ids: Sequence[str], projection: Projection, models: Mapping[str, Sequence[str]]
    ) -> "CropSide":
        """The crops of IDS, vectors that are named id#00, id#01, ..., or just id; of MODELS, those of their utterances.

        Raises:
            DataError: an id has no crop, or only some of them have a vector of the whole utterance
        """
        crops, wholes = embeddings.find_crops(ids, models)
        vectors = projection.apply(Side.single(embeddings.ids, embeddings.matrix))
        whole = np.stack([vectors[rows].astype(np.float64).mean(0) for rows in wholes]) if wholes else None
        return cls(vectors, crops, whole)

    def means(self) -> Floats:
        """(K, D) mean of the crops of each id."""
        return np.stack([self.vectors[rows].astype(np.float64).mean(0) for rows in self.rows])


def mean_products(enroll: CropSide, test: CropSide, trials: Trials, nj: int) -> Floats:
    """Mean over all pairs of crops of their dot product, the cosine of vectors of unit length: (num_trials,).

    Where both sides have a vector of the whole utterance, the mean of that and the product of the wholes.
    """
    left, right = enroll.means(), test.means()
    if enroll.whole is not None and test.whole is not None:
        left, right = (np.sqrt(0.5) * np.hstack(parts) for parts in ((left, enroll.whole), (right, test.whole)))
    factors = Factors.dot(left.astype(np.float32), right.astype(np.float32))
    return score_pairs(factors, trials.enroll, trials.test, nj)


def mean_distances(enroll: CropSide, test: CropSide, trials: Trials) -> Floats:
    """Minus the mean over all pairs of crops of their Euclidean distance: (num_trials,), as in voxceleb_trainer.

    Where both sides have a vector of the whole utterance, the mean of that and minus the distance of the wholes.
    """
    scores = np.empty(len(trials))
    counts = [np.array([len(rows) for rows in side.rows]) for side in (enroll, test)]
    kinds = np.column_stack([counts[0][trials.enroll], counts[1][trials.test]])
    for kind in np.unique(kinds, axis=0):  # one, but for models of several utterances
        chosen = np.flatnonzero((kinds == kind).all(axis=1))
        size = max(1, _BLOCK // int(8 * kind.sum() * enroll.vectors.shape[1]))
        for begin in range(0, len(chosen), size):
            part = chosen[begin : begin + size]
            distances = _distances(_gather(enroll, trials.enroll[part]), _gather(test, trials.test[part]))
            scores[part] = -distances.mean(axis=(1, 2))
    if enroll.whole is not None and test.whole is not None:
        for begin in range(0, len(trials), 1 << 14):
            rows = slice(begin, begin + (1 << 14))
            gap = enroll.whole[trials.enroll[rows]] - test.whole[trials.test[rows]]
            scores[rows] = (scores[rows] - np.linalg.norm(gap, axis=1)) / 2
    return scores


def _gather(side: CropSide, ids: Integers) -> Floats:
    """(n, C, D) float64 crops of IDS, which all have C of them."""
    crops: Floats = side.vectors[np.stack([side.rows[number] for number in ids])].astype(np.float64)
    return crops


def _distances(left: Floats, right: Floats) -> Floats:
    """(n, C, C') distances of LEFT (n, C, D) and RIGHT (n, C', D); float64, since equal vectors must come out at 0."""
    squares = (left**2).sum(2)[:, :, None] + (right**2).sum(2)[:, None, :] - 2 * left @ right.transpose(0, 2, 1)
    distances: Floats = np.sqrt(np.maximum(squares, 0))
    return distances
