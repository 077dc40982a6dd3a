"""Sound from a file, a stream or an array, with every check it needs. Called by encoder.py and voice.py.

And what audio/reading.py of the recipe reads files by.
"""

import re
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from timbre.runtime.containers import container_of, decode
from timbre.utils.errors import DataError

if TYPE_CHECKING:
    from soundfile import LibsndfileError, SoundFile

Samples = NDArray[np.float32]
Source = str | Path | BinaryIO | tuple[NDArray[Any], int]

_UNKNOWN_SIZE = 0x7FFFF000  # programs that write to a pipe put this or more into the header, or 0
_SHORTER = re.compile(r"(?:data|SSND|Data Size|riff) *: (\d+) \(should be (\d+)\)")
_NO_END = re.compile(r"(?:lacks an|without an) end-of-stream", re.IGNORECASE)
_LONGEST = 4 * 3600.0  # seconds that are taken of what FFmpeg's libraries decode
_RATES = (1000, 768000)  # Hz, of sound that is given as an array


class NotFinite(DataError):
    """Audio with NaN or infinite samples."""


class Unusable(DataError):
    """A recording that can be read but of which nothing can be said: too little speech, constant, ruined."""

    status = 3


@dataclass(frozen=True)
class Sound:
    """samples: (num_samples,) float32 in [-1, 1); rate: in Hz; name: for messages."""

    samples: Samples
    rate: int
    name: str


def read_sound(source: Source, name: str | None = None, channel: int = -1) -> Sound:
    """The sound of SOURCE, whole.

    Args:
        source: a file that libsndfile reads (wav, flac, ogg, opus, mp3, ...) or, with timbre[formats], FFmpeg's
            libraries (m4a, webm, amr, ...; up to four hours), "-" for standard input, an open binary file, or
            (samples, rate): (num_samples,) of 16-bit integers, or of floats with full scale at 1
        name: for messages, where SOURCE has none
        channel: of sound with several, from 0; -1: it must be mono

    Raises:
        Unusable: NaN or infinite samples
        DataError: it cannot be read, is cut short or empty, or has several channels
    """
    if isinstance(source, tuple):
        return _of_array(*source, name or "samples", channel)
    if isinstance(source, str | Path):
        name = name or ("standard input" if str(source) == "-" else str(source))
        stream: Path | BytesIO = BytesIO(sys.stdin.buffer.read()) if str(source) == "-" else Path(source)
    else:
        name, stream = name or str(getattr(source, "name", "a stream")), BytesIO(source.read())
    from soundfile import LibsndfileError, SoundFile

    try:
        with SoundFile(stream) as audio:
            check_whole(audio, stream, name)
            return Sound(read_samples(audio, slice(0, audio.frames), channel, name), int(audio.samplerate), name)
    except NotFinite as error:
        raise Unusable(error.message, name) from error
    except LibsndfileError as error:
        if not (container := container_at(stream)):
            raise DataError(why(error, stream), name) from error
        return _of_container(stream, container, channel, name)
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror or error}", name) from error
    except MemoryError as error:
        raise DataError("too long for the memory, or its header is damaged", name) from error


def _of_container(stream: Path | BytesIO, container: str, channel: int, name: str) -> Sound:
    try:
        return Sound(*read_container(stream, container, channel, name, _LONGEST), name)
    except NotFinite as error:
        raise Unusable(error.message, name) from error
    except MemoryError as error:
        raise DataError("too long for the memory", name) from error


def _of_array(samples: NDArray[Any], rate: int, name: str, channel: int) -> Sound:
    given = np.asarray(samples)
    if given.dtype != np.int16 and given.dtype.kind != "f":
        raise DataError(f"samples of type {given.dtype}; 16-bit integers or floats are wanted", name)
    if given.ndim == 2:
        given = given[:, pick(given.shape[1], channel, name)]
    if given.ndim != 1 or not len(given):
        raise DataError("no samples in it" if given.ndim == 1 else f"samples of shape {given.shape}", name)
    if not _RATES[0] <= rate <= _RATES[1]:
        raise DataError(f"a sample rate of {rate} Hz; it must be between {_RATES[0]} and {_RATES[1]}", name)
    if given.dtype == np.int16:
        return Sound(given * np.float32(1 / 32768), int(rate), name)
    with np.errstate(over="ignore"):
        kept = np.ascontiguousarray(given, np.float32)
    if not np.isfinite(kept.sum()):
        raise Unusable("NaN or infinite samples", name)
    return Sound(kept, int(rate), name)


