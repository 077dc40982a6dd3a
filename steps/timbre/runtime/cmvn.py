"""Cepstral mean and variance normalisation, as Kaldi's compute-cmvn-stats, apply-cmvn and apply-cmvn-sliding.

Called by normalize.py (training and extraction) and by the step compute_cmvn.py.
"""

import numpy as np
from numpy.typing import NDArray

from timbre.utils.errors import DataError

Indices = NDArray[np.int64]


def sliding_cmn(
    feats: NDArray[np.float32],
    window: int = 300,
    min_window: int = 100,
    center: bool = True,
    norm_vars: bool = False,
    rows: slice = slice(None),
) -> NDArray[np.float32]:
    """Subtracts from each frame the mean over a window around it, and divides by the deviation where asked.

    Equal to Kaldi's apply-cmvn-sliding, by cumulative sums in float64. At the ends the window is shifted to stay whole;
    an utterance shorter than the window is normalised by its own mean.

    Args:
        feats: (num_frames, dim)
        window: frames in the window
        min_window: frames that the window has at the start at least, when it is not centred
        center: window centred on the frame; otherwise it ends there (and has, as in Kaldi, one frame more)
        norm_vars: make the variance one as well
        rows: the frames that are wanted; what memory it takes depends on them alone

    Returns:
        (num_frames, dim) float32, of ROWS
    """
    if window < 1:
        raise DataError(f"the CMN window is {window} frames; it must be at least 1")
    num_frames = len(feats)
    if num_frames == 0:
        return np.asarray(feats, dtype=np.float32)
    start, end = (one[rows] for one in windows(num_frames, window, min_window, center))
    if not len(start):
        return np.zeros((0, feats.shape[1]), np.float32)
    wanted, first = feats[rows], int(start.min())
    feats, start, end = feats[first : int(end.max())], start - first, end - first
    count = (end - start)[:, None]
    mean = _window_sums(feats, start, end) / count
    normalized = wanted - mean
    if norm_vars:
        variance = _window_sums(np.square(feats, dtype=np.float64), start, end) / count - np.square(mean)
        normalized *= np.where(count > 1, 1 / np.sqrt(np.maximum(variance, 1e-10)), 0)
    return np.asarray(normalized, dtype=np.float32)


def windows(
    num_frames: int, window: int, min_window: int = 100, center: bool = True
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(start, end) of the window of each frame, for the arguments of `sliding_cmn`."""
    frame = np.arange(num_frames)
    start = frame - window // 2 if center else frame - window
    end = start + window if center else frame + 1
    end = end + np.maximum(-start, 0)
    start = np.maximum(start, 0)
    if not center:
        end = np.where(end > frame, np.maximum(frame + 1, min_window), end)
    start = np.maximum(start - np.maximum(end - num_frames, 0), 0)
    return start, np.minimum(end, num_frames)


def _window_sums(values: NDArray[np.floating], start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.float64]:
    sums = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, dtype=np.float64, out=sums[1:])
    window_sums: NDArray[np.float64] = sums[end] - sums[start]
    return window_sums


def cmvn_stats(feats: NDArray[np.float32], weights: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
    """The statistics of Kaldi's compute-cmvn-stats: (2, dim + 1) float64; add those of several utterances up.

    Row 0 is the sum of the frames and their count, row 1 the sum of their squares and a zero.

    Args:
        feats: (num_frames, dim)
        weights: (num_frames,) weight of each frame, for example the VAD decision
    """
    weight = np.ones(len(feats)) if weights is None else np.asarray(weights, dtype=np.float64)
    stats = np.zeros((2, feats.shape[1] + 1))
    stats[0, :-1], stats[0, -1] = weight @ feats.astype(np.float64), weight.sum()
    stats[1, :-1] = weight @ np.square(feats).astype(np.float64)  # float32 squares, as in Kaldi
    return stats


def apply_cmvn(feats: NDArray[np.float32], stats: NDArray[np.float64], norm_vars: bool = False) -> NDArray[np.float32]:
    """Subtracts the mean of STATS, and divides by its deviation where asked (Kaldi's apply-cmvn).

    Args:
        feats: (num_frames, dim)
        stats: (2, dim + 1) from `cmvn_stats`
        norm_vars: make the variance one as well

    Raises:
        DataError: the statistics are of another dimension or of no frame at all
    """
    dim, count = feats.shape[1], stats[0, -1]
    if stats.shape != (2, dim + 1):
        raise DataError(f"CMVN statistics of shape {stats.shape} for features of dimension {dim}")
    if not count > 0:
        raise DataError("CMVN statistics of no frame")
    mean = stats[0, :-1] / count
    scale = np.ones(dim)
    if norm_vars:
        scale = 1 / np.sqrt(np.maximum(stats[1, :-1] / count - np.square(mean), 1e-20))
    return np.asarray((feats - mean) * scale, dtype=np.float32)
