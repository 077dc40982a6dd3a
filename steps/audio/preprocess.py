"""Resampled and filtered copies of the audio of a data directory, in jobs. Called by preprocess_audio.py."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from steps.audio.filters import BandpassOptions, butter_bandpass
from steps.audio.reading import read_audio
from steps.datadir.contents import Contents
from steps.datadir.datadir import DataDir
from steps.utils.errors import DataError
from steps.utils.files import atomic_path
from steps.utils.jobs import run_jobs, split_jobs

_OF_OLD_AUDIO = ("feats.scp", "energy.scp", "vad.scp", "cmvn.scp", "utt2num_frames", "frame_shift", "conf/feats.yaml")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    recordings: Sequence[tuple[str, str]]
    rate: int | None
    bandpass: BandpassOptions | None
    channel: int
    format: str
    directory: Path


@dataclass(frozen=True)
class _Result:
    written: Mapping[str, str]
    failures: Mapping[str, str]
    num_clipped: int


def preprocess_audio(
    data: DataDir,
    out_dir: Path,
    nj: int,
    rate: int | None = None,
    bandpass: BandpassOptions | None = None,
    channel: int = -1,
    audio_format: Literal["flac", "wav"] = "flac",
) -> None:
    """Writes OUT_DIR: every recording of DATA as a 16-bit file under OUT_DIR/audio, and the tables that go with them.

    Args:
        data: the data directory; it must have wav.scp
        out_dir: the new one
        nj: number of jobs
        rate: sample rate to resample to; None keeps it
        bandpass: filter after the resampling; None for none
        channel: of audio with several, from 0; -1: the audio must be mono
        audio_format: of the new files

    Raises:
        DataError: a recording failed; each is listed with its reason, and OUT_DIR gets no table
    """
    if not data.wavs:
        raise DataError("there is no wav.scp", data.path)
    if out_dir.resolve() == data.path.resolve():
        raise DataError("the new data directory must not be the old one", out_dir)
    if rate is not None and rate < 1:
        raise DataError(f"rate is {rate}; it must be at least 1 Hz")
    if rate is not None and bandpass is not None:
        bandpass.check_rate(rate)
    audio = out_dir / "audio"
    with atomic_path(audio) as directory:
        directory.mkdir(parents=True)
        recordings = sorted(data.wavs.items())
        parts = split_jobs(recordings, -(-len(recordings) // 64))
        jobs = [_Job(part, rate, bandpass, channel, audio_format, directory) for part in parts]
        results = run_jobs(_process, jobs, nj, f"audio {data.path}")
        failures = {name: reason for result in results for name, reason in result.failures.items()}
        for name, reason in sorted(failures.items()):
            log.warning("%s: %s", name, reason)
        if failures:
            name, reason = min(failures.items())
            text = f"{len(failures)} of {len(recordings)} recordings failed; the first is '{name}': {reason}"
            raise DataError(text, data.path)
    wavs = {name: str(audio / file) for result in results for name, file in result.written.items()}
    contents = Contents.read(data.path).drop(_OF_OLD_AUDIO)
    replace(contents, tables=contents.tables | {"wav.scp": wavs}).write(out_dir)
    if num_clipped := sum(result.num_clipped for result in results):
        log.warning("%s: %d samples were clipped", out_dir, num_clipped)


def _process(job: _Job) -> _Result:
    written, failures, num_clipped = {}, {}, 0
    for name, rxfilename in job.recordings:
        try:
            samples, rate = read_audio(rxfilename, rate=job.rate, channel=job.channel)
            if job.bandpass is not None:
                samples = butter_bandpass(samples, rate, **asdict(job.bandpass))
        except DataError as error:
            failures[name] = str(error)
            continue
        num_clipped += int(np.count_nonzero((samples >= 1) | (samples < -1)))
        file = f"{_file_name(name)}.{job.format}"
        encoded = BytesIO()
        soundfile.write(encoded, to_int16(samples), rate, format=job.format.upper(), subtype="PCM_16")
        (job.directory / file).write_bytes(encoded.getvalue())  # a full disk is an OSError here, not in libsndfile
        written[name] = file
    return _Result(written, failures, num_clipped)


def to_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Float SAMPLES in [-1, 1) as int16: rounded, and clipped where they exceed it (a plain cast would wrap around)."""
    return np.asarray(np.clip(np.rint(samples * np.float32(32768)), -32768, 32767), dtype=np.int16)


def _file_name(recording: str) -> str:
    return recording.replace("%", "%25").replace("/", "%2F")
