"""How a stream is listened to: what may be set, and what follows of it. For stream.py, its callers and tests."""

from dataclasses import dataclass

from timbre.utils.errors import DataError

_LATE = 0.25  # seconds that the VAD, and blocks of 0.1 s, may be late


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is listened to.

    Args:
        latency: seconds after which it is said who began to speak, and who ended; 1 to 3
        window: seconds of speech that an embedding is of
        hop: seconds from one window to the next
        max_gap: pauses up to this length, in seconds, do not end a turn
        change: probability that somebody else goes on, from one window to the next
        most_strangers: that are remembered; beyond it who was heard least lately is forgotten
        history: turns that may still be corrected
        past: windows, of 3 s every 0.75 s, that are clustered again at the end of a turn
    """

    latency: float = 2.0
    window: float = 1.5
    hop: float = 0.25
    max_gap: float = 0.5
    change: float = 0.05
    most_strangers: int = 30
    history: int = 500
    past: int = 600

    def __post_init__(self) -> None:
        if not 1 <= self.latency <= 3:
            raise DataError(f"a latency of {self.latency:g} s; it must be between 1 and 3")
        if not 0.05 <= self.hop <= 0.3 or not 0.6 <= self.window <= 3:
            raise DataError(
                f"windows of {self.window:g} s every {self.hop:g} s; 0.6 to 3 s, every 0.05 to 0.3 s, is wanted"
            )
        if not 0 < self.change < 1 or self.max_gap < 0 or self.most_strangers < 2:
            raise DataError("stream: 0 < change < 1, max_gap >= 0 and most_strangers >= 2 are wanted")
        if self.history < 1 or self.past < 1:
            raise DataError("stream: history >= 1 and past >= 1 are wanted")

    @property
    def ahead(self) -> float:
        """Seconds of speech after the time that a window stands for which are in it: half of it, if there is time."""
        return min(self.window / 2, self.latency - _LATE - self.hop)

    @property
    def lag(self) -> int:
        """Windows that are heard before it is decided on one."""
        return int((self.latency - self.ahead - _LATE - self.hop) / self.hop + 1e-6)
