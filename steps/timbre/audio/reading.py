"""Audio of any format, from files and from Kaldi's `command |` pipes, whole or a segment, with every check it needs.

Called by the feature jobs, by preprocess_audio.py and by everything else that needs samples.
"""

from io import BytesIO
from pathlib import Path

import soundfile

from timbre.audio.commands import command_output
from timbre.datadir.datadir import Segment
from timbre.runtime.sound import Samples, check_whole, container_at, read_container, read_samples, resample, why
from timbre.utils.errors import DataError

# what audio is looked for by in folders; a file of any other name is read as well
AUDIO_SUFFIXES = (".wav", ".flac", ".opus", ".ogg", ".mp3", ".m4a", ".aac", ".webm", ".sph")

# formats in which a segment can be read without decoding what is before it
_SEEKABLE = {"WAV", "WAVEX", "W64", "RF64", "FLAC", "NIST", "AIFF", "AU", "CAF"}
_MAX_OVERSHOOT = 0.5  # seconds that a segment may end after its recording: extract-segments' default


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
                check_whole(audio, source, rxfilename)
                rate = int(audio.samplerate)
                if segment is None:
                    return read_samples(audio, slice(0, audio.frames), self._channel, rxfilename), rate
                if audio.format in _SEEKABLE and not isinstance(source, BytesIO):
                    span = _span(segment, rate, audio.frames, rxfilename)
                    return read_samples(audio, span, self._channel, rxfilename), rate
                samples = read_samples(audio, slice(0, audio.frames), self._channel, rxfilename)
        except soundfile.LibsndfileError as error:
            if not (container := container_at(source)):
                raise DataError(why(error, source), rxfilename) from error
            samples, rate = read_container(source, container, self._channel, rxfilename)
            if segment is None:
                return samples, rate
        except OSError as error:
            raise DataError(f"cannot read: {error.strerror or error}", rxfilename) from error
        except MemoryError as error:
            raise DataError("too long for the memory, or its header is damaged", rxfilename) from error
        self._whole = rxfilename, samples, rate
        return samples[_span(segment, rate, len(samples), rxfilename)], rate


def _span(segment: Segment, rate: int, num_samples: int, name: str) -> slice:
    """Samples of a segment, rounded down as Kaldi's extract-segments does."""
    start = int(segment.start * rate)
    end = num_samples if segment.end == -1 else int(segment.end * rate)
    if start >= num_samples or end - num_samples >= _MAX_OVERSHOOT * rate:
        where = f"segment {segment.start:g} to {segment.end:g} s"
        raise DataError(f"{where} is not in the recording, which has {num_samples / rate:g} s", name)
    return slice(start, min(end, num_samples))
