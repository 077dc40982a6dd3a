"""Reverberation with measured or simulated impulse responses."""

import math
from dataclasses import dataclass

import numpy as np

from timbre.audio.effects.base import Drawn, NotedRng, Rng, note, power
from timbre.audio.effects.pending import Operation, Parts
from timbre.audio.effects.sources import Sources
from timbre.runtime.sound import Samples
from timbre.utils.errors import DataError

_DIRECT = 0.5  # of the highest peak
_LONGEST = 10.0  # seconds; what is longer is no impulse response


@dataclass(frozen=True)
class Room(Operation):
    """Convolution with an impulse response, as `reverberate`."""

    response: Samples
    keep_power: bool

    def on(self, samples: Samples) -> Samples:
        """See Operation."""
        return reverberate(samples, self.response, self.keep_power)

    def parts(self, num_samples: int) -> Parts:
        """See Operation."""
        return Parts("convolve", _unit(self.response), self.keep_power, direct_path(self.response))


class Reverberate(Drawn):
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

    def draw(self, num_samples: int, rate: int, rng: Rng, speaker: str) -> Operation:
        """See the class."""
        response, room = self._pool.whole(rng, rate, _LONGEST)
        if isinstance(rng, NotedRng):
            note(rng, room="_".join(room.split()), rt60=reverberation_time(response, rate))
        return Room(response, self._keep_power)


def reverberate(samples: Samples, response: Samples, keep_power: bool = True) -> Samples:
    """SAMPLES (num_samples,) in the room with the impulse RESPONSE (num_taps,), at the same rate; see Reverberate.

    Raises:
        DataError: the response is all zero
    """
    from scipy.signal import oaconvolve  # slow to import

    convolved = oaconvolve(samples, _unit(response)).astype(np.float32, copy=False)
    direct = direct_path(response)
    result: Samples = convolved[direct : direct + len(samples)]
    after = power(convolved)
    if keep_power and after > 0:
        return result * np.float32(math.sqrt(power(samples) / after))
    return result


def _unit(response: Samples) -> Samples:
    """RESPONSE with an energy of one."""
    energy = math.sqrt(power(response) * len(response))
    if energy == 0:
        raise DataError("an impulse response is all zero")
    return response / np.float32(energy)


def direct_path(response: Samples) -> int:
    """Where the direct path of an impulse RESPONSE (num_taps,) is: the first peak that is half as high as the highest.

    Kaldi takes the highest; where echoes of two walls coincide, that can be an echo.
    """
    height = np.abs(response)
    first = int(np.argmax(height >= _DIRECT * height.max()))
    while first + 1 < len(height) and height[first + 1] > height[first]:
        first += 1
    return first


def reverberation_time(response: Samples, rate: int) -> float:
    """RT60 in seconds of an impulse RESPONSE (num_taps,), from its decay between -5 and -25 dB.

    Schroeder's backward integration (1965), and a straight line. 0: it does not decay so far.
    """
    left = np.cumsum(np.square(response, dtype=np.float64)[::-1])[::-1]
    decibel = 10 * np.log10(np.maximum(left / left[0], 1e-12))
    part = np.flatnonzero((decibel <= -5) & (decibel >= -25))
    if len(part) < 2 or decibel[-1] > -25:
        return 0.0
    slope = np.polyfit(part / rate, decibel[part], 1)[0]
    return float(-60 / slope) if slope < 0 else 0.0
