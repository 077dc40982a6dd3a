"""Features of a whole data directory, in jobs: feats.scp with its arks, and what later steps need beside it.

Called by make_fbank.py, make_mfcc.py and make_spectrogram.py.
"""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from timbre.audio.reading import AudioReader
from timbre.datadir.ark import ArkWriter, Compression
from timbre.datadir.datadir import DataDir, Segment
from timbre.datadir.tables import write_table
from timbre.feats.ark_parts import arks_named, merge, offsets, places
from timbre.feats.options import FrameOptions
from timbre.runtime.kaldi_resampling import kaldi_resample
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write
from timbre.utils.missing import Allowed, check_missing, count_allowed
from timbre.utils.parts import Result, kept_parts, make_parts, part_size

if TYPE_CHECKING:
    from timbre.feats.extractor import FeatureExtractor

Device = Literal["cpu", "cuda"]

BATCH_SECONDS: dict[Device, int] = {"cpu": 30, "cuda": 900}  # audio that goes through the extractor at once
_VERSION = 1  # of what is computed: another makes everything anew
_OUTPUTS = ("feats.scp", "energy.scp", "utt2num_frames", "utt2dur", "frame_shift")


@dataclass(frozen=True)
class _Utterance:
    name: str
    rxfilename: str
    segment: Segment | None

    @property
    def sources(self) -> tuple[str, ...]:
        return () if self.rxfilename.endswith("|") else (self.rxfilename,)


def dump_features(
    data: DataDir,
    options: FrameOptions,
    nj: int,
    compression: Compression = "none",
    device: Device = "cpu",
    allow_missing: Allowed = 0,
) -> None:
    """Writes feats.scp, utt2num_frames, utt2dur, frame_shift and conf/feats.yaml, with the arks under arks/feats/.

    Where column 0 of the features is not the log energy of the frame, energy.scp has it, so that the energy VAD works
    for every kind of features. The values do not depend on nj. Arks of utterances of which neither audio nor options
    have changed since they were made are kept.

    Args:
        data: the data directory; it must have wav.scp
        options: what to compute
        nj: number of jobs
        compression: of the arks
        device: where the features are computed
        allow_missing: number or share of utterances that may fail; they are listed in feats.missing and left out

    Raises:
        DataError: more utterances failed; feats.missing lists each with its reason, and no other table is written
    """
    if not data.wavs:
        raise DataError("features need audio, but there is no wav.scp", data.path)
    items = [_Utterance(utt, *data.recording_of(utt)) for utt in data.utts]
    count_allowed(allow_missing, len(items))
    if data.segments:  # those of a recording side by side
        items.sort(key=lambda item: (item.segment.recording, item.segment.start) if item.segment else ("", 0.0))
    arks = data.path / "arks" / "feats"
    recipe = f"features {_VERSION} {options} {compression} {device}"
    with kept_parts(arks, items, recipe, part_size(len(items), 256)) as parts:
        work = partial(_compute, options=options, compression=compression, device=device)
        results = make_parts(parts, work, nj, f"{options.kind} {data.path}")
        tables = {name: merge(results, name) for name in ("failures", "num_frames", "duration")}
        check_missing(tables["failures"], len(items), allow_missing, data.path / "feats.missing", "features")
        replaced = arks_named(arks, data.path / "feats.scp", data.path / "energy.scp")
        for name in _OUTPUTS:  # from here to the end there is no half-new directory, only one without features
            (data.path / name).unlink(missing_ok=True)
        write_table(data.path / "utt2num_frames", tables["num_frames"])
        write_table(data.path / "utt2dur", tables["duration"])
        with atomic_write(data.path / "frame_shift") as file:
            file.write(f"{options.shift / options.sample_frequency:g}\n")
        with atomic_write(data.path / "conf" / "feats.yaml") as file:
            yaml.safe_dump(options.to_dict(), file, sort_keys=False)
        for name in ("feats",) if options.energy_first else ("energy", "feats"):
            write_table(data.path / f"{name}.scp", places(parts, results, name))
        for path in replaced:
            path.unlink(missing_ok=True)


def _compute(
    items: Sequence[_Utterance], folder: Path, options: FrameOptions, compression: Compression, device: Device
) -> Result:
    """Writes feats.ark and, if need be, energy.ark of ITEMS into FOLDER."""
    num_frames: dict[str, str] = {}
    duration: dict[str, str] = {}
    failures: dict[str, str] = {}
    extractor = _extractor(options, device)
    feats_writer = ArkWriter(folder / "feats.ark", compression)
    energy_writer = None if options.energy_first else ArkWriter(folder / "energy.ark")
    with feats_writer, energy_writer or nullcontext():
        for batch in _batches(items, options, device, failures):
            waves = [wave for _, wave in batch]
            results = extractor.with_energy(waves, [zlib.crc32(utt.encode()) for utt, _ in batch])
            for (utt, wave), feats, energy in zip(batch, *results, strict=True):
                if len(feats) == 0:
                    failures[utt] = f"{len(wave)} samples are less than one frame"
                    continue
                feats_writer.write(utt, feats.cpu().numpy())
                num_frames[utt] = str(len(feats))
                duration[utt] = f"{len(wave) / options.sample_frequency:g}"
                if energy_writer:
                    energy_writer.write(utt, energy.cpu().numpy())
    writers = {"feats": feats_writer} | ({"energy": energy_writer} if energy_writer else {})
    return {"failures": failures, "num_frames": num_frames, "duration": duration, **offsets(writers)}


@lru_cache(maxsize=1)
def _extractor(options: FrameOptions, device: Device) -> "FeatureExtractor":
    """One for all jobs of a process, made where torch is needed: a step's --help does without."""
    from timbre.feats.extractor import FeatureExtractor

    return FeatureExtractor(options, device)


def _batches(
    items: Sequence[_Utterance], options: FrameOptions, device: Device, failures: dict[str, str]
) -> Iterator[list[tuple[str, NDArray[np.float32]]]]:
    """(utterance, samples) in groups of about BATCH_SECONDS; what cannot be read is noted in FAILURES."""
    reader = AudioReader(options.channel)
    batch: list[tuple[str, NDArray[np.float32]]] = []
    size, full = 0, BATCH_SECONDS[device] * options.sample_frequency
    for item in items:
        try:
            samples = read_samples(reader, item.rxfilename, item.segment, options)
        except DataError as error:
            failures[item.name] = str(error)
            continue
        batch.append((item.name, samples))
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
