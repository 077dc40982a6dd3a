"""New audio files from old ones through effects, in jobs. Called by preprocess.py and augmented_copies.py."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from timbre.audio.effects import Chain, generator
from timbre.audio.effects.base import NotedRng
from timbre.audio.reading import AudioReader
from timbre.datadir.datadir import Segment
from timbre.runtime.sound import Samples
from timbre.utils.errors import DataError
from timbre.utils.missing import Allowed, check_missing, count_allowed
from timbre.utils.parts import Result, kept_parts, make_parts

AudioFormat = Literal["flac", "wav"]

_VERSION = 2  # of what is made: another makes everything anew
_MEAN_SIZE = 64  # files in a part

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Item:
    """A file to make: its name, the recording or segment that it is made of, and who speaks in it (or "")."""

    name: str
    place: str
    segment: Segment | None = None
    speaker: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """The recording, if it is a file."""
        return () if self.place.endswith("|") else (self.place,)


@dataclass(frozen=True)
class Dumped:
    """What was made: name -> file, name -> seconds, the names whose number of samples the effects changed, and what
    the effects drew: what it is called -> name -> value.
    """

    places: dict[str, str]
    seconds: dict[str, float]
    changed: frozenset[str]
    drawn: dict[str, dict[str, str]]


@contextmanager
def dump_audio(
    items: Sequence[Item],
    out_dir: Path,
    chain: Chain,
    nj: int,
    rate: int | None = None,
    channel: int = -1,
    seed: int = 0,
    audio_format: AudioFormat = "flac",
    allow_missing: Allowed = 0,
) -> Iterator[Dumped]:
    """Writes a 16-bit file below OUT_DIR/audio for each of ITEMS; files that were made before of the same are kept.

    Yields what was made; files of before that are none of these are removed when the block ends well. A file that would
    be louder than 16 bits can hold is made softer as a whole, and counted in the log.

    Args:
        items: what to make of what
        out_dir: the new data directory
        chain: what happens to each
        nj: number of jobs; it does not change the files
        rate: sample rate to resample to before the effects; None keeps each as it is
        channel: of audio with several, from 0; -1: the audio must be mono
        seed: of all that is random; each file has its own numbers, from the seed and its name
        audio_format: of the new files
        allow_missing: number or share of the items that may fail

    Raises:
        DataError: more failed; OUT_DIR/audio.missing lists each with its reason
    """
    count_allowed(allow_missing, len(items))
    recipe = f"audio {_VERSION} {chain.recipe()} {rate} {channel} {seed} {audio_format}"
    with kept_parts(out_dir / "audio", items, recipe, _MEAN_SIZE) as parts:
        work = partial(_process, chain=chain, rate=rate, channel=channel, seed=seed, audio_format=audio_format)
        results = make_parts(parts, work, nj, f"audio {out_dir}")
        failures = {name: reason for result in results for name, reason in result["failures"].items()}
        check_missing(failures, len(items), allow_missing, out_dir / "audio.missing", "audio", "recordings")
        if num_loud := sum(result["num_loud"] for result in results):
            text = "%s: %d of %d files were made softer, or they would have clipped"
            log.warning(text, out_dir, num_loud, len(items))
        yield Dumped(
            {
                name: str(part.folder / file)
                for part, result in zip(parts, results, strict=True)
                for name, file in result["files"].items()
            },
            {name: seconds for result in results for name, seconds in result["seconds"].items()},
            frozenset(name for result in results for name in result["changed"]),
            _by_label(name_and_notes for result in results for name_and_notes in result["drawn"].items()),
        )


def _by_label(notes: Iterable[tuple[str, dict[str, str]]]) -> dict[str, dict[str, str]]:
    tables: dict[str, dict[str, str]] = {}
    for name, drawn in notes:
        for label, value in drawn.items():
            tables.setdefault(label, {})[name] = value
    return tables


def _process(
    items: Sequence[Item],
    folder: Path,
    chain: Chain,
    rate: int | None,
    channel: int,
    seed: int,
    audio_format: AudioFormat,
) -> Result:
    files: dict[str, str] = {}
    seconds: dict[str, float] = {}
    changed: list[str] = []
    failures: dict[str, str] = {}
    drawn: dict[str, dict[str, str]] = {}
    reader, num_loud = AudioReader(channel), 0
    for item in items:
        try:
            before, found = reader.read(item.place, item.segment, rate)
            rng = NotedRng(generator(seed, 0, item.name))
            samples = chain(before, found, rng, item.speaker)
            _check(samples)
        except DataError as error:
            failures[item.name] = str(error)
            continue
        integers, is_loud = to_int16(samples)
        num_loud += is_loud
        file = f"{item.name.replace('%', '%25').replace('/', '%2F')}.{audio_format}"
        encoded = BytesIO()
        soundfile.write(encoded, integers, found, format=audio_format.upper(), subtype="PCM_16")
        (folder / file).write_bytes(encoded.getvalue())  # a full disk is an OSError here, not in libsndfile
        files[item.name] = file
        seconds[item.name] = len(samples) / found
        drawn[item.name] = rng.notes
        if len(samples) != len(before):
            changed.append(item.name)
    made = {"files": files, "seconds": seconds, "changed": changed, "drawn": drawn}
    return {"failures": failures, "num_loud": num_loud} | made


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
