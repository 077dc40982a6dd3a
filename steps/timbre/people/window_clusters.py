"""Windows of speech clustered by log-likelihood ratio: each a speaker. Called by diarize.py and regrouping.py."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from timbre.people.people_heard import Floats, Measures, Scores, Vectors, magnitudes_of, measures_of
from timbre.runtime.ahc import AhcOptions, cluster
from timbre.utils.errors import DataError

_LONGEST = 10.0  # seconds of speech beyond which a cluster is no surer: packs are calibrated on recordings of a few
_PART = 3000  # windows that are clustered at a time: half an hour of speech, 36 MB of scores

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ClusterOptions:
    """How windows are clustered.

    Args:
        speakers: how many there are, where that is known
        threshold: log-likelihood ratio, averaged over windows, above which two clusters are one
        centring: share of what all windows have in common, such as a room or noise, that is taken away before they are
            compared with each other: as it is no speaker's, all would look alike by it
        min_windows: speakers with fewer windows are taken for one of the others; where there are fewer than eight times
            as many in all, one window is a speaker too
    """

    speakers: int | None = None
    threshold: float = 0.75
    centring: float = 0.3
    min_windows: int = 2

    def __post_init__(self) -> None:
        if self.speakers is not None and self.speakers < 1:
            raise DataError(f"{self.speakers} speakers; it must be at least 1")
        if not np.isfinite(self.threshold):
            raise DataError(f"a threshold of {self.threshold:g}; it must be finite")
        if not 0 <= self.centring <= 1:
            raise DataError(f"centring is {self.centring:g}; it must be between 0 and 1")


@dataclass(frozen=True)
class Windows:
    """Embeddings (N, D), seconds of speech and log norm of each (N,), and measures of their recording: noise and band
    in dB."""

    vectors: Vectors
    seconds: Floats
    magnitudes: Floats
    common: Measures

    @classmethod
    def of_vectors(cls, vectors: Vectors, seconds: Floats, common: Measures) -> "Windows":
        """Of embeddings as the network gives them."""
        return cls(vectors, seconds, magnitudes_of(vectors), common)

    def of(self, labels: Ints) -> "Windows":
        """The means of those with each label, from 0, and their seconds together, as far as a pack knows lengths."""
        chosen = [labels == label for label in range(labels.max() + 1)]
        means = np.stack([self.vectors[rows].mean(axis=0) for rows in chosen])
        seconds = np.array([min(_LONGEST, self.seconds[rows].sum()) for rows in chosen])
        return Windows(means, seconds, np.array([self.magnitudes[rows].mean() for rows in chosen]), self.common)

    def part(self, rows: slice) -> "Windows":
        return Windows(self.vectors[rows], self.seconds[rows], self.magnitudes[rows], self.common)

    def measures(self) -> list[dict[str, float]]:
        return measures_of(self.seconds, self.magnitudes, self.common)


def speakers_of(windows: Windows, scorer: Scores, options: ClusterOptions) -> Ints:
    """Cluster (N,) of each window, from 0 in the order in which they speak; of many windows in parts, then of these."""
    shared = options.centring * (windows.vectors.mean(axis=0, dtype=np.float64) - scorer.centre)
    windows = replace(windows, vectors=(windows.vectors - shared).astype(np.float32))
    if len(windows.vectors) <= _PART:
        whole = _cluster(windows, scorer, options)
    else:
        labels, number = list[Ints](), 0
        for start in range(0, len(windows.vectors), _PART):
            part = windows.part(slice(start, start + _PART))
            labels.append(number + _cluster(part, scorer, replace(options, speakers=None, min_windows=1)))
            number = int(labels[-1].max()) + 1
        of_windows = np.concatenate(labels)
        whole = _cluster(windows.of(of_windows), scorer, options, np.bincount(of_windows))[of_windows]
    _, places, inverse = np.unique(whole, return_index=True, return_inverse=True)
    order: Ints = np.argsort(np.argsort(places))[inverse].astype(np.int64)
    return order


def _cluster(windows: Windows, scorer: Scores, options: ClusterOptions, counts: Ints | None = None) -> Ints:
    """Labels (N,) from 0 on; COUNTS (N,): windows that each of WINDOWS stands for."""
    vectors = windows.vectors
    scores = np.asarray(scorer.score(vectors, np.ones(len(vectors), np.int64), vectors), np.float64)
    scale, offset = _line(scorer, windows)
    llr = (scale * (scores + scores.T) / 2 + offset).astype(np.float32)
    if options.speakers is not None:
        return cluster(-llr, AhcOptions(), min(options.speakers, len(llr))) - 1
    labels = cluster(-llr, AhcOptions(options.threshold)) - 1
    sizes = np.bincount(labels, counts)
    least = options.min_windows if sizes.sum() >= 8 * options.min_windows else 1
    large = np.flatnonzero(sizes >= least)
    lost = np.flatnonzero(sizes[labels] < least)
    if len(large) and len(lost):
        means = np.stack([llr[:, labels == label].mean(axis=1) for label in large])
        labels[lost] = large[means[:, lost].argmax(axis=0)]
    numbers: Ints = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    return numbers


def _line(scorer: Scores, windows: Windows) -> tuple[float, float]:
    """Scale and offset of the line from scores to log-likelihood ratios, for windows such as these."""
    listed = windows.measures()
    middle = {name: float(np.median([one[name] for one in listed])) for name in listed[0]}
    pair = [middle, middle]
    low, high = np.asarray(scorer.llr(np.array([0.0, 1.0]), pair, pair), np.float64)
    return float(high - low), float(low)
