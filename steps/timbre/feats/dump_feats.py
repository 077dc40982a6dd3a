"""Features of a whole data directory, in jobs: feats.scp with its arks, and what later steps need beside it.

Called by make_fbank.py, make_mfcc.py and make_spectrogram.py.
"""

import logging
import zlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from timbre.audio.kaldi_resampling import kaldi_resample
from timbre.audio.reading import AudioReader
from timbre.datadir.ark import ArkWriter, Compression
from timbre.datadir.datadir import DataDir, Segment
from timbre.datadir.tables import write_table
from timbre.feats.options import FrameOptions
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_path, atomic_write
from timbre.utils.jobs import run_jobs, split_jobs

if TYPE_CHECKING:
    from timbre.feats.extractor import FeatureExtractor

Device = Literal["cpu", "cuda"]

BATCH_SECONDS: dict[Device, int] = {"cpu": 30, "cuda": 900}  # audio that goes through the extractor at once
_OUTPUTS = ("feats.scp", "energy.scp", "utt2num_frames", "utt2dur", "frame_shift")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Utterance:
    utt: str
    rxfilename: str
    segment: Segment | None


@dataclass(frozen=True)
class _Job:
    number: int
    utterances: Sequence[_Utterance]
    options: FrameOptions
    compression: Compression
    device: Device
    directory: Path


@dataclass
class _Tables:
    """What a job has made: {utterance: value} of each table, and {utterance: reason} of what it could not do."""

    feats: dict[str, str] = field(default_factory=dict)
    energy: dict[str, str] = field(default_factory=dict)
    num_frames: dict[str, str] = field(default_factory=dict)
    duration: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def update(self, other: "_Tables") -> None:
        for name, table in vars(self).items():
            table.update(getattr(other, name))


def dump_features(
    data: DataDir,
    options: FrameOptions,
    nj: int,
    compression: Compression = "none",
    device: Device = "cpu",
    allow_missing: int = 0,
) -> None:
    """Writes feats.scp, utt2num_frames, utt2dur, frame_shift and conf/feats.yaml, with the arks under arks/feats/.

    Where column 0 of the features is not the log energy of the frame, energy.scp has it, so that the energy VAD works
    for every kind of features. The values do not depend on nj.

    Args:
        data: the data directory; it must have wav.scp
        options: what to compute
        nj: number of jobs
        compression: of the arks
        device: where the features are computed
        allow_missing: number of utterances that may fail; they are listed and left out

    Raises:
        DataError: more utterances failed; each is listed with its reason, and no table is written
    """
    if not data.wavs:
        raise DataError("features need audio, but there is no wav.scp", data.path)
    arks = data.path / "arks" / "feats"
    with atomic_path(arks) as directory:
        directory.mkdir(parents=True)
        jobs = [
            _Job(number, utterances, options, compression, device, directory)
            for number, utterances in enumerate(_split(data), start=1)
        ]
        tables = _Tables()
        for result in run_jobs(_compute, jobs, nj, f"{options.kind} {data.path}"):
            tables.update(result)
        _check_failures(data, tables, allow_missing)
        for name in _OUTPUTS:  # from here to the end there is no half-new directory, only one without features
            (data.path / name).unlink(missing_ok=True)
    write_table(data.path / "utt2num_frames", tables.num_frames)
    write_table(data.path / "utt2dur", tables.duration)
    with atomic_write(data.path / "frame_shift") as file:
        file.write(f"{options.shift / options.sample_frequency:g}\n")
    with atomic_write(data.path / "conf" / "feats.yaml") as file:
        yaml.safe_dump(options.to_dict(), file, sort_keys=False)
    if tables.energy:
        write_table(data.path / "energy.scp", _moved(tables.energy, directory, arks))
    write_table(data.path / "feats.scp", _moved(tables.feats, directory, arks))


