"""What a line does to speech that no filter does: clipping, automatic gain, and packets that never arrive."""

import math

import numpy as np

from timbre.audio.effects.base import Effect, Rng, note
from timbre.runtime.sound import Samples
from timbre.utils.errors import DataError


class Clip(Effect):
    """Overdriven: what is louder than a drawn threshold is cut off, hard or softly. Silence stays as it is.

    Args:
        low: threshold below the highest peak in dB, at least
        high: at most
        soft: whether the samples are bent towards the threshold (hyperbolic tangent) instead of cut
    """

    def __init__(self, low: float = 1.0, high: float = 12.0, soft: bool = False) -> None:
        if not 0 <= low <= high <= 60:
            raise DataError(f"Clip: 0 <= low <= high <= 60 dB is wanted, not {low:g} and {high:g}")
        self._low, self._high, self._soft = low, high, soft

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """See the class."""
        depth = float(rng.uniform(self._low, self._high))
        note(rng, clip=depth)
        limit = np.float32(np.abs(samples).max() * 10 ** (-depth / 20))
        if not limit > 0:
            return samples
        return np.tanh(samples / limit) * limit if self._soft else np.clip(samples, -limit, limit)


class AutomaticGain(Effect):
    """A gain that follows the level of speech, quickly down and slowly up, as telephones and recorders have it.

    Args:
        low: share of a level's distance from the target that is taken away, at least: 0 is none of it, 1 all
        high: at most
        target: level in dB relative to full scale that it steers for
        attack: time constant in seconds in which the gain falls
        release: in which it rises
        max_gain: highest gain in dB
    """

    def __init__(
        self,
        low: float = 0.3,
        high: float = 1.0,
        target: float = -23.0,
        attack: float = 0.02,
        release: float = 0.5,
        max_gain: float = 30.0,
    ) -> None:
        if not 0 <= low <= high <= 1 or not -60 <= target <= 0 or not 0 <= max_gain <= 60:
            text = "0 <= low <= high <= 1, target from -60 to 0 dB and max_gain from 0 to 60 dB are wanted"
            raise DataError(f"AutomaticGain: {text}, not {low:g}, {high:g}, {target:g} and {max_gain:g}")
        if not (attack > 0 and release > 0):
            raise DataError(f"AutomaticGain: attack and release are {attack:g} and {release:g} s; they must be above 0")
        self._low, self._high, self._target = low, high, target
        self._attack, self._release, self._max = attack, release, max_gain

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """See the class."""
        strength = float(rng.uniform(self._low, self._high))
        note(rng, agc=strength)
        hop = max(rate // 100, 1)
        blocks = np.pad(samples, (0, -len(samples) % hop)).reshape(-1, hop)
        levels = 10 * np.log10(np.mean(np.square(blocks, dtype=np.float64), axis=1) + 1e-10)
        wanted = np.minimum(strength * (self._target - levels), self._max)
        down, up = (math.exp(-hop / rate / constant) for constant in (self._attack, self._release))
        gains, gain = np.empty(len(wanted)), float(wanted[0])
        for place, goal in enumerate(wanted.tolist()):
            keep = down if goal < gain else up
            gain = keep * gain + (1 - keep) * goal
            gains[place] = gain
        decibel = np.interp(np.arange(len(samples)), (np.arange(len(gains)) + 0.5) * hop, gains)
        return (samples * 10 ** (decibel / 20)).astype(np.float32)


class PacketLoss(Effect):
    """Packets that are lost one by one or several in a row; the last one that came is repeated in their place, softer.

    Losses follow Gilbert's two states (1960). The third repetition and those after it are silence.

    Args:
        low: share of the packets that is lost, at least; 0 to 0.5
        high: at most
        burst: packets lost in a row, on average
        seconds: length of a packet
    """

    def __init__(self, low: float = 0.0, high: float = 0.1, burst: float = 1.5, seconds: float = 0.02) -> None:
        if not 0 <= low <= high <= 0.5 or not burst >= 1 or not 0.001 <= seconds <= 1:
            text = "0 <= low <= high <= 0.5, burst of 1 or more and packets of 0.001 to 1 s are wanted"
            raise DataError(f"PacketLoss: {text}, not {low:g}, {high:g}, {burst:g} and {seconds:g}")
        self._low, self._high, self._burst, self._seconds = low, high, burst, seconds

    def __call__(self, samples: Samples, rate: int, rng: Rng, speaker: str = "") -> Samples:
        """See the class."""
        size = max(round(self._seconds * rate), 1)
        share = float(rng.uniform(self._low, self._high))
        lost = self._lost(share, -(-len(samples) // size), rng)
        note(rng, loss=100 * float(lost.mean()))
        packets = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size).copy()
        in_row = 0
        for place in range(len(packets)):
            in_row = in_row + 1 if lost[place] else 0
            if in_row:
                packets[place] = packets[place - 1] * np.float32(0.5) if in_row < 3 and place else 0
        return packets.reshape(-1)[: len(samples)]

    def _lost(self, share: float, count: int, rng: Rng) -> np.ndarray:
        """(count,) bool: begins in the state that SHARE says, and goes from state to state."""
        back = 1 / self._burst
        away = share * back / (1 - share)
        drawn = rng.random(count)
        lost, state = np.empty(count, bool), bool(rng.random() < share)
        for place in range(count):
            lost[place] = state
            state = bool(drawn[place] >= back) if state else bool(drawn[place] < away)
        return lost
