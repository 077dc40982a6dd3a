"""Raw connections to the server: letters that trickle (slowloris), silence, too many, nobody who reads."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.runtime.hum_voice import HumGalleryFile, HumVoice, serving
from timbre.serve.limits import Limits

WAIT = 0.5  # seconds that the server gives
SOON = 10 * WAIT
HEAD = b"GET /api/info HTTP/1.1\r\nHost: localhost\r\n"
LARGE = 8 << 20  # bytes of an answer that no buffer holds


class _LargeGallery(HumGalleryFile):
    def export(self, path: Path) -> None:
        path.write_bytes(bytes(LARGE))


class _LargeVoice(HumVoice):
    def gallery(self, path: str) -> HumGalleryFile:
        return _LargeGallery(self)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    limits = Limits(head_time=WAIT, upload_time=WAIT, read_time=WAIT, connections=60, in_flight=1 << 20)
    with serving(limits, voice=_LargeVoice()) as found:
        yield found


def connect(address: str) -> socket.socket:
    place = urlsplit(address)
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect((place.hostname, place.port))
    return connection


def trickled(connection: socket.socket, letters: bytes, pause: float = 0.05) -> tuple[bytes, float]:
    """What the server says to LETTERS, one at a time, until it ends the connection; after so many seconds."""
    began = time.monotonic()
    connection.settimeout(pause)
    said = b""
    for place in range(round(20 / pause)):
        try:
            if place < len(letters):
                connection.sendall(letters[place : place + 1])
            if not (block := connection.recv(65536)):
                break
            said += block
        except TimeoutError:
            continue
        except ConnectionError:
            break
    return said, time.monotonic() - began


def whole(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("letters", [HEAD + b"X-Never: " + b"x" * 400, b"", b"GET"], ids=["head", "nothing", "begun"])
def test_a_head_that_trickles_or_does_not_come_is_given_up(address: str, letters: bytes) -> None:
    with connect(address) as connection:
        said, seconds = trickled(connection, letters)
    assert said.startswith(b"HTTP/1.1 408 ") and b"did not begin within 0.5 s" in said and seconds < SOON


def test_so_is_the_head_of_a_second_request(address: str) -> None:
    with connect(address) as connection:
        connection.sendall(HEAD + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        said, seconds = trickled(connection, HEAD * 10)
    assert b"HTTP/1.1" not in said and seconds < SOON


@pytest.mark.parametrize(
    ("headers", "status"), [(b"", 408), (b"Origin: https://evil.example\r\n", 403)], ids=["wanted", "refused"]
)
def test_so_is_a_body(address: str, headers: bytes, status: int) -> None:
    with connect(address) as connection:
        connection.sendall(b"POST /api/verify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n" + headers)
        connection.sendall(b"\r\n")
        said, seconds = trickled(connection, bytes(400))
    assert said.startswith(f"HTTP/1.1 {status} ".encode()) and seconds < SOON


def test_a_request_within_the_time_is_answered_however_it_is_cut(address: str) -> None:
    with connect(address) as connection:
        for _ in range(3):  # each has its own time
            for letter in HEAD + b"\r\n":
                connection.sendall(bytes([letter]))
                time.sleep(0.3 * WAIT / len(HEAD))
            answer = HTTPResponse(connection)
            answer.begin()
            assert answer.status == 200 and answer.read().startswith(b"{")
            time.sleep(0.4 * WAIT)


def test_others_are_answered_while_many_trickle(address: str) -> None:
    announced = b"POST /api/verify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    slow = [connect(address) for _ in range(50)]
    for place, connection in enumerate(slow):
        connection.sendall(announced if place % 2 else HEAD)
    began = time.monotonic()
    reply = httpx.post(f"{address}/api/people/remove", json={"name": "nobody"})
    assert reply.status_code == 422, "what is announced by others and does not come takes no room"
    assert time.monotonic() - began < WAIT
    for connection in slow:
        assert b"HTTP/1.1 408" in whole(connection)
        connection.close()


def test_an_address_has_so_many_connections(address: str) -> None:
    began = time.monotonic()
    held = [connect(address) for _ in range(60)]
    with connect(address) as one_more:
        said = whole(one_more)
    assert said.startswith(b"HTTP/1.1 503 ") and b"more than 60 connections" in said
    assert time.monotonic() - began < WAIT, "at once"
    for connection in held:
        connection.close()
    assert eventually(lambda: httpx.get(f"{address}/api/info").status_code == 200)


def test_who_does_not_read_is_cut_off(address: str) -> None:
    with connect(address) as connection:
        connection.sendall(b"GET /api/people/export HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(6 * WAIT)
        with suppress(ConnectionError):
            assert len(whole(connection)) < LARGE, "what was on its way, and no more"
    assert len(httpx.get(f"{address}/api/people/export").content) == LARGE


def eventually(call: Callable[[], bool]) -> bool:
    for _ in range(50):
        if call():
            return True
        time.sleep(0.05)
    return False
