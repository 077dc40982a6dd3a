"""Voice activity detection by energy, as Kaldi's compute-vad. Called by feats/vad.py and encoder.py."""

import numpy as np
from numpy.typing import NDArray


def energy_frames(
    log_energy: NDArray[np.float32], threshold: float, mean_scale: float, proportion: float, context: int
) -> NDArray[np.bool_]:
    """Which frames are speech: (num_frames,) bool; equal to Kaldi's compute-vad frame by frame.

    Args:
        log_energy: (num_frames,) log energy of each frame, of samples at int16 scale
        threshold: constant term of the threshold on it
        mean_scale: how much of the mean log energy is added to that
        proportion: share of the frames around a frame that must exceed the threshold
        context: frames on each side that are looked at
    """
    num_frames = len(log_energy)
    if num_frames == 0:
        return np.zeros(0, dtype=bool)
    # float32 throughout, as in Kaldi: with 5 frames and a proportion of 0.6 the rounding decides
    mean = np.float32(log_energy.sum(dtype=np.float64) / num_frames)
    least = np.float32(threshold) + np.float32(mean_scale) * mean
    above = np.concatenate([[0], np.cumsum(log_energy > least)])
    frame = np.arange(num_frames)
    start = np.maximum(frame - context, 0)
    end = np.minimum(frame + context + 1, num_frames)
    wanted = (end - start).astype(np.float32) * np.float32(proportion)
    voiced: NDArray[np.bool_] = above[end] - above[start] >= wanted
    return voiced
