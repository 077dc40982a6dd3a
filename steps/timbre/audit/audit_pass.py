"""One pass over the audio of a data directory, for the audit: facts of each utterance, and what its frames look like
with and without speech. Called by audit_data.py; goes on where it was stopped, and does again only what has changed."""

import hashlib
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timbre.audio.reading import AudioReader
from timbre.audit.audit_table import HEADER, audit_line
from timbre.datadir.ark import ArkWriter
from timbre.datadir.datadir import DataDir, Segment
from timbre.datadir.tables import read_table, write_table
from timbre.feats.mean_std import frame_statistics
from timbre.feats.options import MfccOptions, require
from timbre.feats.recorded import voiced_frames
from timbre.feats.vad import VadOptions
from timbre.runtime.facts import AudioFacts, measure
from timbre.runtime.kaldi_resampling import kaldi_resample
from timbre.runtime.sound import Samples
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write, remove_temporaries
from timbre.utils.jobs import run_jobs

KINDS = ("speech", "nonspeech")
_VERSION = 1  # of what a part holds: another makes all parts anew
_BATCH_SECONDS = 30  # of audio that go through the extractor at once
_MADE = re.compile(r"[0-9a-f]{24}\.(tsv|(speech|nonspeech)\.(ark|scp))")
_MEAN_SIZE = 256  # utterances in a part


@dataclass(frozen=True)
class ListenOptions:
    """How frames are told apart and described.

    Args:
        mfcc: features whose mean and standard deviation describe an utterance, without any normalisation
        vad: what tells speech from the rest
        guard: frames beside a frame of speech that count as neither, for its sound dies away in the room
    """

    mfcc: MfccOptions
    vad: VadOptions
    guard: int = 0

    def __post_init__(self) -> None:
        require(self.guard >= 0, f"guard is {self.guard}; it must not be negative")


@dataclass(frozen=True)
class _Item:
    utt: str
    rxfilename: str
    segment: Segment | None


@dataclass(frozen=True)
class _Part:
    """Utterances whose results are STEM.tsv and STEM.{speech,nonspeech}.{ark,scp}; the table is written last."""

    items: Sequence[_Item]
    stem: Path
    options: ListenOptions

    @property
    def table(self) -> Path:
        return _beside(self.stem, "tsv")


def audit_audio(data: DataDir, out_dir: Path, options: ListenOptions, nj: int) -> None:
    """Writes OUT_DIR/utt2audit.tsv and OUT_DIR/{speech,nonspeech}.scp, vectors of the means, then the deviations.

    Each recording is decoded once. What cannot be read gets a line that says why; an utterance has no vector of a kind
    of frame that it lacks. Results are kept in OUT_DIR/parts, by utterance, place, size and time of change of the file
    (of a command: the command alone) and options: parts of which all this is as it was are not computed again.

    Raises:
        DataError: no wav.scp
    """
    if not data.wavs:
        raise DataError("an audit needs audio, but there is no wav.scp", data.path)
    folder = out_dir / "parts"
    parts = [_Part(items, folder / _digest(items, options), options) for items in _split(data)]
    run_jobs(_listen, [part for part in parts if not part.table.exists()], nj, f"audit {data.path}", "part")
    with atomic_write(out_dir / "utt2audit.tsv") as file:
        file.write(HEADER)
        for part in parts:
            file.write(part.table.read_text(encoding="utf-8"))
    for kind in KINDS:
        write_table(out_dir / f"{kind}.scp", dict(_entries(parts, kind)))
    kept = {part.stem.name for part in parts}
    remove_temporaries(folder, of_others=True)  # of workers that were lost, on a cluster
    for path in folder.iterdir():
        if _MADE.fullmatch(path.name) and path.name.partition(".")[0] not in kept:
            path.unlink()


