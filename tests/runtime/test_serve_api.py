"""The server of the page by its API: answers, bad input, limits, workers that die, who may ask."""

import io
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
import soundfile

from tests.runtime.hum_voice import HumVoice, serving
from tests.runtime.made_people import RATE, conversation, hum
from timbre.serve.decoding import Decoders
from timbre.serve.guard import Refused
from timbre.serve.limits import Buckets, Limits


def sound(wave: np.ndarray, rate: int = RATE, kind: str = "WAV", subtype: str = "PCM_16") -> bytes:  # type: ignore[type-arg]
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=kind, subtype=subtype)
    return file.getvalue()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(Limits(seconds=60, long_seconds=120, body=8 << 20, decode_time=10)) as found:
        yield found


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as found:
        yield found


A, B = sound(hum(0, 3, 1)), sound(hum(1, 3, 2))


def verify(client: httpx.Client, first: bytes, second: bytes, **fields: str) -> httpx.Response:
    files = {"enroll": ("a.wav", first), "test": ("b.wav", second)}
    return client.post("/api/verify", files=files, data=fields)


def test_verdicts(client: httpx.Client) -> None:
    same = verify(client, A, sound(hum(0, 3, 5), kind="FLAC")).json()
    other = verify(client, A, B).json()
    assert same["same"] is True and same["probability"] > 0.9
    assert other["same"] is False and other["seconds"] == [3.0, 3.0]
    short = verify(client, A, sound(hum(0, 0.5)), prior="0.1").json()
    assert short["same"] is None and "only 0.50 s" in short["reason"] and short["prior"] == 0.1


def test_people_come_and_go(client: httpx.Client) -> None:
    for name, person in (("Ann", 0), ("Bøb 名", 1)):
        files = [("clip", ("1.wav", sound(hum(person, 3, 7)))), ("clip", ("2.wav", sound(hum(person, 3, 8))))]
        assert client.post("/api/people/enroll", files=files, data={"name": name}).json()["recordings"] == 2
    listed = client.get("/api/people").json()["people"]
    assert listed == [{"name": "Ann", "recordings": 2}, {"name": "Bøb 名", "recordings": 2}]
    found = client.post("/api/identify", files={"clip": ("x.wav", sound(hum(1, 3, 9)))}).json()
    assert found["name"] == "Bøb 名"
    assert client.post("/api/identify", files={"clip": ("x.wav", sound(hum(5, 3, 9)))}).json()["name"] is None
    assert client.post("/api/people/rename", json={"name": "Bøb 名", "new": "Bob"}).status_code == 200
    export = client.get("/api/people/export")
    assert export.content == b"Ann\nBob" and "attachment" in export.headers["content-disposition"]
    assert client.post("/api/people/remove", json={"name": "Nobody"}).status_code == 422
    for name in ("Ann", "Bob"):
        assert client.post("/api/people/remove", json={"name": name}).status_code == 200
    assert client.get("/api/people").json() == {"people": []}


def test_diarize_and_listen_agree(client: httpx.Client) -> None:
    client.post("/api/people/enroll", files={"clip": ("1.wav", sound(hum(0, 4, 7)))}, data={"name": "Ann"})
    wave, _ = conversation([(0, 4.0), (2, 4.0), (0, 3.0)])
    turns = client.post("/api/diarize", files={"clip": ("m.flac", sound(wave, kind="FLAC"))}).json()["turns"]
    assert [turn["name"] for turn in turns] == ["Ann", "unknown 1", "Ann"]
    name = client.post("/api/listen", json={"rate": RATE, "latency": 1}).json()["id"]
    said = {}
    integers = np.round(wave * 32767).astype("<i2")
    for start in range(0, len(integers), 4000):
        reply = client.post(f"/api/listen/{name}", content=integers[start : start + 4000].tobytes())
        said |= {turn["number"]: turn for turn in reply.json()["turns"]}
    said |= {turn["number"]: turn for turn in client.request("DELETE", f"/api/listen/{name}").json()["turns"]}
    assert [turn["name"] for turn in said.values()] == ["Ann", "unknown 1", "Ann"]
    assert not any(turn["going_on"] for turn in said.values())
    assert client.post(f"/api/listen/{name}", content=b"").status_code == 404
    client.post("/api/people/remove", json={"name": "Ann"})


