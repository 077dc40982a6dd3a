"""Connections that a server keeps: how many of an address, and how long one may take to send and to read.

Whoever sends a request letter by letter (slowloris), asks for nothing, or does not read the answer, is cut off. The
bodies of requests are guard.py's. Called by serve_page.py.
"""

import asyncio
import json
from collections import Counter
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from timbre.serve.limits import Limits

_MOST = 1000  # connections of all addresses


def configured(app: Any, host: str, port: int, limits: Limits) -> uvicorn.Config:
    """How uvicorn serves APP on HOST and PORT."""
    return uvicorn.Config(
        app,
        host,
        port,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        http=_limited(limits),
        timeout_keep_alive=10,
        timeout_graceful_shutdown=5,
        limit_concurrency=_MOST,
        h11_max_incomplete_event_size=16384,
    )


def _limited(limits: Limits) -> type[asyncio.Protocol]:
    """The protocol of connections within LIMITS."""
    open_of: Counter[str] = Counter()  # address -> connections

    class Connection(H11Protocol):
        """uvicorn's, with two clocks: until the head of a request is there, and while what is sent is not taken."""

        _waiting: asyncio.TimerHandle | None = None
        _stuck: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            open_of[self._address] += 1
            if open_of[self._address] > limits.connections:
                self._end(HTTPStatus.SERVICE_UNAVAILABLE, f"more than {limits.connections} connections")
            else:
                self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.transport.is_closing():  # once what is left has been sent
                self._abort_later()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._abort_later()

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._stuck is not None and not self.transport.is_closing():
                self._stuck.cancel()
                self._stuck = None

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            open_of[self._address] -= 1
            if not open_of[self._address]:
                del open_of[self._address]
            for clock in (self._waiting, self._stuck):
                if clock is not None:
                    clock.cancel()

        @property
        def _address(self) -> str:
            return self.client[0] if self.client else ""

        def _watch(self) -> None:
            """Nothing begins the time anew but a whole head."""
            if self.cycle is not None and not self.cycle.response_complete:
                if self._waiting is not None:
                    self._waiting.cancel()
                    self._waiting = None
            elif self._waiting is None and not self.transport.is_closing():
                text = f"the request did not begin within {limits.head_time:g} s"
                status = HTTPStatus.REQUEST_TIMEOUT
                self._waiting = self.loop.call_later(limits.head_time, lambda: self._end(status, text))

        def _end(self, status: HTTPStatus, text: str) -> None:
            """Closes it; says why where nothing has been said before."""
            if self.transport.is_closing():
                return
            if self.cycle is None:
                body = json.dumps({"error": text}).encode()
                head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
                head += f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                self.transport.write(head.encode() + body)
            self.transport.close()
            self._abort_later()

        def _abort_later(self) -> None:
            if self._stuck is None:
                self._stuck = self.loop.call_later(limits.read_time, self.transport.abort)

    return Connection
