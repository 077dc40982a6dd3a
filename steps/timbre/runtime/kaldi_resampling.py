"""Kaldi's own resampler, a windowed sinc: allow_downsample of the features equals Kaldi's. For dump_feats.py."""

import math

import numpy as np
from numpy.typing import NDArray

_ZEROS = 6  # zero crossings of the sinc on each side
_BLOCK = 1 << 24  # numbers that are copied at a time: memory stays bounded, however long the audio is
_CUTOFF = 0.99  # of the lower of the two Nyquist frequencies


def kaldi_resample(samples: NDArray[np.float32], rate: int, new_rate: int) -> NDArray[np.float32]:
    """SAMPLES (num_samples,) at RATE Hz as Kaldi's ResampleWaveform gives them at NEW_RATE Hz.

    Output sample k + n * new_rate / gcd is a weighted sum of the input around it, with the same weights for every n:
    with those as columns of a matrix, the output is one product with a strided view of the input.
    """
    if len(samples) == 0:
        return samples
    divisor = math.gcd(rate, new_rate)
    step, phases = rate // divisor, new_rate // divisor
    cutoff = _CUTOFF * 0.5 * min(rate, new_rate)
    half_width = _ZEROS / (2 * cutoff)
    reach = math.ceil(half_width * rate)  # input samples that an output sample looks at, on each side of its time
    position = np.arange(-reach, step + reach)[:, None]
    time = position / rate - np.arange(phases) / new_rate
    hann = np.where(np.abs(time) < half_width, 0.5 * (1 + np.cos(np.pi * time / half_width)), 0)
    weights = (2 * cutoff / rate * np.sinc(2 * cutoff * time) * hann).astype(np.float32)
    num_outputs = -(-len(samples) * new_rate // rate)
    blocks = -(-num_outputs // phases)
    padded = np.zeros((blocks - 1) * step + len(position), dtype=np.float32)
    usable = min(len(samples), len(padded) - reach)
    padded[reach : reach + usable] = samples[:usable]
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(position))[::step]
    rows = max(1, _BLOCK // len(position))
    parts = [(windows[start : start + rows] @ weights).reshape(-1) for start in range(0, blocks, rows)]
    return np.ascontiguousarray((parts[0] if len(parts) == 1 else np.concatenate(parts))[:num_outputs])
