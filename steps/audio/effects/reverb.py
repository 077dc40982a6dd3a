"""Reverberation with measured or simulated impulse responses."""

import math

import numpy as np

from steps.audio.effects.base import Effect, Rng, power
from steps.audio.effects.sources import Sources
from steps.audio.reading import Samples
from steps.utils.errors import DataError

_DIRECT = 0.5  # of the highest peak
_LONGEST = 10.0  # seconds; what is longer is no impulse response


class Reverberate(Effect):
    """A random room, as Kaldi's wav-reverberate with --shift-output.

    The response is scaled to unit energy; what comes before its direct path is cut off the result, so that speech keeps
    its time, and what comes after the end of the utterance, so that it keeps its length.

    Args:
        sources: where the responses come from ("rir"); of several channels the first is taken
        keep_power: scale the result by sqrt(power before / power of the whole convolution), as Kaldi does by default
            (--normalize-output); else the unit energy of the response alone keeps the level near
    """

    def __init__(self, sources: Sources, keep_power: bool = True) -> None:
        self._pool = sources.pool("rir")
        self._keep_power = keep_power

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """See the class."""
        return reverberate(samples, self._pool.whole(rng, rate, _LONGEST), self._keep_power)


def reverberate(samples: Samples, response: Samples, keep_power: bool = True) -> Samples:
    """SAMPLES (num_samples,) in the room with the impulse RESPONSE (num_taps,), at the same rate; see Reverberate.

    Raises:
        DataError: the response is all zero
    """
    from scipy.signal import oaconvolve  # slow to import

    energy = math.sqrt(power(response) * len(response))
    if energy == 0:
        raise DataError("an impulse response is all zero")
    convolved = oaconvolve(samples, response / np.float32(energy)).astype(np.float32, copy=False)
    direct = direct_path(response)
    result: Samples = convolved[direct : direct + len(samples)]
    after = power(convolved)
    if keep_power and after > 0:
        return result * np.float32(math.sqrt(power(samples) / after))
    return result


def direct_path(response: Samples) -> int:
    """Where the direct path of an impulse RESPONSE (num_taps,) is: the first peak that is half as high as the highest.

    Kaldi takes the highest; where echoes of two walls coincide, that can be an echo.
    """
    height = np.abs(response)
    first = int(np.argmax(height >= _DIRECT * height.max()))
    while first + 1 < len(height) and height[first + 1] > height[first]:
        first += 1
    return first
