"""Quality measures of embeddings: how long they are, how near to a cohort. Called by make_quality.py."""

from collections.abc import Collection
from pathlib import Path

import numpy as np

from timbre.backend.backends import CosineBackend
from timbre.backend.score_norm import cohort_stats, read_cohort
from timbre.backend.vectors import Side
from timbre.utils.errors import DataError


def magnitudes(side: Side, path: Path) -> dict[str, float]:
    """Natural logarithm of the length of each vector of SIDE, which was read from PATH.

    Raises:
        DataError: one is zero
    """
    norms = np.linalg.norm(side.vectors.astype(np.float64), axis=1)
    if not norms.all():
        raise DataError(f"the vector of '{side.ids[int(norms.argmin())]}' is zero", path)
    return dict(zip(side.ids, np.log(norms).tolist(), strict=True))


def cohort_means(
    side: Side,
    cohort_scp: Path,
    cohort_utt2spk: Path | None,
    speakers: Collection[str],
    mean: Path | None,
    top_n: int,
    nj: int,
) -> dict[str, float]:
    """Mean of the TOP_N highest cosines of each vector of SIDE with a cohort; SPEAKERS are left out of it.

    Raises:
        DataError: as `read_cohort` and `cohort_stats`
    """
    cohort = read_cohort(cohort_scp, cohort_utt2spk, speakers, side.ids)
    stats = cohort_stats(CosineBackend.read(mean).factors(side, cohort), min(top_n, len(cohort.ids)), nj)
    return dict(zip(side.ids, stats.mean.tolist(), strict=True))
