"""Downloads from a server on this machine, which breaks off, knows no Range, sends too little, or something else."""

import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from corpus_tree import tar
from local.download import download
from timbre.corpora.openslr import CATALOGUE, Resource, fetch
from timbre.utils.errors import DataError

DATA = tar({"LibriSpeech/SPEAKERS.TXT": bytes(range(256)) * 2000})
MD5 = hashlib.md5(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves DATA as every file, with faults.

    Attributes:
        ranges: whether it knows Range
        stops: after how many bytes it breaks off, once for each number
        errors: statuses that it answers first, one for each request
        asked: the Range of every request ("" for none)
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.ranges, self.length = DATA, True, True
        self.stops: list[int] = []
        self.errors: list[int] = []
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range", "")
        server.asked.append(wanted)
        start = int(wanted[6:-1]) if wanted and server.ranges else 0
        if server.errors:
            self.send_error(server.errors.pop(0))
        elif start >= len(server.data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.data)}")
            self.end_headers()
        else:
            body = server.data[start:]
            self.send_response(206 if wanted and server.ranges else 200)
            if wanted and server.ranges:
                self.send_header("Content-Range", f"bytes {start}-{len(server.data) - 1}/{len(server.data)}")
            if server.length:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: server.stops.pop(0)] if server.stops else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def get(server: Server, path: Path, checksum: str | None = MD5, tries: int = 3) -> bytes:
    fetch(f"{server.url}/x.tgz", path, checksum, tries, wait=0)
    return path.read_bytes()


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    assert get(server, tmp_path / "new" / "x.tgz") == DATA
    assert get(server, tmp_path / "new" / "x.tgz") == DATA
    assert server.asked == [""]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["x.tgz"]


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.stops = [1000, 500]
    assert get(server, tmp_path / "x.tgz") == DATA
    assert server.asked == ["", "bytes=1000-", "bytes=1500-"]


def test_a_run_that_was_killed_goes_on_in_the_next(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.tgz.part").write_bytes(DATA[:2000])
    assert get(server, tmp_path / "x.tgz") == DATA
    assert server.asked == ["bytes=2000-"]
    (tmp_path / "y.tgz.part").write_bytes(DATA)  # killed just before the end
    assert get(server, tmp_path / "y.tgz") == DATA


def test_a_server_without_range_sends_it_all_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.stops = False, [1000]
    assert get(server, tmp_path / "x.tgz") == DATA
    assert server.asked == ["", "bytes=1000-"]


def test_a_server_that_stops_again_and_again_is_given_up_but_not_what_it_sent(server: Server, tmp_path: Path) -> None:
    server.stops = [1000, 0, 0]
    text = (
        rf"x\.tgz: the transfer stopped at 1,000 of {len(DATA):,} bytes; 1,000 bytes are kept, run this again to go on"
    )
    with pytest.raises(DataError, match=text):
        get(server, tmp_path / "x.tgz", tries=2)
    assert not (tmp_path / "x.tgz").exists()
    assert get(server, tmp_path / "x.tgz") == DATA


@pytest.mark.parametrize("checksum", [MD5[::-1], "0" * 64], ids=["MD5", "SHA-256"])  # DATA differs by the hour
def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path, checksum: str) -> None:
    with pytest.raises(DataError, match=rf"x\.tgz\.part: its checksum is .*, not {checksum}"):
        get(server, tmp_path / "x.tgz", checksum)
    assert list(tmp_path.iterdir()) == []
    assert len(server.asked) == 1


def test_a_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.tgz.part").write_bytes(b"another" * 100)
    assert get(server, tmp_path / "x.tgz") == DATA
    assert server.asked == ["bytes=700-", ""]
    (tmp_path / "y.tgz.part").write_bytes(b"z" * (len(DATA) + 1))
    assert get(server, tmp_path / "y.tgz") == DATA


def test_a_truncated_file_without_checksum_or_length_is_found_when_it_is_unpacked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CATALOGUE, "musan", Resource(17, "CC BY 4.0", {"musan.tar.gz": None}))
    server.data, server.length = DATA[:-100], False
    with pytest.raises(DataError, match=r"musan\.tar\.gz: cut short or damaged"):
        download("musan", tmp_path, mirror=server.url, wait=0)
    assert not (tmp_path / "LibriSpeech").exists()


def test_errors_that_pass_are_tried_again_and_others_are_told(server: Server, tmp_path: Path) -> None:
    server.errors = [503, 429]
    assert get(server, tmp_path / "x.tgz") == DATA
    server.errors = [404]
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:\d+/x\.tgz: the server answers 404 Not Found"):
        get(server, tmp_path / "y.tgz")
    server.errors = [500, 500]
    with pytest.raises(DataError, match="the server answers 500"):
        get(server, tmp_path / "y.tgz", tries=2)
    with pytest.raises(DataError, match="not an address of http or https"):
        fetch("file:///etc/passwd", tmp_path / "z", None, 1, 0)
    with pytest.raises(DataError, match="refused"):
        fetch("http://127.0.0.1:9/x", tmp_path / "z", None, 1, 0)


def test_a_corpus_is_fetched_from_a_mirror_and_unpacked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = Resource(31, "CC BY 4.0", {"a.tar.gz": MD5, "b.tar.gz": MD5})
    monkeypatch.setitem(CATALOGUE, "mini_librispeech", resource)
    server.stops = [1000]
    download("mini_librispeech", tmp_path, ["a.tar.gz"], mirror=f"{server.url}/resources/", wait=0)
    assert (tmp_path / "LibriSpeech" / "SPEAKERS.TXT").read_bytes() == bytes(range(256)) * 2000
    assert (tmp_path / "archives" / "a.tar.gz").read_bytes() == DATA
    asked = len(server.asked)
    download("mini_librispeech", tmp_path, ["a.tar.gz"], mirror=server.url, wait=0)
    assert len(server.asked) == asked
    with pytest.raises(DataError, match=re.escape("has no archive c.tar.gz, only a.tar.gz, b.tar.gz")):
        download("mini_librispeech", tmp_path, ["c.tar.gz"], mirror=server.url)


def test_the_catalogue_has_well_formed_checksums() -> None:
    for resource in CATALOGUE.values():
        for name, checksum in resource.archives.items():
            assert re.fullmatch(r"[\w.-]+\.(tar\.gz|tgz|zip)", name)
            assert checksum is None or re.fullmatch(r"[0-9a-f]{32}", checksum)