def _split(data: DataDir) -> list[Sequence[_Utterance]]:
    """Utterances by job, those of a recording side by side; the same for every nj, so that the arks are too."""
    utterances = [_Utterance(utt, *data.recording_of(utt)) for utt in data.utts]
    if data.segments:
        utterances.sort(key=lambda item: (item.segment.recording, item.segment.start) if item.segment else ("", 0.0))
    job_size = min(max(len(utterances) // 64, 8), 256)
    return split_jobs(utterances, -(-len(utterances) // job_size))


def _compute(job: _Job) -> _Tables:
    tables = _Tables()
    extractor = _extractor(job.options, job.device)
    feats_writer = ArkWriter(job.directory / f"feats.{job.number}.ark", job.compression)
    energy_writer = None if job.options.energy_first else ArkWriter(job.directory / f"energy.{job.number}.ark")
    with feats_writer, energy_writer or nullcontext():
        for batch in _batches(job, tables):
            waves = [wave for _, wave in batch]
            results = extractor.with_energy(waves, [zlib.crc32(utt.encode()) for utt, _ in batch])
            for (utt, wave), feats, energy in zip(batch, *results, strict=True):
                if len(feats) == 0:
                    tables.failures[utt] = f"{len(wave)} samples are less than one frame"
                    continue
                feats_writer.write(utt, feats.cpu().numpy())
                tables.num_frames[utt] = str(len(feats))
                tables.duration[utt] = f"{len(wave) / job.options.sample_frequency:g}"
                if energy_writer:
                    energy_writer.write(utt, energy.cpu().numpy())
    tables.feats, tables.energy = feats_writer.scp, energy_writer.scp if energy_writer else {}
    return tables


@lru_cache(maxsize=1)
def _extractor(options: FrameOptions, device: Device) -> "FeatureExtractor":
    """One for all jobs of a process, made where torch is needed: a step's --help does without."""
    from timbre.feats.extractor import FeatureExtractor

    return FeatureExtractor(options, device)


def _batches(job: _Job, tables: _Tables) -> Iterator[list[tuple[str, NDArray[np.float32]]]]:
    """(utterance, samples) in groups of about BATCH_SECONDS; what cannot be read is noted in TABLES."""
    reader = AudioReader(job.options.channel)
    batch: list[tuple[str, NDArray[np.float32]]] = []
    size, full = 0, BATCH_SECONDS[job.device] * job.options.sample_frequency
    for item in job.utterances:
        try:
            samples = read_samples(reader, item.rxfilename, item.segment, job.options)
        except DataError as error:
            tables.failures[item.utt] = str(error)
            continue
        batch.append((item.utt, samples))
        size += len(samples)
        if size >= full:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def read_samples(
    reader: AudioReader, rxfilename: str, segment: Segment | None, options: FrameOptions
) -> NDArray[np.float32]:
    """What features with OPTIONS are computed of: (num_samples,) in [-1, 1) at their sample rate.

    Raises:
        DataError: it cannot be read, or has another sample rate and OPTIONS do not allow for it
    """
    samples, rate = reader.read(rxfilename, segment)
    wanted = int(options.sample_frequency)
    if rate == wanted:
        return samples
    if options.is_wrong_rate(rate):
        option = "allow_downsample" if rate > wanted else "allow_upsample"
        advice = f"set {option}, or resample with steps/preprocess_audio.py"
        raise DataError(f"sample rate is {rate} Hz, {wanted} Hz is wanted; {advice}", rxfilename)
    return kaldi_resample(samples, rate, wanted)


def _check_failures(data: DataDir, tables: _Tables, allow_missing: int) -> None:
    failures = tables.failures
    for utt, reason in sorted(failures.items()):
        log.warning("%s: %s", utt, reason)
    if not tables.feats or len(failures) > allow_missing:
        utt, reason = min(failures.items())
        text = f"{len(failures)} of {len(data.utts)} utterances failed, {allow_missing} may (--allow-missing)"
        raise DataError(f"{text}; the first is '{utt}': {reason}", data.path)
    if failures:
        log.warning("%s: %d of %d utterances failed and are left out", data.path, len(failures), len(data.utts))


def _moved(table: dict[str, str], old: Path, new: Path) -> dict[str, str]:
    return {key: str(new) + place.removeprefix(str(old)) for key, place in table.items()}
