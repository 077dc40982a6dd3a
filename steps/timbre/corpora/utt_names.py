"""Ids of utterances that are files: their paths, without blanks. Called by the fronts of folders of audio."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath


def name_utterances(paths: Sequence[PurePosixPath]) -> dict[str, PurePosixPath]:
    """Utterance id -> path. Paths that would share an id (a/b-c.wav, a/b/c.wav, a/b/c.flac) get a hash of theirs."""
    names = ["-".join(map(escape, path.with_suffix("").parts)) for path in paths]
    counts = Counter(names)
    utts = {}
    for name, path in zip(names, paths, strict=True):
        unique = name if counts[name] == 1 else f"{name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
        utts[unique] = path
    return utts


def escape(text: str) -> str:
    """TEXT with %XX for the bytes of blanks, control characters and % itself, as in a URL."""
    odd = {char for char in text if char == "%" or not char.isprintable() or char.isspace()}
    return "".join("".join(f"%{byte:02X}" for byte in char.encode()) if char in odd else char for char in text)