def resample(samples: Samples, rate: float, new_rate: float) -> Samples:
    """SAMPLES (num_samples,) at RATE Hz, resampled to NEW_RATE Hz (soxr, high quality)."""
    import soxr

    return np.asarray(soxr.resample(samples, rate, new_rate, quality="HQ"), dtype=np.float32)


def read_samples(audio: "SoundFile", span: slice, channel: int, name: str) -> Samples:
    """SPAN of an open file, (num_samples,) float32 in [-1, 1).

    Raises:
        NotFinite: NaN or infinite samples
        DataError: no samples, fewer than announced, or several channels
    """
    wanted = span.stop - span.start
    if wanted <= 0:
        raise DataError("no samples in it", name)
    if span.start:
        audio.seek(span.start)
    integer = audio.subtype == "PCM_16"  # numpy is faster than libsndfile at making it float
    samples = audio.read(wanted, dtype="int16" if integer else "float32")
    if len(samples) < wanted:
        raise DataError(f"cut short: {wanted} samples are announced, {len(samples)} are there", name)
    if samples.ndim == 2:
        samples = samples[:, pick(audio.channels, channel, name)]
    if _NO_END.search(audio.extra_info):
        raise DataError("cut short: the last page of the Ogg stream is missing", name)
    if integer:
        scaled: Samples = samples * np.float32(1 / 32768)
        return scaled
    if not np.isfinite(samples.sum()):
        raise NotFinite("NaN or infinite samples", name)
    return np.ascontiguousarray(samples, dtype=np.float32)


def read_container(
    source: Path | BytesIO, container: str, channel: int, name: str, most: float = float("inf")
) -> tuple[Samples, int]:
    """All samples of what libsndfile does not know, (num_samples,) float32, and their rate; raises as `decode`."""
    decoded, rate = decode(source, container, name, most)
    if not len(decoded):
        raise DataError("no samples in it", name)
    samples = decoded[:, pick(decoded.shape[1], channel, name) if decoded.shape[1] > 1 else 0]
    if not np.isfinite(samples.sum()):
        raise NotFinite("NaN or infinite samples", name)
    return np.ascontiguousarray(samples), rate


def pick(channels: int, channel: int, name: str) -> int:
    """Which of several CHANNELS is meant by CHANNEL.

    Raises:
        DataError: there is none such
    """
    if channel < 0:
        advice = "mix them: sox FILE MONO.wav remix - (in wav.scp 'sox FILE -t wav - remix - |')"
        advice += "; steps that make features can choose one, with the option channel"
        raise DataError(f"{channels} channels, mono is wanted; {advice}", name)
    if channel >= channels:
        raise DataError(f"channel {channel} is wanted, but there are {channels}, counted from 0", name)
    return channel


def check_whole(audio: "SoundFile", source: Path | BytesIO, name: str) -> None:
    """Refuses a file shorter than its header says. libsndfile reads what is there and only notes it in its log."""
    if (
        (sizes := _SHORTER.search(audio.extra_info))
        and 0 < int(sizes[1]) < _UNKNOWN_SIZE
        and int(sizes[2]) < int(sizes[1])
    ):
        raise DataError(f"cut short: the header announces {sizes[1]} bytes, {sizes[2]} are there", name)
    if audio.format == "NIST":
        announced = re.search(rb"sample_count -i (\d+)", head(source))
        if announced and int(announced[1]) > audio.frames:
            text = f"the header announces {int(announced[1])} samples, {audio.frames} are there"
            raise DataError(f"cut short: {text}", name)


def why(error: "LibsndfileError", source: Path | BytesIO) -> str:
    """What is wrong with a file that libsndfile does not read."""
    if isinstance(source, Path):
        if not source.exists():
            return "no such file"
        if source.is_dir():
            return "a folder, not an audio file"
    first = head(source)
    if not first:
        return "the file is empty"
    if first.startswith(b"NIST_1A") and b"shorten" in first:
        return "SPHERE compressed with shorten; read it through 'sph2pipe -f wav FILE |' in wav.scp"
    message = error.error_string.strip()
    return f"not audio that libsndfile reads, or damaged{': ' + message if message else ''}"


def container_at(source: Path | BytesIO) -> str | None:
    """The container that SOURCE is, of those that FFmpeg's libraries read; None: none, or it cannot be read."""
    try:
        return container_of(head(source))
    except OSError:
        return None


def head(source: Path | BytesIO) -> bytes:
    """The first kilobyte of SOURCE."""
    if isinstance(source, BytesIO):
        return source.getvalue()[:1024]
    with source.open("rb") as file:
        return file.read(1024)
