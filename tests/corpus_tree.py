"""Miniature corpora for the tests of local/prepare_*.py: real audio files, a tenth of a second each."""

import tarfile
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile

from timbre.corpora.published_trees import Tree
from timbre.datadir.validate import validate

RATE = 16000
KINDS = {"wav": "WAV", "flac": "FLAC", "sph": "NIST", "mp3": "MP3"}


@cache
def audio(suffix: str, seconds: float = 0.1, channels: int = 1) -> bytes:
    """A file of that kind: wav, flac, sph, mp3 or m4a."""
    wave = (0.1 * np.random.default_rng(0).standard_normal((int(RATE * seconds), channels))).astype(np.float32)
    buffer = BytesIO()
    if suffix == "m4a":
        with av.open(buffer, "w", format="ipod") as media:
            stream = media.add_stream("aac", rate=RATE, layout="mono")
            frame = av.AudioFrame.from_ndarray(wave.T, format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, 0
            for packet in [*stream.encode(frame), *stream.encode(None)]:
                media.mux(packet)
    else:
        soundfile.write(buffer, wave, RATE, format=KINDS[suffix])
    return buffer.getvalue()


def tar(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    """A tar archive of FILES, name -> content."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, BytesIO(data))
    return buffer.getvalue()


def plant(root: Path, *names: str, kind: str | None = None, seconds: float = 0.1) -> None:
    """Audio files ROOT/NAME, of the kind that the name ends in, or KIND."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(audio(kind or path.suffix[1:].lower(), seconds))


def write(path: Path, text: str) -> Path:
    """A text file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def grow(root: Path, tree: Tree) -> None:
    """The files of TREE."""
    plant(root, *tree.audio)
    for name, text in tree.texts.items():
        write(root / name, text)


def table(path: Path) -> list[str]:
    """Lines of a written table or trial list."""
    return path.read_text(encoding="utf-8").splitlines()


def whole(out: Path, *sets: str) -> None:
    """That OUT holds these sets and no others, and that nothing is wrong with them."""
    assert sorted(path.name for path in out.iterdir()) == sorted(sets)
    for name in sets:
        assert validate(out / name, need_wav=True) == []


def snapshot(root: Path) -> dict[str, bytes]:
    """Every file under ROOT."""
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def unchanged_by(prepare: Callable[[], Any], corpus: Path, out: Path) -> None:
    """That PREPARE gives the same files again, and leaves the corpus alone."""
    before = snapshot(corpus), snapshot(out)
    prepare()
    assert (snapshot(corpus), snapshot(out)) == before


def published(monkeypatch: pytest.MonkeyPatch, module: Any, **counts: Any) -> None:
    """Replaces the published counts of a front, names in capitals, by those of its miniature."""
    for name, value in counts.items():
        monkeypatch.setattr(module, name, value)
