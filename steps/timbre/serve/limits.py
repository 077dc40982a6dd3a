"""How much a server takes, and from whom how often. Called by guard.py, decoding.py and server.py."""

import time
from collections import OrderedDict
from dataclasses import dataclass

_MOST_CLIENTS = 10_000  # that are remembered


@dataclass(frozen=True)
class Limits:
    """What is refused, in words, with an HTTP status.

    Args:
        body: bytes of a request
        in_flight: bytes of all requests that are being answered
        seconds: of a recording to verify, identify or enrol with
        long_seconds: of a recording to diarize
        rate: requests a second and client, in the long run
        burst: requests of a client at once
        connections: of an address at the same time
        head_time: seconds in which a connection must have sent the head of a request
        upload_time: seconds in which the rest of it must have arrived
        read_time: seconds in which some of an answer must have been taken
        answer_time: seconds in which an answer must be found
        decode_time: seconds in which a recording must be decoded
        sessions: live captions at the same time
        idle: seconds without audio after which live captions end
    """

    body: int = 64 << 20
    in_flight: int = 512 << 20
    seconds: float = 600.0
    long_seconds: float = 3600.0
    rate: float = 30.0
    burst: int = 300
    connections: int = 200
    head_time: float = 10.0
    upload_time: float = 60.0
    read_time: float = 30.0
    answer_time: float = 300.0
    decode_time: float = 20.0
    sessions: int = 16
    idle: float = 30.0


class Buckets:
    """A bucket of requests for each client, which fills up again with time (token bucket)."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate, self._burst = rate, burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> requests left, at what time

    def take(self, client: str, now: float | None = None) -> float:
        """0 where CLIENT may ask; else the seconds after which it may."""
        now = time.monotonic() if now is None else now
        left, before = self._left.pop(client, (float(self._burst), now))
        left = min(self._burst, left + (now - before) * self._rate)
        may = left >= 1
        self._left[client] = (left - 1 if may else left), now
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if may else (1 - left) / self._rate
