"""Means and deviations of frames: the smallest description of an utterance. For extract_statistics.py and the audit."""

import numpy as np
from numpy.typing import NDArray


def frame_statistics(feats: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means, then standard deviations, of the columns of FEATS (num_frames, dim): (2 dim,) float32."""
    return np.concatenate((feats.mean(0, np.float64), feats.std(0, np.float64))).astype(np.float32)