LONG = sound(np.zeros(200 * 8000), 8000, "FLAC")  # 200 s in a few kB
BAD = {
    "0 bytes": (b"", "the file is empty"),
    "0 samples": (sound(np.zeros(0)), "0 samples"),
    "too long": (LONG, "200 s long; at most 60 s"),
    "3 hours in a zip-like file": (sound(np.zeros(3 * 3600 * 1000), 1000, "FLAC"), "10800 s long"),
    "6 channels": (sound(np.zeros((RATE, 6))), "6 channels; one is wanted"),
    "NaN": (sound(np.full(RATE, np.nan), subtype="FLOAT"), "not finite numbers"),
    "garbage": (np.random.default_rng(0).bytes(5000), "not an audio file that can be read"),
    "a zip bomb": (b"PK\x03\x04" + bytes(100_000), "not an audio file that can be read"),
    "cut off": (A[:30], "not an audio file that can be read"),
    "5 Hz": (A[:24] + (5).to_bytes(4, "little") + A[28:], "sample rate of 5 Hz"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_recordings_are_one_line(client: httpx.Client, name: str) -> None:
    data, message = BAD[name]
    reply = verify(client, A, data)
    assert reply.status_code == 422
    error = reply.json()["error"]
    assert message in error and error.startswith("b.wav: ") and "\n" not in error


def test_8_bits_and_a_header_that_lies_are_read_as_far_as_they_go(client: httpx.Client) -> None:
    eight = sound(hum(0, 3, 5), subtype="PCM_U8")
    assert verify(client, eight, eight).json()["same"] is True
    lies = A[:40] + (2**31 - 1).to_bytes(4, "little") + A[44:]  # 37 hours, of which 3 s are there
    assert verify(client, A, lies).status_code in (200, 422)


@pytest.mark.parametrize(
    ("path", "kind", "body", "status"),
    [
        ("verify", "text/plain", b"hello", 415),
        ("verify", "multipart/form-data; boundary=x", b"--x\r\nnothing", 400),
        ("verify", "multipart/form-data; boundary=x", b"--x--\r\n", 400),
        ("verify", "multipart/form-data; boundary=x", b"\r\n--x\r\n\r\n\r\n" * 100 + b"--x--", 400),
        ("people/rename", "application/json", b"[", 400),
        ("people/rename", "application/json", b"[" * 100_000, 400),
        ("people/rename", "application/json", b'["a"]', 400),
        ("people/rename", "application/json", b'{"name": "a", "new": "\\u0000"}', 400),
        ("people/rename", "application/json", json.dumps({"name": "a", "new": "x" * 10**6}).encode(), 400),
        ("people/rename", "text/plain", b"{}", 415),
        ("listen", "application/json", b'{"rate": 3}', 422),
        ("listen", "application/json", b'{"rate": "a"}', 400),
        ("listen", "application/json", b'{"latency": 60}', 422),
        ("listen/none", "application/octet-stream", b"12", 404),
    ],
)
def test_bad_requests_are_one_line(client: httpx.Client, path: str, kind: str, body: bytes, status: int) -> None:
    reply = client.post(f"/api/{path}", content=body, headers={"content-type": kind})
    assert reply.status_code == status and "\n" not in reply.json()["error"]


def test_huge_names(client: httpx.Client) -> None:
    files = {"clip": ("x" * 5000 + ".wav", A)}
    assert client.post("/api/identify", files=files).status_code == 400
    reply = client.post("/api/people/enroll", files={"clip": ("a.wav", A)}, data={"name": "x" * 101})
    assert reply.status_code == 400 and "1 to 100 characters" in reply.json()["error"]
    assert verify(client, A, B, prior="7").status_code == verify(client, A, B, prior="x").status_code == 400


def test_bodies_have_a_limit_and_a_length(client: httpx.Client) -> None:
    reply = client.post("/api/verify", content=bytes(9 << 20))
    assert reply.status_code == 413 and "at most 8 MB" in reply.json()["error"]
    assert client.post("/api/verify", content=iter([b"a", b"b"])).status_code == 411  # chunked


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/api/../x", "/page.js", "//etc"])
def test_there_are_no_files_to_traverse(address: str, path: str) -> None:
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port or 0)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode())
        reply = b"".join(iter(lambda: connection.recv(4096), b""))
    assert reply.startswith(b"HTTP/1.1 404") and b"root:" not in reply


def test_many_verifications_at_once(address: str) -> None:
    with httpx.Client(base_url=address, timeout=120, limits=httpx.Limits(max_connections=100)) as client:

        def one(number: int) -> bool:
            return bool(verify(client, A, A if number % 2 else B).json()["same"]) == bool(number % 2)

        with ThreadPoolExecutor(100) as pool:
            assert all(pool.map(one, range(100)))


def test_too_many_requests_are_told_to_wait() -> None:
    buckets = Buckets(10, 3)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a", 0.0) == pytest.approx(0.1) and buckets.take("b", 0.0) == 0
    assert buckets.take("a", 0.11) == 0
    with serving(Limits(rate=1, burst=2)) as address, httpx.Client(base_url=address) as client:
        replies = [client.get("/api/info") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429] and "retry-after" in replies[-1].headers


def test_a_decoder_that_is_killed_or_hangs_is_replaced() -> None:
    decoders = Decoders(1, 3.0)
    try:
        assert len(decoders.decode("a", A, 60)[0]) == 3 * RATE
        worker = decoders._free.queue[0]
        assert worker is not None
        os.kill(worker.process.pid or 0, signal.SIGKILL)
        with pytest.raises(Refused, match="a: not an audio file that can be decoded"):
            decoders.decode("a", A, 60)
        assert len(decoders.decode("a", A, 60)[0]) == 3 * RATE
        worker = decoders._free.queue[0]
        assert worker is not None
        os.kill(worker.process.pid or 0, signal.SIGSTOP)
        with pytest.raises(Refused, match="not decoded within 3 s"):
            decoders.decode("a", A, 60)
        assert len(decoders.decode("a", A, 60)[0]) == 3 * RATE
    finally:
        decoders.close()


def test_live_captions_have_a_limit_and_an_end() -> None:
    with serving(Limits(sessions=2, idle=0.5)) as address, httpx.Client(base_url=address) as client:
        opened = [client.post("/api/listen", json={}).status_code for _ in range(3)]
        assert opened == [200, 200, 503]
        time.sleep(0.6)
        assert client.post("/api/listen", json={}).status_code == 200


def test_without_gallery_nobody_is_enrolled() -> None:
    with serving(gallery=None) as address, httpx.Client(base_url=address) as client:
        reply = client.post("/api/people/enroll", files={"clip": ("a.wav", A)}, data={"name": "Ann"})
        assert reply.status_code == 409 and "--gallery" in reply.json()["error"]
        assert client.get("/api/people").json() == {"people": []}


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    class Slow(HumVoice):
        def verify(self, *_: object, **__: object) -> None:  # type: ignore[override]
            time.sleep(1)

    with serving(Limits(answer_time=0.3), voice=Slow()) as address, httpx.Client(base_url=address) as client:
        reply = verify(client, A, B)
        assert reply.status_code == 503 and "in time" in reply.json()["error"]
