"""Audio that libsndfile does not know (m4a, mp4, 3gp; WebM and Matroska; AAC, AMR, ALAC, WMA), decoded in this process
by PyAV, whose wheel carries FFmpeg's libraries: pip install timbre[formats].

Called for what libsndfile refuses by sound.py, reading.py of the recipe and, in a process with limits, by the page.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.utils.errors import DataError

_MATROSKA = b"\x1a\x45\xdf\xa3"
_ASF = bytes.fromhex("3026b2758e66cf11")
_SHORT = 0.1  # seconds that may lack at the end: containers round, and the last frame is padded


def container_of(head: bytes) -> str | None:
    """FFmpeg's name of the container that begins with the bytes HEAD; None: none of those that are read here."""
    if head[4:8] == b"ftyp":
        return "mov"
    for first, name in ((_MATROSKA, "matroska"), (b"#!AMR", "amr"), (b"caff", "caf"), (_ASF, "asf")):
        if head.startswith(first):
            return name
    return "aac" if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 else None


class TooLong(DataError):
    """More audio than is taken."""


def decode(
    source: Path | BytesIO, container: str, name: str, most: float = float("inf")
) -> tuple[NDArray[np.float32], int]:
    """The first audio stream of a file, as float32 (num_samples, num_channels) in [-1, 1), and its sample rate.

    Args:
        source: the file, or its bytes
        container: from `container_of`; naming it keeps FFmpeg from taking a file for a list of other files or addresses
        name: what error messages call it
        most: seconds that are taken; a small file may hold days

    Raises:
        TooLong: it has more
        DataError: no audio in it, damaged, cut short, PyAV is not installed
    """
    try:
        import av
    except ImportError as error:
        raise DataError("this format is read with PyAV: pip install 'timbre[formats]'", name) from error
    blocks: list[NDArray[Any]] = []
    corrupt, got = False, 0
    try:
        with BytesIO(source.getvalue()) if isinstance(source, BytesIO) else source.open("rb") as file:
            with av.open(file, "r", format=container, metadata_errors="replace") as media:
                if not media.streams.audio:
                    raise DataError("no audio stream in it", name)
                stream = media.streams.audio[0]
                announced = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
                if container == "matroska" and media.duration and len(media.streams) == 1:  # it tells of all together
                    announced = media.duration / av.time_base
                planar = av.AudioResampler(format="fltp")  # keeps rate and channels
                for packet in media.demux(stream):
                    corrupt |= packet.is_corrupt
                    for frame in packet.decode():
                        blocks += [block.to_ndarray() for block in planar.resample(frame)]
                        got += frame.samples
                        if got > most * frame.sample_rate:
                            raise TooLong(f"more than {most:g} s long, which is the most that is taken", name)
                rate = int(stream.rate)
        samples = np.concatenate(blocks, axis=1).T if blocks else np.empty((0, 1), np.float32)
    except av.FFmpegError as error:
        raise DataError(f"cut short or damaged: {error.strerror}", name) from error
    except ValueError as error:
        raise DataError("cut short or damaged: its rate or its channels change", name) from error
    if corrupt or len(samples) < (announced - _SHORT) * rate:
        raise DataError(f"cut short: {announced:.2f} s are announced, {len(samples) / rate:.2f} s are there", name)
    return samples.astype(np.float32, copy=False), rate
