"""Where effects take noise, music, speech and impulse responses from: data directories, read by seeking.

A two-second piece of an hour of noise costs two seconds of decoding. Built by build.py, used by noise.py and reverb.py.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import soundfile

from timbre.audio.effects.base import Rng, power
from timbre.audio.effects.decoded import Decoded, Int16s
from timbre.audio.reading import AUDIO_SUFFIXES, read_audio
from timbre.datadir.contents import place_from
from timbre.datadir.datadir import DataDir, Segment
from timbre.runtime.sound import Samples, resample
from timbre.utils.errors import DataError
from timbre.utils.fingerprint import digest

KINDS = ("noise", "music", "speech", "rir")
_CACHE_BYTES = 1 << 26  # of recordings that are wanted whole, in each process
_LONGEST_KEPT = 600  # seconds of a recording that is decoded as a whole for a piece of it
_TRIES = 10  # pieces drawn before silence is taken for an answer
_SILENCE = 1e-10  # mean square; below one step of 16 bits


@dataclass(frozen=True)
class _Recording:
    place: str
    segment: Segment | None
    speaker: str


class Pool:
    """Recordings to draw from: each directory is as likely as the next, and each recording in it.

    Args:
        directories: data directories (wav.scp; segments and utt2spk where they have them), or folders of audio files.
            Relative paths start at the working directory or, where that has no such file, at the folder above data/
        decoded: where recordings that are slow to read are kept once they have been decoded

    Raises:
        DataError: no such directory, a malformed one, or nothing in it
    """

    def __init__(self, directories: Sequence[Path], decoded: Decoded | None = None) -> None:
        self._directories, self._decoded = tuple(directories), decoded
        self._groups = [_list(directory) for directory in directories]
        self._cache: OrderedDict[str, tuple[Samples, int]] = OrderedDict()
        self._cached = 0
        self._long: set[str] = set()

    def piece(self, rng: Rng, num_samples: int, rate: int, loop: bool = True) -> Samples:
        """NUM_SAMPLES of a random recording, from a random place on; channel 0 where there are several.

        A shorter recording begins again, or with LOOP false is given as it is. Silent pieces are drawn again.
        """
        return _first_heard(lambda: self._read(self._any(rng), rng, num_samples, rate, loop))

    def voices(self, rng: Rng, count: int, num_samples: int, rate: int, speaker: str) -> list[Samples]:
        """COUNT pieces as `piece`, each of another speaker than SPEAKER and, where there are so many, than the rest.

        Raises:
            DataError: everything is of SPEAKER
        """
        pieces: list[Samples] = []
        taken = {speaker}
        while len(pieces) < count:
            recording = self._other(rng, taken) or self._other(rng, {speaker})
            if recording is None:
                raise DataError(f"babble for '{speaker}': the speech is all of the same speaker")
            taken.add(recording.speaker)
            pieces.append(_first_heard(partial(self._read, recording, rng, num_samples, rate, True)))
        return pieces

    def whole(self, rng: Rng, rate: int, longest: float) -> tuple[Samples, str]:
        """All of a random recording, channel 0, and its speaker (of impulse responses: the room), or its file.

        Raises:
            DataError: it is longer than LONGEST seconds
        """
        recording = self._any(rng)
        samples, found = self._whole(recording.place, recording.segment)
        if len(samples) > longest * found:
            raise DataError(f"{len(samples) / found:.1f} s long; at most {longest:g} s are wanted", recording.place)
        return samples if found == rate else resample(samples, found, rate), recording.speaker

    def _any(self, rng: Rng) -> _Recording:
        group = self._groups[rng.integers(len(self._groups))]
        return group[rng.integers(len(group))]

    def _other(self, rng: Rng, taken: set[str]) -> _Recording | None:
        """A recording of a speaker who is not TAKEN; None where there is none."""
        for _ in range(20):
            recording = self._any(rng)
            if recording.speaker not in taken:
                return recording
        left = [one for group in self._groups for one in group if one.speaker not in taken]
        return left[rng.integers(len(left))] if left else None

    def _read(self, recording: _Recording, rng: Rng, num_samples: int, rate: int, loop: bool) -> Samples:
        place, segment = recording.place, recording.segment
        fraction = rng.random()
        if self._decoded is not None and (kept := self._kept(place, self._decoded)):
            frames, found, piece = kept
            samples = piece(_span(frames, found, segment, num_samples, rate, fraction)) * np.float32(1 / 32768)
        elif place.endswith("|"):
            samples, found = self._whole(place, segment)
            samples = samples[_span(len(samples), found, None, num_samples, rate, fraction)]
        else:
            try:
                samples, found = _seek(place, segment, num_samples, rate, fraction)
            except soundfile.LibsndfileError:  # no such file, or one that only read_audio can open
                samples, found = self._whole(place, segment)
                samples = samples[_span(len(samples), found, None, num_samples, rate, fraction)]
        if found != rate:
            samples = resample(samples, found, rate)
        if not len(samples):
            raise DataError("too short to use", place)
        return np.resize(samples, num_samples) if loop else samples[:num_samples]

    def _kept(self, place: str, decoded: Decoded) -> tuple[int, int, Callable[[slice], Int16s]] | None:
        """Samples and rate of the recording at PLACE, and what gives a span of it; None: it is best read by seeking.

        The samples are the same whether there was room to keep them or not.
        """
        if place.lower().endswith(".wav") or place in self._long:
            return None
        if known := decoded.find(place):
            start, frames, rate = known
            return frames, rate, lambda span: decoded.piece(start + span.start, span.stop - span.start)
        try:
            head = soundfile.info(place)
            if head.frames > _LONGEST_KEPT * head.samplerate:
                self._long.add(place)
                return None
            if head.subtype == "PCM_16" and not decoded.has_room:
                return None
        except soundfile.LibsndfileError:  # what only read_audio can open
            pass
        samples, rate = read_audio(place, None, channel=0)
        if len(samples) > _LONGEST_KEPT * rate:
            self._long.add(place)
            return None
        integers = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767).astype(np.int16)
        decoded.keep(place, integers, rate)
        return len(integers), rate, lambda span: integers[span]

    def _whole(self, place: str, segment: Segment | None) -> tuple[Samples, int]:
        key = f"{place} {segment}"
        if key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        decoded = read_audio(place, segment, channel=0)
        self._cache[key] = decoded
        self._cached += decoded[0].nbytes
        while self._cached > _CACHE_BYTES and len(self._cache) > 1:
            _, (oldest, _) = self._cache.popitem(last=False)
            self._cached -= oldest.nbytes
        return decoded

    def __reduce__(self) -> tuple[Callable[[tuple[Path, ...]], "Pool"], tuple[tuple[Path, ...]]]:
        return _pool, (self._directories,)  # to a job go the names alone; a process reads each pool once


@lru_cache
def _pool(directories: tuple[Path, ...]) -> Pool:
    return Pool(directories)


class Sources:
    """The pools that effects may draw from, by kind: "noise", "music", "speech", "rir".

    Args:
        directories: kind -> its directories
        decoded: as of Pool
    """

    def __init__(self, directories: Mapping[str, Sequence[Path]] | None = None, decoded: Decoded | None = None) -> None:
        self._decoded = decoded
        self._directories = {kind: tuple(paths) for kind, paths in (directories or {}).items() if paths}
        self._pools: dict[str, Pool] = {}

    @classmethod
    def given(cls, **directories: Path | list[Path] | None) -> "Sources":
        """Of the options of a step: KIND=a directory, several of them, or None."""
        lists = {kind: paths if isinstance(paths, list) else [paths] for kind, paths in directories.items() if paths}
        return cls(lists)

    def digest(self) -> str:
        """Tells the recordings to draw from, by name, size and time of change, from others."""
        tables = ("wav.scp", "segments", "utt2spk")
        return " ".join(
            f"{kind} {path} {digest(path / name)}"
            for kind, paths in sorted(self._directories.items())
            for path in paths
            for name in (tables if (path / "wav.scp").exists() else ("",))
        )

    def pool(self, kind: str) -> Pool:
        """The pool of KIND, read once; DataError where its directory is not given."""
        if kind not in self._directories:
            raise DataError(f"an effect needs {kind}: give its data directory with --{kind}-dir")
        if kind not in self._pools:
            self._pools[kind] = Pool(self._directories[kind], self._decoded)
        return self._pools[kind]


def _list(directory: Path) -> list[_Recording]:
    if not directory.is_dir():
        raise DataError("no such directory", directory)
    if not (directory / "wav.scp").exists():
        return _list_files(directory)
    data = DataDir.read(directory, need_speakers=False)
    root = root_of(directory, data.wavs.values())
    recordings = []
    for utt in data.utts:
        place, segment = data.recording_of(utt)
        recordings.append(_Recording(place_from(root, place), segment, data.utt2spk[utt]))
    return recordings


def _list_files(directory: Path) -> list[_Recording]:
    found = sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(directory)
        for name in names
        if name.lower().endswith(AUDIO_SUFFIXES)
    )
    if not found:
        raise DataError("neither wav.scp nor any audio file in it", directory)
    return [_Recording(place, None, place) for place in found]


def root_of(directory: Path, places: Iterable[str]) -> Path:
    """Where relative paths of DIRECTORY start: here, or for DIR/data/<set> at DIR (as in local/prepare_kaldi.py)."""
    first = next((place for place in places if not place.endswith("|") and not Path(place).is_absolute()), None)
    above = directory.resolve().parent.parent
    return above if first is not None and not Path(first).exists() and (above / first).exists() else Path()


def _seek(place: str, segment: Segment | None, num_samples: int, rate: int, fraction: float) -> tuple[Samples, int]:
    """A piece of a file, and the file's sample rate; only the piece is decoded."""
    with soundfile.SoundFile(place) as audio:
        found = int(audio.samplerate)
        span = _span(audio.frames, found, segment, num_samples, rate, fraction)
        audio.seek(span.start)
        integer = audio.subtype == "PCM_16"  # numpy is faster than libsndfile at making it float
        block = audio.read(span.stop - span.start, dtype="int16" if integer else "float32", always_2d=True)
    if len(block) < span.stop - span.start:
        raise DataError(f"cut short: {span.stop} samples are announced", place)
    if integer:
        return block[:, 0] * np.float32(1 / 32768), found
    samples = np.ascontiguousarray(block[:, 0])
    if not np.isfinite(samples.sum()):
        raise DataError("NaN or infinite samples", place)
    return samples, found


def _span(frames: int, found: int, segment: Segment | None, num_samples: int, rate: int, fraction: float) -> slice:
    """What to read of a recording of FRAMES at FOUND Hz for NUM_SAMPLES at RATE, FRACTION of the way in."""
    start = int(segment.start * found) if segment else 0
    end = min(int(segment.end * found), frames) if segment and segment.end != -1 else frames
    spare = max(end - start - (-(-num_samples * found // rate)), 0)
    start += int(fraction * (spare + 1))
    return slice(start, min(end, start - (-num_samples * found // rate)))


def _first_heard(draw: Callable[[], Samples]) -> Samples:
    """The first of several draws that is not silence (padded clips have some), or the last."""
    for _ in range(_TRIES):
        samples = draw()
        if power(samples) > _SILENCE:
            break
    return samples
