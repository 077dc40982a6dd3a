"""Loudness as ITU-R BS.1770-4 (EBU R 128) measures it. Called by effects/level.py."""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from timbre.runtime.sound import Samples

_ABSOLUTE_GATE = -70.0  # LUFS
_RELATIVE_GATE = -10.0  # LU below the mean of what passes the absolute gate
_BLOCK, _OVERLAP = 0.4, 0.75  # seconds, share


def loudness(samples: Samples, rate: int) -> float:
    """Integrated loudness in LUFS of mono SAMPLES (num_samples,), full scale at 1; -inf for silence.

    What is shorter than a block of 400 ms is measured as one block, without gates.
    """
    from scipy.signal import sosfilt  # slow to import

    energy = np.square(sosfilt(_weighting(rate), samples.astype(np.float64)))
    size, hop = round(_BLOCK * rate), round(_BLOCK * (1 - _OVERLAP) * rate)
    if len(energy) < size or hop < 1:
        return _lufs(float(energy.mean()))
    sums = np.concatenate([[0.0], np.cumsum(energy)])
    starts = np.arange(0, len(energy) - size + 1, hop)
    blocks = (sums[starts + size] - sums[starts]) / size
    heard = blocks[blocks > _energy(_ABSOLUTE_GATE)]
    if not len(heard):
        return -math.inf
    relative = _energy(_lufs(float(heard.mean())) + _RELATIVE_GATE)
    return _lufs(float(heard[heard > relative].mean()))


def _lufs(energy: float) -> float:
    return -0.691 + 10 * math.log10(energy) if energy > 0 else -math.inf


def _energy(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


@lru_cache
def _weighting(rate: int) -> NDArray[np.float64]:
    """(2, 6): the K-weighting, a high shelf and a high-pass, at any RATE.

    The analogue filters behind the table of coefficients that BS.1770 gives at 48 kHz, mapped bilinearly to RATE; at
    48 kHz they are those of the table.
    """
    frequency, gain, quality = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    k = math.tan(math.pi * min(frequency, 0.49 * rate) / rate)
    high = 10 ** (gain / 20)
    band = high**0.4996667741545416
    shelf = np.array([high + band * k / quality + k * k, 2 * (k * k - high), high - band * k / quality + k * k])
    shelf_poles = np.array([1 + k / quality + k * k, 2 * (k * k - 1), 1 - k / quality + k * k])
    frequency, quality = 38.13547087602444, 0.5003270373238773
    k = math.tan(math.pi * frequency / rate)
    poles = np.array([1 + k / quality + k * k, 2 * (k * k - 1), 1 - k / quality + k * k])
    return np.array(
        [
            [*(shelf / shelf_poles[0]), *(shelf_poles / shelf_poles[0])],
            [1.0, -2.0, 1.0, *(poles / poles[0])],
        ]
    )
