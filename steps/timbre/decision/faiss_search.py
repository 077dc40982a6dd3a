"""Approximate search of a gallery of millions by faiss (an extra: pip install timbre[search]). For probes.py.

Cosine and PLDA alike are the largest inner products: a score is left . right + left_bias, and what depends on the probe
alone changes no order.
"""

import logging
from importlib.util import find_spec

import numpy as np

from timbre.backend.scoring import score_pairs
from timbre.backend.vectors import Side
from timbre.decision.gallery_search import Matches, search
from timbre.decision.pack import Scorer
from timbre.evaluation.metrics import Ints
from timbre.utils.errors import DataError

log = logging.getLogger(__name__)

_CHECKED = 100  # probes that are searched exactly too, to say how many of the best are found
_PROBED = 0.04  # share of the cells that is looked into


def has_faiss() -> bool:
    """Whether faiss is installed."""
    return find_spec("faiss") is not None


def faiss_search(scorer: Scorer, gallery: Side, probes: Side, k: int, truth: Ints, nj: int = 1) -> Matches:
    """As `search`, by an inverted file (IVF): few of its cells are looked into; the scores of what is found are exact.

    The rank of a true entry that is not among the K found is one more than there are entries. How often the best entry
    is found is measured on some of the probes, and logged.

    Raises:
        DataError: faiss is not installed, or the scores are not inner products (AS-norm; models of differently many
            utterances under PLDA)
    """
    if not has_faiss():
        raise DataError("approximate search needs faiss: pip install timbre[search], or --search exact")
    import faiss

    if scorer.cohort is not None:
        raise DataError("approximate search cannot normalise scores: --search exact, or no cohort")
    factors = scorer.backend.factors(gallery, probes)
    if len(factors.right_bias) > 1:
        raise DataError("approximate search needs as many utterances in every entry of the gallery: --search exact")
    size, k = len(gallery.ids), min(k, len(gallery.ids))
    entries = np.column_stack([factors.left, factors.left_bias]).astype(np.float32)
    wanted = np.column_stack([factors.right, np.ones(len(factors.right))]).astype(np.float32)
    cells = max(1, min(int(size**0.5), size // 40))
    faiss.omp_set_num_threads(nj)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(entries.shape[1]), entries.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.max_points_per_centroid = 1, 64
    index.train(entries)
    index.add(entries)
    index.nprobe = max(1, min(cells, max(8, int(_PROBED * cells))))
    _, rows = index.search(wanted, k)
    if (missing := rows < 0).any():  # a cell with fewer entries than asked for
        rows[missing] = np.broadcast_to(rows[:, :1], rows.shape)[missing]
    columns = np.repeat(np.arange(len(rows)), k)
    scores = score_pairs(factors, rows.ravel(), columns, nj).reshape(rows.shape)
    scores[missing] = -np.inf
    order = np.lexsort((rows, -scores), axis=1)
    rows, scores = np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)
    found = rows == truth[:, None]
    rank = np.where(truth >= 0, np.where(found.any(axis=1), found.argmax(axis=1) + 1, size + 1), 0)
    chosen = np.linspace(0, len(rows) - 1, min(_CHECKED, len(rows))).astype(np.int64)
    some = Side.single([probes.ids[row] for row in chosen.tolist()], probes.vectors[chosen])
    best = search(scorer, gallery, some, 1, nj=nj).rows[:, 0]
    log.info(
        "faiss: %d of %d cells; the best of %d entries is found for %.1f %% of %d probes",
        index.nprobe, cells, size, 100 * float(np.mean(best == rows[chosen, 0])), len(chosen),
    )  # fmt: skip
    return Matches(rows.astype(np.int64), scores, rank.astype(np.int64))
