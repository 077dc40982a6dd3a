"""Who may ask the server of the page: names that lead to it, pages of others, tokens, requests that trickle."""

import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.runtime.hum_voice import serving
from timbre.serve import guard
from timbre.serve.guard import host_of, hosts_for, is_loopback
from timbre.serve.limits import Limits

TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture(scope="module")
def here() -> Iterator[httpx.Client]:
    """A server for this machine alone."""
    with serving(Limits(upload_time=1.0)) as address, httpx.Client(base_url=address) as client:
        yield client


@pytest.fixture(scope="module")
def there() -> Iterator[httpx.Client]:
    """One for others too."""
    with serving(host="192.0.2.7", token=TOKEN) as address, httpx.Client(base_url=address) as client:
        yield client


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:80", "", "192.0.2.7", "[::1", "@"]
)
def test_other_names_that_lead_here_are_refused(here: httpx.Client, host: str) -> None:
    """DNS rebinding: a page of evil.example whose name now has our address."""
    for path in ("/", "/api/info"):
        reply = here.get(path, headers={"host": host})
        assert reply.status_code == 421 and list(reply.json()) == ["error"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8460", "LOCALHOST", "[::1]:80"])
def test_own_names_are_answered(here: httpx.Client, host: str) -> None:
    assert here.get("/api/info", headers={"host": host}).json()["name"] == "humming"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_pages_of_others_change_nothing(here: httpx.Client, headers: dict[str, str]) -> None:
    """CSRF: a form or a script of another site's page."""
    for method, path in (("POST", "/api/people/remove"), ("POST", "/api/verify"), ("DELETE", "/api/listen/x")):
        reply = here.request(method, path, headers={**headers, "content-length": "0"})
        assert reply.status_code == 403 and "another site" in reply.json()["error"]


def test_its_own_page_may(here: httpx.Client) -> None:
    own = {"origin": str(here.base_url).rstrip("/"), "sec-fetch-site": "same-origin"}
    assert here.post("/api/people/remove", json={"name": "x"}, headers=own).status_code == 422  # nobody of that name


def test_what_comes_may_not_be_framed_sniffed_or_stored(here: httpx.Client) -> None:
    headers = here.get("/").headers
    assert headers["x-frame-options"] == "DENY" and headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store" and headers["referrer-policy"] == "no-referrer"
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert "http" not in policy, "nothing from elsewhere"


def test_a_token_is_asked_for(there: httpx.Client) -> None:
    for given in ({}, {"authorization": "Bearer wrong"}, {"cookie": "timbre_token=wrong"}, {"authorization": TOKEN}):
        reply = there.get("/api/info", headers=given)
        assert reply.status_code == 401 and "link that was printed" in reply.json()["error"]
    assert there.get(f"/api/info?token={TOKEN}").status_code == 401, "a link to the page only"
    assert there.get("/?token=wrong").status_code == 401
    assert there.get("/api/info", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_link_becomes_a_cookie(there: httpx.Client) -> None:
    reply = there.get(f"/?token={TOKEN}")
    assert reply.status_code == 303 and reply.headers["location"] == "/"
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
    pair = {"cookie": cookie.partition(";")[0]}
    assert there.get("/", headers=pair).text.startswith("<!doctype html>")
    evil = there.post("/api/people/remove", json={"name": "x"}, headers={**pair, "origin": "https://evil.example"})
    assert evil.status_code == 403


def test_tokens_are_compared_in_constant_time(there: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(guard.hmac, "compare_digest", lambda one, other: compared.append((one, other)) or False)
    assert there.get("/api/info", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 401
    assert set(compared) == {(TOKEN.encode(), TOKEN.encode())}


def test_with_a_token_any_address_of_ours_will_do_but_no_name(there: httpx.Client) -> None:
    bearer = {"authorization": f"Bearer {TOKEN}"}
    for host, status in (("192.0.2.7:8460", 200), ("10.0.0.3", 200), ("evil.example", 421)):
        assert there.get("/api/info", headers={**bearer, "host": host}).status_code == status


def test_a_request_that_trickles_is_given_up(here: httpx.Client) -> None:
    with socket.create_connection((here.base_url.host, here.base_url.port or 0)) as connection:
        began = time.monotonic()
        connection.sendall(b"POST /api/verify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
        reply = connection.recv(4096)
    assert reply.startswith(b"HTTP/1.1 408") and time.monotonic() - began < 5


@pytest.mark.parametrize(
    "lines",
    [
        b"Host: localhost\r\nHost: evil.example\r\n",
        b"Host: localhost\r\nContent-Length: 3\r\nContent-Length: 4\r\n",
        b"Host: localhost\r\nContent-Length: -1\r\n",
        b"Host: localhost\r\nContent-Length: 99999999999999999\r\n",
    ],
)
def test_headers_that_lie_are_refused(here: httpx.Client, lines: bytes) -> None:
    with socket.create_connection((here.base_url.host, here.base_url.port or 0)) as connection:
        connection.sendall(b"POST /api/verify HTTP/1.1\r\n" + lines + b"\r\nabc")
        assert connection.recv(4096).startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))


def test_names_and_addresses() -> None:
    assert [host_of(one) for one in ("A:80", "[::1]:80", "a", "[", "")] == ["a", "::1", "a", "", ""]
    assert is_loopback("localhost") and is_loopback("::1") and not is_loopback("0.0.0.0")
    assert hosts_for("127.0.0.1") == hosts_for("localhost") and "192.0.2.7" in hosts_for("192.0.2.7")
