"""Who may ask: host, origin, token, rate, size and time of a request, before anything else sees it (ASGI).

The page is reached by the address that it was started for only, so that no other site can get at it by a name that
leads here (DNS rebinding), nor by a form or script of its own (CSRF).
"""

import asyncio
import hmac
import ipaddress
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from timbre.serve.limits import Buckets, Limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

COOKIE = "timbre_token"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
]
_TOO_MUCH = "too much is being uploaded at the moment; try again"


class Refused(Exception):
    """A request that is not answered, in one line."""

    def __init__(self, status: int, message: str, retry: float | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry = status, message, retry


@dataclass
class _Held:
    """Bytes of a request that are there."""

    size: int = 0


@dataclass
class Guard:
    """Asks APP where a request may pass. hosts: names by which it is reached; token: None on loopback only."""

    app: App
    hosts: frozenset[str]
    token: str | None
    limits: Limits
    _in_flight: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._buckets = Buckets(self.limits.rate, self.limits.burst)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return None  # no other kind is taken
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        held = _Held()
        try:
            headers = _headers(scope)
            self._check_host(headers)
            if wait := self._buckets.take(_client(scope)):
                raise Refused(429, "too many requests; try again in a moment", wait)
            if scope["method"] not in ("GET", "HEAD"):
                _check_origin(headers)
            if not self._has_token(headers):
                return await self._ask_for_token(scope, sending)
            body = await self._body(receive, self._size(scope, headers), held)
            await self.app(scope, _replay(body, receive), sending)
        except Refused as error:
            if not started:
                await refuse(sending, error)
        finally:
            self._in_flight -= held.size
        return None

    def _check_host(self, headers: dict[str, str]) -> None:
        host = host_of(headers.get("host", ""))
        if host not in self.hosts and not (self.token is not None and _is_address(host)):
            raise Refused(421, "this server is not reached by that name; --host tells which")

    def _has_token(self, headers: dict[str, str]) -> bool:
        if self.token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(given, self.token):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            return False
        return cookie is not None and _same(cookie.value, self.token)

    async def _ask_for_token(self, scope: Message, send: Send) -> None:
        """The link that was printed has the token, which becomes a cookie; all else is refused."""
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if scope["method"] != "GET" or scope["path"] != "/" or not _same(given, self.token or ""):
            raise Refused(401, "open the link that was printed when the server began, or send its token")
        cookie = f"{COOKIE}={self.token}; HttpOnly; SameSite=Strict; Path=/"
        headers = [(b"location", b"/"), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _size(self, scope: Message, headers: dict[str, str]) -> int:
        text = headers.get("content-length", "")
        if not text:
            if scope["method"] in ("GET", "HEAD", "DELETE") and "transfer-encoding" not in headers:
                return 0
            raise Refused(411, "the length of the request is wanted (Content-Length)")
        if not text.isdecimal() or len(text) > 15:
            raise Refused(400, "Content-Length is not a number")
        if (size := int(text)) > self.limits.body:
            raise Refused(413, f"{size / 2**20:.0f} MB; at most {self.limits.body / 2**20:.0f} MB are taken")
        if self._in_flight + size > self.limits.in_flight:
            raise Refused(503, _TOO_MUCH, 1.0)
        return size

    async def _body(self, receive: Receive, size: int, held: "_Held") -> bytes:
        """The body; what has come of it counts, not what is announced, so that who trickles is in nobody's way."""
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self.limits.upload_time):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(400, "the connection ended before the request")
                    parts.append(message.get("body", b""))
                    held.size += len(parts[-1])
                    self._in_flight += len(parts[-1])
                    if held.size > size:
                        raise Refused(413, "more came than Content-Length says")
                    if self._in_flight > self.limits.in_flight:
                        raise Refused(503, _TOO_MUCH, 1.0)
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            text = f"the request did not arrive within {self.limits.upload_time:g} s"
            raise Refused(408, text) from None


def host_of(value: str) -> str:
    """The name or address in a Host header, without its port, in lower case."""
    try:
        return (urlsplit(f"//{value}").hostname or "").lower()
    except ValueError:
        return ""


def hosts_for(host: str) -> frozenset[str]:
    """Names by which a server that listens on HOST is reached."""
    own = host.lower().strip("[]")
    return frozenset(_LOOPBACK if own in _LOOPBACK else (*_LOOPBACK, own))


def is_loopback(host: str) -> bool:
    """Whether HOST is reached from this machine only."""
    return host.lower().strip("[]") in _LOOPBACK


async def refuse(send: Send, error: Refused) -> None:
    """Answers with the status and one line of an error, as JSON."""
    body = json.dumps({"error": error.message}, ensure_ascii=False).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if error.retry is not None:
        headers.append((b"retry-after", str(max(1, round(error.retry))).encode()))
    if error.status in (408, 411, 413, 503):
        headers.append((b"connection", b"close"))  # what is left of the request is not read
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _check_origin(headers: dict[str, str]) -> None:
    """A browser says which page a request is of; another program says nothing."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        raise Refused(403, "the request is of another site's page")
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "the request is of another site's page")


def _headers(scope: Message) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = name.decode("latin-1").lower()
        if key in ("host", "origin", "content-length") and key in found:
            raise Refused(400, f"two headers {key}")
        found[key] = value.decode("latin-1")
    return found


def _client(scope: Message) -> str:
    return str((scope.get("client") or ("",))[0])


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("latin-1", "replace"), token.encode())


def _replay(body: bytes, receive: Receive) -> Receive:
    """What the application receives: the body, at once; then what comes."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
