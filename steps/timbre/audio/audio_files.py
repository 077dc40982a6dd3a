"""New audio files from old ones through effects, in jobs. Called by preprocess.py and augmented_copies.py."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from timbre.audio.effects import Chain, generator
from timbre.audio.reading import AudioReader, Samples
from timbre.datadir.datadir import Segment
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_path
from timbre.utils.jobs import run_jobs, split_jobs

AudioFormat = Literal["flac", "wav"]

_JOB_SIZE = 64  # files

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """A file to make: its name, the recording or segment that it is made of, and who speaks in it (or "")."""

    name: str
    place: str
    segment: Segment | None = None
    speaker: str = ""


@dataclass(frozen=True)
class Dumped:
    """What was made: name -> file, name -> seconds, and the names whose number of samples the effects changed."""

    places: dict[str, str]
    seconds: dict[str, float]
    changed: frozenset[str]


@dataclass(frozen=True)
class _Job:
    items: Sequence[Item]
    chain: Chain
    rate: int | None
    channel: int
    seed: int
    format: AudioFormat
    directory: Path


@dataclass(frozen=True)
class _Result:
    files: dict[str, str]
    seconds: dict[str, float]
    changed: set[str]
    failures: dict[str, str]
    num_loud: int


def dump_audio(
    data_dir: Path,
    items: Sequence[Item],
    directory: Path,
    chain: Chain,
    nj: int,
    rate: int | None = None,
    channel: int = -1,
    seed: int = 0,
    audio_format: AudioFormat = "flac",
) -> Dumped:
    """Writes a 16-bit file into DIRECTORY (new, or replaced as a whole) for each of ITEMS.

    A file that would be louder than 16 bits can hold is made softer as a whole, and counted in the log.

    Args:
        data_dir: where the items are from, for messages
        items: what to make of what
        directory: of the files
        chain: what happens to each
        nj: number of jobs; it does not change the files
        rate: sample rate to resample to before the effects; None keeps each as it is
        channel: of audio with several, from 0; -1: the audio must be mono
        seed: of all that is random; each file has its own numbers, from the seed and its name
        audio_format: of the new files

    Raises:
        DataError: some failed; each is listed with its reason, and DIRECTORY is as it was before
    """
    with atomic_path(directory) as temporary:
        temporary.mkdir(parents=True)
        parts = split_jobs(items, -(-len(items) // _JOB_SIZE))
        jobs = [_Job(part, chain, rate, channel, seed, audio_format, temporary) for part in parts]
        results = run_jobs(_process, jobs, nj, f"audio {directory}")
        failures = {name: reason for result in results for name, reason in result.failures.items()}
        for name, reason in sorted(failures.items()):
            log.warning("%s: %s", name, reason)
        if failures:
            name, reason = min(failures.items())
            text = f"{len(failures)} of {len(items)} recordings failed; the first is '{name}': {reason}"
            raise DataError(text, data_dir)
    if num_loud := sum(result.num_loud for result in results):
        log.warning("%s: %d of %d files were made softer, or they would have clipped", directory, num_loud, len(items))
    return Dumped(
        {name: str(directory / file) for result in results for name, file in result.files.items()},
        {name: seconds for result in results for name, seconds in result.seconds.items()},
        frozenset().union(*(result.changed for result in results)),
    )


def _process(job: _Job) -> _Result:
    result = _Result({}, {}, set(), {}, 0)
    reader, num_loud = AudioReader(job.channel), 0
    for item in job.items:
        try:
            samples, rate = reader.read(item.place, item.segment, job.rate)
            changed = job.chain(samples, rate, generator(job.seed, 0, item.name), item.speaker)
            _check(changed)
        except DataError as error:
            result.failures[item.name] = str(error)
            continue
        integers, is_loud = to_int16(changed)
        num_loud += is_loud
        file = f"{item.name.replace('%', '%25').replace('/', '%2F')}.{job.format}"
        encoded = BytesIO()
        soundfile.write(encoded, integers, rate, format=job.format.upper(), subtype="PCM_16")
        (job.directory / file).write_bytes(encoded.getvalue())  # a full disk is an OSError here, not in libsndfile
        result.files[item.name] = file
        result.seconds[item.name] = len(changed) / rate
        if len(changed) != len(samples):
            result.changed.add(item.name)
    return _Result(result.files, result.seconds, result.changed, result.failures, num_loud)


def _check(samples: Samples) -> None:
    if not len(samples):
        raise DataError("the effects leave no sample")
    if not np.isfinite(samples.sum()):
        raise DataError("the effects give NaN or infinite samples")


def to_int16(samples: Samples) -> tuple[NDArray[np.int16], bool]:
    """SAMPLES (num_samples,), full scale at 1, as 16-bit integers, and whether they were made softer to fit.

    What exceeds the range is scaled down as a whole: clipping would distort it, and a plain cast would wrap around.
    """
    scaled = samples * np.float32(32768)
    peak = float(np.abs(scaled).max(initial=0))
    is_loud = peak >= 32768.5
    if is_loud:
        scaled *= np.float32(32767 / peak)
    return np.clip(np.rint(scaled), -32768, 32767).astype(np.int16), is_loud
