"""Openly licensed corpora from OpenSLR: their archives, licences and checksums; fetching that goes on where it stopped.

Called by local/download.py; local/unpack.py takes the checksums.
"""

import http.client
import logging
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from tqdm import tqdm

from timbre.corpora.archives import Archive, unpack_all, verify
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class Resource:
    """A resource of OpenSLR: its number, its licence, and archive -> MD5 where one is published (else None)."""

    number: int
    licence: str
    archives: dict[str, str | None]


CATALOGUE = {
    "librispeech": Resource(
        12,
        "CC BY 4.0",
        {
            "dev-clean.tar.gz": "42e2234ba48799c1f50f24a7926300a1",
            "dev-other.tar.gz": "c8d0bcc9cca99d4f8b62fcc847357931",
            "test-clean.tar.gz": "32fa31d27d2e1cad72775fee3f4849a9",
            "test-other.tar.gz": "fb5a50374b501bb3bac4815ee91d3135",
            "train-clean-100.tar.gz": "2a93770f6d5c6c964bc36631d331a522",
            "train-clean-360.tar.gz": "c0e676e450a7ff2f54aeade5171606fa",
            "train-other-500.tar.gz": "d1a0fd59409feb2c614ce4d30c387708",
        },
    ),
    "mini_librispeech": Resource(
        31,
        "CC BY 4.0",
        {
            "train-clean-5.tar.gz": "5df7d4e78065366204ca6845bb08f490",
            "dev-clean-2.tar.gz": "6d7ab67ac6a1d2c993d050e16d61080d",
        },
    ),
    "aishell1": Resource(
        33,
        "Apache 2.0",
        {
            "data_aishell.tgz": "2f494334227864a8a8fec932999db9d8",
            "resource_aishell.tgz": "957d480a0fcac85fc18e550756f624e5",
        },
    ),
    "musan": Resource(17, "CC BY 4.0", {"musan.tar.gz": "0c472d4fc0c5141eca47ad1ffeb2a7df"}),
    "rirs": Resource(28, "Apache 2.0", {"rirs_noises.zip": "e6f48e257286e05de56413b4779d8ffb"}),
    "speechocean762": Resource(101, "CC BY 4.0", {"speechocean762.tar.gz": None}),
}
Name = Literal["librispeech", "mini_librispeech", "aishell1", "musan", "rirs", "speechocean762"]

_BLOCK = 1 << 18
_TIMEOUT = 60.0  # seconds without a byte

logger = logging.getLogger(__name__)


def known_checksums() -> dict[str, str]:
    """Archive -> MD5, of all corpora."""
    listed = [item for resource in CATALOGUE.values() for item in resource.archives.items()]
    return {name: checksum for name, checksum in listed if checksum}


def fetch_corpus(
    corpus: Name, corpus_dir: Path, archives: list[str] | None, mirror: str, folder: Path, tries: int, wait: float
) -> None:
    """Fetches ARCHIVES of CORPUS, or all, into FOLDER, verifies and unpacks them; the rest as local/download.py says.

    Raises:
        DataError: CORPUS has no such archive; whatever `fetch` and `unpack_all` say
    """
    resource = CATALOGUE[corpus]
    names = archives or list(resource.archives)
    if unknown := [name for name in names if name not in resource.archives]:
        raise DataError(f"{corpus} has no archive {unknown[0]}, only {', '.join(resource.archives)}")
    logger.info("%s: licence %s, https://www.openslr.org/%d", corpus, resource.licence, resource.number)
    for name in names:
        url = f"{mirror.rstrip('/')}/{resource.number}/{name}"
        fetch(url, folder / name, resource.archives[name], tries, wait)
    files = [Archive(name, (folder / name,)) for name in names]
    unpack_all(files, corpus_dir, {name: checksum for name, checksum in resource.archives.items() if checksum}, True)


def fetch(url: str, path: Path, checksum: str | None, tries: int, wait: float) -> None:
    """Fetches URL into PATH, through PATH.part, which a later call continues; PATH is whole or absent.

    Args:
        url: http or https
        path: the file
        checksum: its MD5 or SHA-256; None: not known, only the length is checked
        tries: how often a transfer that makes no progress is tried
        wait: seconds between tries

    Raises:
        DataError: the server does not have it, or stops again and again; a wrong checksum
    """
    if path.exists():
        logger.info("%s: is there already", path)
        return
    if not url.startswith(("http://", "https://")):
        raise DataError(f"'{url}' is not an address of http or https")
    part = path.with_name(f"{path.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    continued = part.exists()
    left = tries
    while True:
        before = _size(part)
        problem = _transfer(url, part)
        if problem is None:
            break
        left = tries if _size(part) > before else left - 1
        if left <= 0:
            kept = f"; {_size(part):,} bytes are kept, run this again to go on" if _size(part) else ""
            raise DataError(f"{problem}{kept}", url)
        logger.warning("%s: %s; trying again", url, problem)
        time.sleep(wait)
    try:
        if checksum:
            verify(part, checksum)
    except DataError:
        part.unlink()
        if not continued:
            raise
        logger.warning("%s: the part that an earlier run left does not fit; from the start", path)
        fetch(url, path, checksum, tries, wait)
        return
    part.replace(path)


def _transfer(url: str, part: Path) -> str | None:
    """Goes on with PART; None when it is complete, else what went wrong. DataError where trying again cannot help."""
    start = _size(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            if start and response.status != 206:  # the server knows no Range
                start = 0
            total = _total(response, start)
            with part.open("ab" if start else "wb") as file:
                _copy(response, file, start, total, part.name.removesuffix(".part"))
    except urllib.error.HTTPError as error:
        if error.code == 416 and start:  # nothing is left to send, or PART is longer than the file
            length = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", ""))
            if length and int(length[1]) == start:
                return None
            part.unlink()
            return "the part does not fit"
        if error.code < 500 and error.code != 429:
            raise DataError(f"the server answers {error.code} {error.reason}", url) from error
        return f"the server answers {error.code} {error.reason}"
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        return str(getattr(error, "reason", None) or error or type(error).__name__)
    if total is not None and _size(part) != total:
        return f"the transfer stopped at {_size(part):,} of {total:,} bytes"
    return None


def _total(response: http.client.HTTPResponse, start: int) -> int | None:
    """The length of the whole file; None: the server does not say. DataError: it sends another part than was asked."""
    if start:
        sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not sent or int(sent[1]) != start:
            raise DataError("the server sends another part than was asked for", response.url)
        return None if sent[2] == "*" else int(sent[2])
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _copy(response: http.client.HTTPResponse, file: IO[bytes], start: int, total: int | None, name: str) -> None:
    with tqdm(total=total, initial=start, desc=name, unit="B", unit_scale=True, disable=None, mininterval=0.5) as bar:
        while block := response.read(_BLOCK):
            file.write(block)
            bar.update(len(block))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
