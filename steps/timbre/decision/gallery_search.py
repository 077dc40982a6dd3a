"""Who of a gallery is it? The best entries of every probe, by products of matrices in blocks of bounded memory.

A gallery is who is enrolled, a probe an utterance to identify. Called for identify_probes.py (many, of embeddings:
probes.py) and identify.py (one, of audio: audio_gallery.py); approximate search is in faiss_search.py.
"""

from dataclasses import dataclass, replace

import numpy as np

from timbre.backend.score_norm import CohortStats, normalize, side_stats
from timbre.backend.scoring import map_products, score_pairs
from timbre.backend.vectors import Side, Vectors
from timbre.decision.pack import Scorer
from timbre.evaluation.metrics import Floats, Ints
from timbre.runtime.factors import Factors
from timbre.utils.errors import DataError

_TILE = 1 << 16  # gallery entries at a time
_ROUNDING = 4 * float(np.finfo(np.float32).eps)  # of a product, times the square root of its dimension
UNKNOWN = -1  # the truth of a probe who is not in the gallery


@dataclass(frozen=True)
class Matches:
    """The K best gallery entries of P probes.

    rows: (P, K) in the gallery, the best first; scores: (P, K); rank: (P,) of the true entry from 1, 0 where there is
    none. Entries that score the same as the true one are ranked before it, so that chance is not counted as skill.
    """

    rows: Ints
    scores: Floats
    rank: Ints


def search(scorer: Scorer, gallery: Side, probes: Side, k: int, truth: Ints | None = None, nj: int = 1) -> Matches:
    """The K best entries of GALLERY for each of PROBES, exactly, on at most NJ threads.

    Args:
        scorer: back-end and cohort
        gallery: a model an entry, perhaps of several utterances
        probes: an utterance each
        k: how many; at most all there are
        truth: (P,) gallery row of each probe, or UNKNOWN; without it no rank is counted
        nj: number of threads

    Raises:
        DataError: the gallery is empty, or K is less than 1
    """
    size, number = len(gallery.ids), len(probes.ids)
    if not size or k < 1:
        raise DataError(f"{k} of a gallery of {size} cannot be found")
    k = min(k, size)
    factors = scorer.backend.factors(gallery, probes)
    stats = None
    if scorer.cohort is not None:
        top_n = min(scorer.top_n, len(scorer.cohort.ids))
        stats = side_stats(scorer.backend, gallery, probes, scorer.cohort, top_n, nj)
    truth = np.full(number, UNKNOWN) if truth is None else truth
    least = _least(factors, stats, truth, nj)
    rows, scores = np.zeros((number, k), np.int64), np.full((number, k), -np.inf)
    rank = (truth != UNKNOWN).astype(np.int64)
    for start in range(0, size, _TILE):
        tile = _Tile.of(factors, stats, slice(start, min(start + _TILE, size)))

        def take(block_rows: slice, block: Vectors, tile: _Tile = tile) -> None:
            values = tile.scores(block_rows, block)
            _keep_best(rows[block_rows], scores[block_rows], values, tile.start)
            own = truth[block_rows] - tile.start
            here = np.flatnonzero((own >= 0) & (own < values.shape[1]))
            values[here, own[here]] = -np.inf
            rank[block_rows] += np.count_nonzero(values >= least[block_rows, None], axis=1)

        map_products(Factors.dot(factors.right, tile.factors.left), take, nj)
    return Matches(rows, scores, rank)


Stats = tuple[CohortStats, CohortStats]


def _least(factors: Factors, stats: Stats | None, truth: Ints, nj: int) -> Floats:
    """The score (P,) from which on an entry is ranked before the true one: hers, less the rounding of a product."""
    least = np.full(len(truth), np.inf)
    known = np.flatnonzero(truth != UNKNOWN)
    if not known.size:
        return least
    entries = truth[known]
    own = score_pairs(factors, entries, known, nj)
    lengths = [np.linalg.norm(side, axis=1) for side in (factors.left, factors.right)]
    rounding = _ROUNDING * factors.left.shape[1] ** 0.5 * lengths[0][entries] * lengths[1][known]
    if stats is not None:
        enroll, test = stats[0].at(entries), stats[1].at(known)
        own, rounding = normalize(own, enroll, test), rounding * 0.5 * (1 / enroll.std + 1 / test.std)
    least[known] = own - rounding
    return least


@dataclass(frozen=True)
class _Tile:
    """Scores of probes against some of the gallery, entries from START on; stats: of both sides, for AS-norm."""

    factors: Factors
    start: int
    stats: Stats | None

    @classmethod
    def of(cls, factors: Factors, stats: Stats | None, part: slice) -> "_Tile":
        """The entries PART of a gallery."""
        tile = replace(factors, left=factors.left[part], left_bias=factors.left_bias[part], group=factors.group[part])
        return cls(
            tile, part.start, None if stats is None else (stats[0].at(np.arange(part.start, part.stop)), stats[1])
        )

    def scores(self, rows: slice, products: Vectors) -> Vectors | Floats:
        """(probes, entries) of the probes ROWS, from their PRODUCTS of the same shape, which are overwritten."""
        bias = self.factors.right_bias[:, rows].T.astype(np.float32)  # (probes, groups)
        products += self.factors.left_bias.astype(np.float32)
        products += bias if bias.shape[1] == 1 else bias[:, self.factors.group]
        if self.stats is None:
            return products
        entries, probes = self.stats
        return normalize(
            products.astype(np.float64), entries, CohortStats(probes.mean[rows, None], probes.std[rows, None])
        )


def _keep_best(rows: Ints, scores: Floats, values: Vectors | Floats, start: int) -> None:
    """Puts the best of SCORES (P, K) of ROWS and of VALUES (P, E) of rows from START on into the former."""
    k = scores.shape[1]
    if values.shape[1] > k:
        places = np.argpartition(values, values.shape[1] - k, axis=1)[:, -k:]
    else:
        places = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    all_scores = np.concatenate([scores, np.take_along_axis(values, places, axis=1)], axis=1)
    all_rows = np.concatenate([rows, places + start], axis=1)
    order = np.lexsort((all_rows, -all_scores), axis=1)[:, :k]  # of equal ones the first of the gallery
    rows[:], scores[:] = np.take_along_axis(all_rows, order, axis=1), np.take_along_axis(all_scores, order, axis=1)
