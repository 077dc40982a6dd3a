"""The least speech that a decision pack decides on; measured by shortest.py, told by pack_page.py."""

from collections.abc import Sequence
from dataclasses import dataclass

UNMEASURED = 2.0  # seconds: what was found on read speech of other speakers than the network's (README of steps)
WORSE = 1.5  # times the error of whole recordings that the shortest ones may have


@dataclass(frozen=True)
class CutError:
    """Trials whose test recording was cut to SECONDS of speech: their number, the mean of the rates of misses and false
    alarms at even odds, and that of the same trials with whole recordings.

    promised: where the calibration knows of the length, the error that the log-likelihood ratios of the cut trials
    themselves tell of; otherwise 0."""

    seconds: float
    trials: int
    error: float
    whole: float
    promised: float = 0.0

    @property
    def kept(self) -> bool:
        """Whether the pack still keeps what it promises, within a factor of WORSE; a hundredth more is no matter."""
        expected = max(self.whole, self.promised)
        return self.error <= max(WORSE * expected, expected + 0.01)


def shortest_kept(errors: Sequence[CutError]) -> float:
    """The least seconds from which on every length in ERRORS keeps the promise; the most there are where none does."""
    least = None
    for one in sorted(errors, key=lambda error: -error.seconds):
        if not one.kept:
            break
        least = one.seconds
    return max((one.seconds for one in errors), default=UNMEASURED) if least is None else least
