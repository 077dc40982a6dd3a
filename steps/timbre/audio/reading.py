"""Audio of any format, from files and from Kaldi's `command |` pipes, whole or a segment, with every check it needs.

Called by the feature jobs, by preprocess_audio.py and by everything else that needs samples.
"""

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from timbre.audio.commands import command_output
from timbre.audio.containers import container_of, decode
from timbre.datadir.datadir import Segment
from timbre.utils.errors import DataError

Samples = NDArray[np.float32]

# what audio is looked for by in folders; a file of any other name is read as well
AUDIO_SUFFIXES = (".wav", ".flac", ".opus", ".ogg", ".mp3", ".m4a", ".aac", ".webm", ".sph")

# formats in which a segment can be read without decoding what is before it
_SEEKABLE = {"WAV", "WAVEX", "W64", "RF64", "FLAC", "NIST", "AIFF", "AU", "CAF"}
_MAX_OVERSHOOT = 0.5  # seconds that a segment may end after its recording: extract-segments' default
_UNKNOWN_SIZE = 0x7FFFF000  # programs that write to a pipe put this or more into the header, or 0
_SHORTER = re.compile(r"(?:data|SSND|Data Size|riff) *: (\d+) \(should be (\d+)\)")
_NO_END = re.compile(r"(?:lacks an|without an) end-of-stream", re.IGNORECASE)


def read_audio(
    rxfilename: str, segment: Segment | None = None, rate: int | None = None, channel: int = -1
) -> tuple[Samples, int]:
    """Samples of a recording or of a segment of it, and their sample rate.

    Args:
        rxfilename: a file that libsndfile reads (wav, flac, ogg, opus, mp3, SPHERE, ...) or that FFmpeg's libraries
            do (m4a, mp4, webm, aac), or "command |", whose standard output is such a file
        segment: the part wanted; it may end up to half a second after the recording, as in Kaldi
        rate: wanted sample rate; resampled (soxr, high quality) from any other
        channel: of audio with several, from 0; -1: the audio must be mono

    Returns:
        (num_samples,) float32 in [-1, 1), sample rate

    Raises:
        DataError: cannot be read, is cut short or empty, has several channels, NaN or infinite samples, the command
            fails, the segment is not in the recording
    """
    return AudioReader(channel).read(rxfilename, segment, rate)


class NotFinite(DataError):
    """Audio with NaN or infinite samples."""


class AudioReader:
    """`read_audio` for many segments in a row: what must be decoded as a whole is kept for the next segment.

    Args:
        channel: of audio with several, from 0; -1: the audio must be mono
    """

    def __init__(self, channel: int = -1) -> None:
        self._channel = channel
        self._whole: tuple[str, Samples, int] | None = None

    def read(self, rxfilename: str, segment: Segment | None = None, rate: int | None = None) -> tuple[Samples, int]:
        """As `read_audio`."""
        if self._whole is not None and self._whole[0] == rxfilename and segment is not None:
            _, samples, found = self._whole
            samples = samples[_span(segment, found, len(samples), rxfilename)]
        else:
            samples, found = self._decode(rxfilename, segment)
        if rate is not None and rate != found:
            return resample(samples, found, rate), rate
        return samples, found

    def _decode(self, rxfilename: str, segment: Segment | None) -> tuple[Samples, int]:
        source = BytesIO(command_output(rxfilename)) if rxfilename.endswith("|") else Path(rxfilename)
        try:
            with soundfile.SoundFile(source) as audio:
                _check_whole(audio, source, rxfilename)
                rate = int(audio.samplerate)
                if segment is None:
                    return self._samples(audio, slice(0, audio.frames), rxfilename), rate
                if audio.format in _SEEKABLE and not isinstance(source, BytesIO):
                    return self._samples(audio, _span(segment, rate, audio.frames, rxfilename), rxfilename), rate
                samples = self._samples(audio, slice(0, audio.frames), rxfilename)
        except soundfile.LibsndfileError as error:
            if not (container := _container(source)):
                raise DataError(_why(error, source), rxfilename) from error
            samples, rate = self._decode_container(source, container, rxfilename)
            if segment is None:
                return samples, rate
        except OSError as error:
            raise DataError(f"cannot read: {error.strerror or error}", rxfilename) from error
        except MemoryError as error:
            raise DataError("too long for the memory, or its header is damaged", rxfilename) from error
        self._whole = rxfilename, samples, rate
        return samples[_span(segment, rate, len(samples), rxfilename)], rate

    def _samples(self, audio: soundfile.SoundFile, span: slice, name: str) -> Samples:
        """SPAN of an open file."""
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
            samples = samples[:, self._pick(audio.channels, name)]
        if _NO_END.search(audio.extra_info):
            raise DataError("cut short: the last page of the Ogg stream is missing", name)
        if integer:
            scaled: Samples = samples * np.float32(1 / 32768)
            return scaled
        if not np.isfinite(samples.sum()):
            raise NotFinite("NaN or infinite samples", name)
        return np.ascontiguousarray(samples, dtype=np.float32)

    def _decode_container(self, source: Path | BytesIO, container: str, name: str) -> tuple[Samples, int]:
        """All samples of what libsndfile does not know."""
        decoded, rate = decode(source, container, name)
        if not len(decoded):
            raise DataError("no samples in it", name)
        samples = decoded[:, self._pick(decoded.shape[1], name) if decoded.shape[1] > 1 else 0]
        if not np.isfinite(samples.sum()):
            raise NotFinite("NaN or infinite samples", name)
        return np.ascontiguousarray(samples), rate

    def _pick(self, channels: int, name: str) -> int:
        if self._channel < 0:
            advice = "mix them: sox FILE MONO.wav remix - (in wav.scp 'sox FILE -t wav - remix - |')"
            advice += "; steps that make features can choose one, with the option channel"
            raise DataError(f"{channels} channels, mono is wanted; {advice}", name)
        if self._channel >= channels:
            raise DataError(f"channel {self._channel} is wanted, but there are {channels}, counted from 0", name)
        return self._channel


