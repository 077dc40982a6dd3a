"""Scores of utterances that have several vectors each, such as ten crops: means over all pairs. For score_crops.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from timbre.backend.scoring import Factors, Integers, score_pairs
from timbre.backend.vectors import Embeddings, Floats, Ints, Projection, Side, Vectors
from timbre.datadir.trials import Trials
from timbre.feats.protocols import MARK, WHOLE
from timbre.utils.errors import DataError

_BLOCK = 1 << 22  # bytes of gathered vectors at a time


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
        utts = {key: models.get(key, [key]) for key in ids}
        wanted = {utt for members in utts.values() for utt in members}
        found: dict[str, dict[str, int]] = {}
        for row, key in enumerate(embeddings.ids):
            utt, crop = (key, "") if key in wanted else key.rpartition(MARK)[::2]
            found.setdefault(utt, {})[crop] = row
        for key, members in utts.items():
            for utt in members:
                if not found.get(utt, {}).keys() - {WHOLE}:
                    raise DataError(f"no vectors for '{utt}'" + f" of model '{key}'" * (key in models), embeddings.path)
        wholes = [[found[utt][WHOLE] for utt in utts[key] if WHOLE in found[utt]] for key in ids]
        partial = [key for key, rows in zip(ids, wholes, strict=True) if len(rows) < len(utts[key])]
        if partial and any(wholes):
            raise DataError(f"'{partial[0]}' has no vector of the whole utterance, others have one", embeddings.path)
        crops = [[row for utt in utts[key] for crop, row in found[utt].items() if crop != WHOLE] for key in ids]
        vectors = projection.apply(Side.single(embeddings.ids, embeddings.matrix))
        whole = None if partial else np.stack([vectors[chosen].astype(np.float64).mean(0) for chosen in wholes])
        return cls(vectors, [np.array(rows) for rows in crops], whole)

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
