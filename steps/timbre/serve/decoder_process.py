"""The process that decodes what was uploaded: it has few rights, and may die. Started by decoding.py."""

import io
import json
import sys
from multiprocessing.connection import Connection
from typing import Any

from timbre.runtime.containers import container_of
from timbre.runtime.containers import decode as decode_container
from timbre.utils.errors import DataError

_MEMORY = 2 << 30  # bytes of addresses, of which libraries take most
_FILES = 64
_BLOCK = 1 << 18  # frames that are read at a time


def run(connection: Connection) -> None:
    """Answers until the other end is closed: limits and a name as JSON, then the file; a head, then samples."""
    _limit()
    import numpy  # noqa: F401
    import soundfile  # noqa: F401

    connection.send_bytes(b"ready")
    while True:
        try:
            request = json.loads(connection.recv_bytes())
            data = connection.recv_bytes()
        except EOFError:
            return
        try:
            samples, rate = decode(data, request["seconds"])
        except Unfit as error:
            connection.send_bytes(json.dumps({"error": str(error)}).encode())
            continue
        except MemoryError:
            connection.send_bytes(json.dumps({"error": "it takes too much memory to decode"}).encode())
            continue
        connection.send_bytes(json.dumps({"rate": rate, "samples": len(samples)}).encode())
        connection.send_bytes(samples.tobytes())


class Unfit(Exception):
    """Why a file is not taken."""


def decode(data: bytes, seconds: float) -> tuple[Any, int]:
    """Samples (N,) float32 of the file DATA, of at most so many SECONDS, and their rate.

    Raises:
        Unfit: it is not audio of one channel that can be read, or is longer
    """
    import numpy as np
    import soundfile

    if not data:
        raise Unfit("the file is empty")
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.channels != 1:
                raise Unfit(f"it has {file.channels} channels; one is wanted")
            if not 1000 <= file.samplerate <= 384_000:
                raise Unfit(f"a sample rate of {file.samplerate} Hz; it must be between 1000 and 384000")
            most = int(seconds * file.samplerate)
            if file.frames > most:
                raise Unfit(f"{file.frames / file.samplerate:.0f} s long; at most {seconds:.0f} s are taken")
            parts, got = [], 0
            while len(block := file.read(min(_BLOCK, most + 1 - got), dtype="float32")):
                parts.append(block)
                got += len(block)
                if got > most:
                    raise Unfit(f"more than {seconds:.0f} s long, which is the most that is taken")
            rate = int(file.samplerate)
    except (soundfile.LibsndfileError, RuntimeError, ValueError, TypeError, OSError) as error:
        if (container := container_of(data[:1024])) is None:
            raise Unfit("not an audio file that can be read (WAV, FLAC, Ogg, MP3, ...)") from error
        samples, rate = _of_container(data, container, seconds)
    else:
        samples = np.concatenate(parts) if got else np.zeros(0, np.float32)
    if not len(samples):
        raise Unfit("there is no sound in it: 0 samples")
    if not np.isfinite(samples).all():
        raise Unfit("it has samples that are not finite numbers")
    return samples, rate


def _of_container(data: bytes, container: str, seconds: float) -> tuple[Any, int]:
    """The same of what FFmpeg's libraries read; it may be empty."""
    try:
        samples, rate = decode_container(io.BytesIO(data), container, "", seconds)
    except DataError as error:
        raise Unfit(error.message) from error
    if samples.shape[1] != 1:
        raise Unfit(f"it has {samples.shape[1]} channels; one is wanted")
    return samples[:, 0], rate


def _limit() -> None:
    """Memory and files, where the operating system has such limits."""
    if sys.platform == "win32":
        return
    try:
        import resource
        import signal
    except ImportError:
        return
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which closes the connection
    for kind, most in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_NOFILE, _FILES)):
        try:
            resource.setrlimit(kind, (most, most))
        except (ValueError, OSError):  # less is allowed already
            continue
