"""Live captions: streams that are open, by a random number, and forgotten when nothing comes. Called by server.py."""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from timbre.people.stream import Stream
from timbre.serve.guard import Refused
from timbre.serve.limits import Limits

_MOST = 10.0  # seconds of audio in one request


@dataclass
class _Session:
    stream: Stream
    heard: float  # when something came last
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Sessions:
    """Streams that a page feeds with blocks of 16-bit samples, one request after another."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._open: dict[str, _Session] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, make: Callable[[], Stream]) -> str:
        """A new stream; the name by which it is fed. Raises Refused where too many are open."""
        now = time.monotonic()
        for name in [name for name, one in self._open.items() if now - one.heard > self._limits.idle]:
            del self._open[name]
        if len(self._open) >= self._limits.sessions:
            raise Refused(503, f"{len(self._open)} live captions are open, which is the most there can be")
        name = secrets.token_urlsafe(16)
        self._open[name] = _Session(make(), now)
        return name

    async def feed(self, name: str, data: bytes, last: bool) -> dict[str, Any]:
        """The turns that there is something to say of after DATA, little-endian 16-bit samples; LAST: it ends."""
        session = self._open.get(name)
        if session is None:
            raise Refused(404, "these live captions have ended; begin again")
        if len(data) % 2 or len(data) > 2 * _MOST * session.stream.rate:
            raise Refused(400, f"16-bit samples are wanted, of at most {_MOST:g} s at a time")
        async with session.lock:
            session.heard = time.monotonic()
            if last:
                self._open.pop(name, None)
            turns = await asyncio.to_thread(_hear, session.stream, data, last)
            session.heard = time.monotonic()
        return {"seconds": round(session.stream.seconds, 2), "turns": [turn.as_dict() for turn in turns]}


def _hear(stream: Stream, data: bytes, last: bool) -> list[Any]:
    turns = stream.push(np.frombuffer(data, "<i2")) if data else []
    return turns + (stream.finish() if last else [])
