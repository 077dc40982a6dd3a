"""What transforms and PLDA keep of their training data: one pass over the embeddings, in bounded memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timbre.backend.vectors import Floats, Ints, Projection, Vectors, group_means
from timbre.runtime.factors import double_blocks
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class SpeakerStats:
    """Sufficient statistics of labelled embeddings.

    means: (S, D) of each speaker's utterances; counts: (S,) utterances; scatter: (D, D) sum of outer products around
    the speakers' means.
    """

    means: Floats
    counts: Ints
    scatter: Floats

    @classmethod
    def collect(cls, vectors: Vectors, speakers: Sequence[str], utt2spk: Path | None = None) -> "SpeakerStats":
        """Statistics of VECTORS (N, D) whose speakers are SPEAKERS (N,), by UTT2SPK, which messages name.

        Raises:
            DataError: there is one speaker only, or no speaker has two utterances
        """
        names, numbers = np.unique(np.asarray(speakers, object), return_inverse=True)
        if len(names) < 2:
            raise DataError(f"training needs at least two speakers, there is only '{names[0]}'", utt2spk)
        counts = np.bincount(numbers)
        if counts.max() < 2:
            raise DataError(
                f"training needs speakers with several utterances; each of the {len(names)} speakers has one", utt2spk
            )
        means = group_means(vectors, np.argsort(numbers, kind="stable"), counts)
        scatter = np.zeros((vectors.shape[1], vectors.shape[1]))
        for rows, block in double_blocks(vectors):
            residual = block - means[numbers[rows]]
            scatter += residual.T @ residual
        return cls(means, counts, scatter)

    @property
    def num_utts(self) -> int:
        """Number of utterances."""
        return int(self.counts.sum())

    @property
    def num_speakers(self) -> int:
        """Number of speakers."""
        return len(self.counts)

    @property
    def mean(self) -> Floats:
        """Mean of all utterances, (D,)."""
        mean: Floats = self.counts @ self.means / self.num_utts
        return mean

    def shifted(self, offset: Floats) -> "SpeakerStats":
        """Statistics of the embeddings minus OFFSET (D,)."""
        return SpeakerStats(self.means - offset, self.counts, self.scatter)

    def through(self, projection: Projection) -> "SpeakerStats":
        """Statistics of the embeddings after PROJECTION, which must not scale to a length."""
        stats = self if projection.mean is None else self.shifted(projection.mean)
        if projection.transform is None:
            return stats
        linear, offset = projection.transform[:, :-1], projection.transform[:, -1]
        return SpeakerStats(stats.means @ linear.T + offset, self.counts, linear @ self.scatter @ linear.T)

    @property
    def within(self) -> Floats:
        """Covariance of utterances around their speakers' means, (D, D)."""
        return self.scatter / self.num_utts

    @property
    def between(self) -> Floats:
        """Covariance of the speakers' means, by their number of utterances, (D, D)."""
        centered = (self.means - self.mean) * np.sqrt(self.counts)[:, None]
        covariance: Floats = centered.T @ centered / self.num_utts
        return covariance