def resample(samples: Samples, rate: float, new_rate: float) -> Samples:
    """SAMPLES (num_samples,) at RATE Hz, resampled to NEW_RATE Hz (soxr, high quality)."""
    return np.asarray(soxr.resample(samples, rate, new_rate, quality="HQ"), dtype=np.float32)


def _span(segment: Segment, rate: int, num_samples: int, name: str) -> slice:
    """Samples of a segment, rounded down as Kaldi's extract-segments does."""
    start = int(segment.start * rate)
    end = num_samples if segment.end == -1 else int(segment.end * rate)
    if start >= num_samples or end - num_samples >= _MAX_OVERSHOOT * rate:
        where = f"segment {segment.start:g} to {segment.end:g} s"
        raise DataError(f"{where} is not in the recording, which has {num_samples / rate:g} s", name)
    return slice(start, min(end, num_samples))


def _check_whole(audio: soundfile.SoundFile, source: Path | BytesIO, name: str) -> None:
    """Refuses a file shorter than its header says. libsndfile reads what is there and only notes it in its log."""
    if (
        (sizes := _SHORTER.search(audio.extra_info))
        and 0 < int(sizes[1]) < _UNKNOWN_SIZE
        and int(sizes[2]) < int(sizes[1])
    ):
        raise DataError(f"cut short: the header announces {sizes[1]} bytes, {sizes[2]} are there", name)
    if audio.format == "NIST":
        announced = re.search(rb"sample_count -i (\d+)", _head(source))
        if announced and int(announced[1]) > audio.frames:
            text = f"the header announces {int(announced[1])} samples, {audio.frames} are there"
            raise DataError(f"cut short: {text}", name)


def _container(source: Path | BytesIO) -> str | None:
    """The container that SOURCE is, of those that FFmpeg's libraries read; None: none, or it cannot be read."""
    try:
        return container_of(_head(source))
    except OSError:
        return None


def _why(error: soundfile.LibsndfileError, source: Path | BytesIO) -> str:
    """What is wrong with a file that libsndfile does not read."""
    if isinstance(source, Path):
        if not source.exists():
            return "no such file"
        if source.is_dir():
            return "a folder, not an audio file"
    head = _head(source)
    if not head:
        return "the file is empty"
    if head.startswith(b"NIST_1A") and b"shorten" in head:
        return "SPHERE compressed with shorten; read it through 'sph2pipe -f wav FILE |' in wav.scp"
    message = error.error_string.strip()
    return f"not audio that libsndfile reads, or damaged{': ' + message if message else ''}"


def _head(source: Path | BytesIO) -> bytes:
    if isinstance(source, BytesIO):
        return source.getvalue()[:1024]
    with source.open("rb") as file:
        return file.read(1024)
