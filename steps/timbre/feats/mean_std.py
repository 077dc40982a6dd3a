"""Means and deviations of frames: the smallest description of an utterance. For extract_statistics.py and the audit."""

import numpy as np
from numpy.typing import NDArray

from timbre.feats.utterances import Utterance, read_utterances


def frame_statistics(feats: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means, then standard deviations, of the columns of FEATS (num_frames, dim): (2 dim,) float32."""
    return np.concatenate((feats.mean(0, np.float64), feats.std(0, np.float64))).astype(np.float32)


def statistics_of(utterances: list[Utterance]) -> list[tuple[str, NDArray[np.float32] | str]]:
    """(utterance, its statistics or why it has none) of each of UTTERANCES."""
    results: list[tuple[str, NDArray[np.float32] | str]] = []
    for utt, feats in read_utterances(utterances, 1):
        if not isinstance(feats, np.ndarray):
            results.append((utt, str(feats)))
            continue
        vector = frame_statistics(feats)
        results.append((utt, vector if np.isfinite(vector).all() else "features have NaN or infinite values"))
    return results
