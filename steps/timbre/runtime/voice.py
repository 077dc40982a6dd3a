"""A pack at work, `timbre.load(PATH)`: verification, embeddings, galleries, who speaks when. The API, in one class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from timbre.runtime.answers import Verdict
from timbre.runtime.gallery import Gallery


def load(path: str | Path, threads: int = 1, variant: str = "fp32") -> "Voice":
    """The voice in the pack PATH, a folder or a .timbre file; THREADS for its network, VARIANT fp32, int8 or fp16.

    Raises:
        DataError: no pack, or a damaged one
    """
    return Voice(path, threads, variant)


class Voice:
    """A pack, with its `encoder` and `scorer`."""

    encoder: Any
    scorer: Any

    def __init__(self, path: str | Path, threads: int = 1, variant: str = "fp32") -> None:
        raise NotImplementedError

    def verify(self, enroll: Any, test: Any, prior: float = 0.5, far: float | None = None) -> Verdict:
        """Whether TEST is of the speaker of ENROLL, one recording or several."""
        raise NotImplementedError

    def embed(self, source: Any, rate: int | None = None) -> Any:
        """The encoding of SOURCE, or of samples at RATE."""
        raise NotImplementedError

    def gallery(self, path: str | Path) -> Gallery:
        """People enrolled in PATH."""
        return Gallery(path, self.encoder, self.scorer)

    def diarize(self, source: Any, gallery: Gallery | None = None, **options: Any) -> Sequence[Any]:
        """Who speaks when."""
        raise NotImplementedError
