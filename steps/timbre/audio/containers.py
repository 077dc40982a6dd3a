"""Audio in containers that libsndfile does not know (m4a and mp4, Matroska and WebM, AAC), decoded in this process by
PyAV, whose wheel carries FFmpeg's libraries. Called by reading.py for what libsndfile refuses.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.utils.errors import DataError

_MATROSKA = b"\x1a\x45\xdf\xa3"
_SHORT = 0.1  # seconds that may lack at the end: containers round, and the last frame is padded


def container_of(head: bytes) -> str | None:
    """FFmpeg's name of the container that begins with the bytes HEAD; None: none of those that are read here."""
    if head[4:8] == b"ftyp":
        return "mov"
    if head.startswith(_MATROSKA):
        return "matroska"
    return "aac" if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 else None


def decode(source: Path | BytesIO, container: str, name: str) -> tuple[NDArray[np.float32], int]:
    """The first audio stream of a file, as float32 (num_samples, num_channels) in [-1, 1), and its sample rate.

    Args:
        source: the file, or its bytes
        container: from `container_of`; naming it keeps FFmpeg from taking a file for a list of other files or addresses
        name: what error messages call it

    Raises:
        DataError: no audio in it, damaged, cut short, PyAV is not installed
    """
    try:
        import av
    except ImportError as error:
        raise DataError(f"PyAV is needed to read this format (pip install av): {error}", name) from error
    blocks: list[NDArray[Any]] = []
    corrupt = False
    try:
        with BytesIO(source.getvalue()) if isinstance(source, BytesIO) else source.open("rb") as file:
            with av.open(file, "r", format=container) as media:
                if not media.streams.audio:
                    raise DataError("no audio stream in it", name)
                stream = media.streams.audio[0]
                planar = av.AudioResampler(format="fltp")  # keeps rate and channels
                for packet in media.demux(stream):
                    corrupt |= packet.is_corrupt
                    blocks += [block.to_ndarray() for frame in packet.decode() for block in planar.resample(frame)]
                rate = int(stream.rate)
                announced = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
    except av.FFmpegError as error:
        raise DataError(f"cut short or damaged: {error.strerror}", name) from error
    samples = np.concatenate(blocks, axis=1).T if blocks else np.empty((0, 1), np.float32)
    if corrupt or len(samples) < (announced - _SHORT) * rate:
        raise DataError(f"cut short: {announced:.2f} s are announced, {len(samples) / rate:.2f} s are there", name)
    return samples.astype(np.float32, copy=False), rate