def _split(data: DataDir) -> Iterator[list[_Item]]:
    """Utterances by part, those of a recording side by side.

    Where a part ends depends on the ids near it, not on their number: one more utterance changes one part, not all
    that come after it.
    """
    items = [_Item(utt, *data.recording_of(utt)) for utt in data.utts]
    if data.segments:
        items.sort(key=lambda item: (item.segment.recording, item.segment.start) if item.segment else ("", 0.0))
    part: list[_Item] = []
    for item in items:
        part.append(item)
        if zlib.crc32(item.utt.encode()) % _MEAN_SIZE == 0 or len(part) == 4 * _MEAN_SIZE:
            yield part
            part = []
    if part:
        yield part


def _digest(items: Sequence[_Item], options: ListenOptions) -> str:
    state = hashlib.sha256(f"{_VERSION} {options}".encode())
    for item in items:
        state.update(f"\n{item.utt} {item.segment} {item.rxfilename}".encode())
        try:
            status = os.stat(item.rxfilename)
            state.update(f" {status.st_size} {status.st_mtime_ns}".encode())
        except OSError:
            state.update(b" absent")
    return state.hexdigest()[:24]


def _entries(parts: Sequence[_Part], kind: str) -> Iterator[tuple[str, str]]:
    """The scp of the arks of a KIND of all parts, wherever the folder was called from when they were written."""
    for part in parts:
        ark = _beside(part.stem, f"{kind}.ark")
        for utt, place in read_table(_beside(part.stem, f"{kind}.scp")).items():
            yield utt, f"{ark}:{place.rpartition(':')[2]}"


def _beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(f"{stem.name}.{suffix}")


def _listen(part: _Part) -> None:
    from timbre.feats.extractor import FeatureExtractor  # torch: not for a step's --help

    extractor = FeatureExtractor(part.options.mfcc)
    lines: dict[str, str] = {}
    speech, nonspeech = (ArkWriter(_beside(part.stem, f"{kind}.ark")) for kind in KINDS)
    with speech, nonspeech:
        for batch in _batches(part, lines):
            feats, energies = extractor.with_energy([wave for _, wave, _ in batch])
            for (item, wave, facts), matrix, energy in zip(batch, feats, energies, strict=True):
                voiced = _voiced(part.options, energy.numpy(), wave)
                silent = ~_widened(voiced, part.options.guard)
                for writer, chosen in ((speech, voiced), (nonspeech, silent)):
                    if chosen.any():
                        writer.write(item.utt, frame_statistics(matrix.numpy()[chosen]))
                frames = int(voiced.sum()), int(silent.sum())
                lines[item.utt] = audit_line(item.utt, item.rxfilename, facts, frames)
    for writer in (speech, nonspeech):
        write_table(writer.path.with_suffix(".scp"), writer.scp)
    with atomic_write(part.table) as file:
        file.writelines(lines[item.utt] for item in part.items)


def _voiced(options: ListenOptions, energy: NDArray[np.float32], wave: Samples) -> NDArray[np.bool_]:
    return voiced_frames(options.vad, energy, lambda: wave, options.mfcc)


def _widened(voiced: NDArray[np.bool_], guard: int) -> NDArray[np.bool_]:
    """VOICED (num_frames,), and GUARD frames on each side of what it marks."""
    if not guard or not len(voiced):
        return voiced
    near: NDArray[np.bool_] = np.convolve(voiced, np.ones(2 * guard + 1))[guard:-guard] > 0.5
    return near


def _batches(part: _Part, lines: dict[str, str]) -> Iterator[list[tuple[_Item, Samples, AudioFacts]]]:
    """(utterance, samples as the features want them, facts) in groups; what cannot be read gets its line in LINES."""
    rate = int(part.options.mfcc.sample_frequency)
    reader = AudioReader(part.options.mfcc.channel)
    batch: list[tuple[_Item, Samples, AudioFacts]] = []
    seconds = 0.0
    for item in part.items:
        try:
            samples, found = reader.read(item.rxfilename, item.segment)
        except DataError as error:
            lines[item.utt] = audit_line(item.utt, item.rxfilename, problem=error.message)
            continue
        facts = measure(samples, found)
        batch.append((item, samples if found == rate else kaldi_resample(samples, found, rate), facts))
        seconds += facts.seconds
        if seconds >= _BATCH_SECONDS:
            yield batch
            batch, seconds = [], 0.0
    if batch:
        yield batch
