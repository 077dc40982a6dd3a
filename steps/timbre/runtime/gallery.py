"""People by their voices, in one SQLite file that lasts: enrolled, found again, renamed, taken elsewhere.

Opened by `Voice.gallery`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from timbre.runtime.answers import Identified

Keep = Literal["none", "path", "audio"]
Entries = tuple[
    Sequence[str], npt.NDArray[np.float32], npt.NDArray[np.int64], Sequence[Mapping[str, float]]
]  # names; means (N, D); utterances (N,); mean measures


class Gallery:
    """People enrolled in the file PATH, which is made where it does not exist, by an ENCODER and SCORER of one pack."""

    def __init__(self, path: str | Path, encoder: Any, scorer: Any) -> None:
        raise NotImplementedError

    def enroll(self, name: str, sources: Iterable[Any], keep: Keep = "none") -> None:
        """Adds recordings to NAME, all or none of them."""
        raise NotImplementedError

    def identify(self, source: Any, prior: float = 0.5) -> Identified:
        """Who speaks in SOURCE."""
        raise NotImplementedError

    def identify_encoding(self, encoding: Any, prior: float = 0.5) -> Identified:
        """Who it is that was encoded."""
        raise NotImplementedError

    def entries(self) -> Entries:
        """All people."""
        raise NotImplementedError

    def names(self) -> list[str]:
        """All names, sorted."""
        raise NotImplementedError

    def stream(self, blocks: Iterable[npt.NDArray[Any]], rate: int, **options: Any) -> Iterator[Any]:
        """Turns with names, of sound that comes in blocks."""
        raise NotImplementedError

    def close(self) -> None:
        """Lets go of the file."""
        raise NotImplementedError

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
