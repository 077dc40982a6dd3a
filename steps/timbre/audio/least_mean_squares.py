"""Adaptive least-mean-squares filters (Widrow and Hoff), as block algebra. Called by effects/adaptive.py.

A filter that learns at every sample is a loop. Within a block, though, the errors solve a triangular system: the
weights at sample k are those at the block's beginning and the sum of the corrections since, each an error times an
input; so e = d - X w - L e, where L holds the inner products of the inputs times the step. It is the loop's result.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from timbre.utils.errors import DataError

Floats = NDArray[np.float64]

_BLOCK = 64  # samples; the work a sample is about taps * block


class Filtered(NamedTuple):
    """What the filter predicts, what is left, and the weights at the end.

    Attributes:
        prediction: (num_samples,) w x, with the weights before each sample is learnt from
        error: (num_samples,) desired - prediction
        weights: (taps,) the first for the newest sample
    """

    prediction: Floats
    error: Floats
    weights: Floats


def nlms(source: Floats, desired: Floats, taps: int = 32, step: float = 0.05, epsilon: float = 1e-6) -> Filtered:
    """Normalised LMS: w <- w + step e x / (epsilon + |x|^2), where x is the newest TAPS samples of SOURCE.

    Args:
        source: (num_samples,) what is filtered; zeros are before it
        desired: (num_samples,) what the filter's output is to become
        taps: number of weights
        step: between 0 and 2, where it is stable; larger learns faster and keeps more noise
        epsilon: of the square of the samples' scale; keeps silence from dividing by zero

    Raises:
        DataError: taps or step are out of range, or the two arrays differ in length
    """
    if not 0 < step < 2:
        raise DataError(f"NLMS: step is {step:g}; it must lie between 0 and 2")
    if not epsilon > 0:
        raise DataError(f"NLMS: epsilon is {epsilon:g}; it must be above 0")
    windows = _windows(source, desired, taps)
    return _adapt(windows, desired, step / (epsilon + np.einsum("ij,ij->i", windows, windows)))


def lms(source: Floats, desired: Floats, taps: int = 32, step: float = 0.01) -> Filtered:
    """Plain LMS: w <- w + 2 step e x. Arguments as of `nlms`; stable for a step below 1 / (3 taps mean(source^2)).

    Raises:
        DataError: as `nlms`, or the filter diverges
    """
    if not step > 0:
        raise DataError(f"LMS: step is {step:g}; it must be above 0")
    windows = _windows(source, desired, taps)
    with np.errstate(over="ignore", invalid="ignore"):
        filtered = _adapt(windows, desired, np.full(len(desired), 2 * step))
    if not np.isfinite(filtered.error.sum()):
        limit = 1 / (3 * taps * max(float(np.square(source).mean()), 1e-30))
        raise DataError(f"LMS diverges with step {step:g}; for this signal it must be well below {limit:.3g}")
    return filtered


def _windows(source: Floats, desired: Floats, taps: int) -> Floats:
    """(num_samples, taps): at each sample the newest TAPS of SOURCE, newest first."""
    if taps < 1:
        raise DataError(f"LMS: taps is {taps}; it must be at least 1")
    if len(source) != len(desired):
        raise DataError(f"LMS: {len(source)} samples to filter, but {len(desired)} desired ones")
    padded = np.concatenate([np.zeros(taps - 1), source])
    return np.lib.stride_tricks.sliding_window_view(padded, taps)[:, ::-1]


def _adapt(windows: Floats, desired: Floats, gains: Floats) -> Filtered:
    """The recursion w <- w + gain_k e_k x_k, in blocks."""
    from scipy.linalg import solve_triangular  # slow to import

    weights = np.zeros(windows.shape[1])
    prediction = np.empty(len(desired))
    for start in range(0, len(desired), _BLOCK):
        part = slice(start, start + _BLOCK)
        inputs = np.ascontiguousarray(windows[part])
        system = np.tril(inputs @ inputs.T, -1) * gains[part]
        np.fill_diagonal(system, 1)
        before = desired[part] - inputs @ weights
        error = solve_triangular(system, before, lower=True, unit_diagonal=True, check_finite=False)
        weights = weights + inputs.T @ (gains[part] * error)
        prediction[part] = desired[part] - error
    return Filtered(prediction, desired - prediction, weights)
