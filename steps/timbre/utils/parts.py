"""Work on many items in parts that are kept: after a kill or a failure the next run makes only what is missing.

Features, VAD decisions, audio and embeddings are made so. A part is a folder, named by a digest of all that it follows
from, with what was made of its items and part.json; it is whole or absent.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from timbre.utils.errors import DataError
from timbre.utils.files import MARKER, atomic_folder, remove_temporaries, temporary_folder
from timbre.utils.jobs import run_jobs

_KIND = "part"
_RECORD = "part.json"
_KEY = re.compile(r"[0-9a-f]{16}")

# What is known of a part: "failures", item -> why it could not be made, and what else the work tells; plain JSON.
Result = dict[str, Any]


class Item(Protocol):
    """One of the many: a value whose repr tells it from any other."""

    @property
    def name(self) -> str:
        """What it is called where it fails."""

    @property
    def sources(self) -> Iterable[str]:
        """Files that it is made of: when the size or time of one changes, it is made again."""


ItemT = TypeVar("ItemT", bound=Item)


@dataclass(frozen=True)
class Part(Generic[ItemT]):
    """Some of the items, and the folder that is there when they are done."""

    items: Sequence[ItemT]
    folder: Path

    def result(self) -> Result | None:
        """What was told of the part when it was made; None: it is not."""
        try:
            found: Result = json.loads((self.folder / _RECORD).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found

    @contextmanager
    def writing(self, result: Result) -> Iterator[Path]:
        """Yields the folder to write into; RESULT is what is known of the part when the block has ended."""
        with atomic_folder(self.folder, _KIND) as folder:
            yield folder
            text = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
            (folder / _RECORD).write_text(text + "\n", encoding="utf-8")

    def is_made(self, work: Callable[[Sequence[ItemT], Path], Result]) -> bool:
        """Whether it is there, and those of its items that failed fail with WORK again."""
        result = self.result()
        if result is None or not result["failures"]:
            return result is not None
        failed = [item for item in self.items if item.name in result["failures"]]
        with temporary_folder(self.folder.with_name(f"{self.folder.name}.again")) as folder:
            again: Result = work(failed, folder)
        return bool(again["failures"].keys() == result["failures"].keys())


@contextmanager
def kept_parts(folder: Path, items: Sequence[ItemT], recipe: str, mean_size: int) -> Iterator[list[Part[ItemT]]]:
    """Yields the parts that ITEMS fall into; when the block ends well, other parts in FOLDER are removed.

    Where a part ends depends on the names near it, not on their number: an item more changes one part, not all that
    come after it.

    Args:
        folder: where the parts go; what else lies there stays
        items: what is to be made, in order
        recipe: tells this work from any other: options, the version of the code
        mean_size: items in a part, about

    Raises:
        DataError: another process is at work there
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError("another process is writing it", folder) from None
        remove_temporaries(folder, of_others=True)
        parts = list_parts(folder, items, recipe, mean_size)
        yield parts
        remove_temporaries(folder, of_others=True)
        kept = {part.folder.name for part in parts}
        for path in list(folder.iterdir()):
            if _KEY.fullmatch(path.name) and path.name not in kept and (path / MARKER).is_file():
                shutil.rmtree(path, ignore_errors=True)


def list_parts(folder: Path, items: Sequence[ItemT], recipe: str, mean_size: int) -> list[Part[ItemT]]:
    """The parts of `kept_parts`, for another process that makes some of them while one keeps them."""
    look = lru_cache(maxsize=1024)(_look)  # many items lie in one ark
    return [Part(some, folder / _key(some, recipe, look)) for some in _split(items, mean_size)]


def make_parts(
    parts: Sequence[Part[ItemT]], work: Callable[[Sequence[ItemT], Path], Result], nj: int, title: str
) -> list[Result]:
    """Makes those of PARTS that are not there, NJ at a time; what is known of each, in order.

    Args:
        parts: of `kept_parts`
        work: writes what it makes of items into a folder and tells about it; a module-level function, or a partial one
        nj: number of jobs
        title: what the progress bar says
    """
    results = [part.result() for part in parts]
    left = [index for index, result in enumerate(results) if result is None or result["failures"]]
    made = run_jobs(partial(_make, work=work), [parts[index] for index in left], nj, title, "part")
    for index, result in zip(left, made, strict=True):
        results[index] = result
    return [result for result in results if result is not None]


def _make(part: Part[ItemT], work: Callable[[Sequence[ItemT], Path], Result]) -> Result:
    if part.is_made(work) and (found := part.result()):
        return found
    result: Result = {}
    with part.writing(result) as folder:
        result |= work(part.items, folder)
    return result


def part_size(num_items: int, most: int) -> int:
    """A mean size that gives 64 parts and more of NUM_ITEMS, at most MOST: a power of 2, so that it seldom changes."""
    size = 8
    while size * 2 <= min(num_items // 64, most):
        size *= 2
    return size


def _split(items: Sequence[ItemT], mean_size: int) -> Iterator[list[ItemT]]:
    part: list[ItemT] = []
    for item in items:
        part.append(item)
        if zlib.crc32(item.name.encode()) % mean_size == 0 or len(part) == 4 * mean_size:
            yield part
            part = []
    if part:
        yield part


def _key(items: Sequence[ItemT], recipe: str, look: Callable[[str], bytes]) -> str:
    state = hashlib.sha256(recipe.encode())
    for item in items:
        state.update(f"\n{item!r}".encode("utf-8", "surrogateescape"))
        for source in item.sources:
            state.update(look(source))
    return state.hexdigest()[:16]


def _look(path: str) -> bytes:
    try:
        status = os.stat(path)
    except OSError:
        return b" absent"
    return f" {status.st_size} {status.st_mtime_ns}".encode()
