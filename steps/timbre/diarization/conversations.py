"""Conversations made of the utterances of a data directory, with the truth of who speaks when.

Called by simulate_conversations.py. The plan of a conversation (who, when) comes first, the audio after it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from timbre.audio.audio_files import to_int16
from timbre.audio.effects import AddNoise, Reverberate, Sources, generator
from timbre.audio.effects.base import Rng, power
from timbre.audio.reading import read_audio
from timbre.datadir.datadir import DataDir
from timbre.datadir.rttm import Turn, write_rttm
from timbre.datadir.tables import check_id, read_ids, write_table
from timbre.feats.vad import VadOptions, energy_vad
from timbre.runtime.sound import Samples
from timbre.runtime.spans import union
from timbre.utils.documents import read_json
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_folder
from timbre.utils.jobs import run_jobs

log = logging.getLogger(__name__)

_FRAME, _SHIFT = 0.025, 0.01  # seconds
_FADE = 0.005  # seconds at both ends of what is put in: a cut does not click
_LEVEL = -26.0  # dB below full scale that speech is brought to before the gains of the speakers


@dataclass(frozen=True)
class ConversationOptions:
    """What conversations are like.

    Args:
        num_recordings: how many
        prefix: what their names begin with, to tell those of one set from those of another
        seconds: length of each
        min_speakers: fewest speakers in one
        max_speakers: most
        turn: mean length of a turn in seconds (exponential; utterances are put in until it is reached)
        pause: mean pause between turns, and between the utterances of a turn, in seconds (exponential)
        overlap_probability: that a turn begins before the one before has ended
        overlap: mean length of such an overlap in seconds (exponential)
        turn_change: probability that another speaker goes on after a turn; else the same does, after a pause
        gain: speakers are up to this many dB louder or softer than the mean
        snr_low: lowest ratio of speech to background noise in dB, where there is a noise directory
        snr_high: highest
        floor: level of white noise in dB below full scale, so that pauses are not digital silence
        fill: pauses within an utterance up to this length, in seconds, count as speech
        rate: sample rate in Hz
    """

    num_recordings: int = 20
    prefix: str = "conv"
    seconds: float = 120.0
    min_speakers: int = 2
    max_speakers: int = 6
    turn: float = 6.0
    pause: float = 0.5
    overlap_probability: float = 0.2
    overlap: float = 0.8
    turn_change: float = 0.85
    gain: float = 3.0
    snr_low: float = 10.0
    snr_high: float = 25.0
    floor: float = -70.0
    fill: float = 0.3
    rate: int = 16000

    def __post_init__(self) -> None:
        if self.num_recordings < 1 or self.seconds <= 0 or self.rate < 1000:
            raise DataError("conversations: num_recordings >= 1, seconds > 0 and rate >= 1000 are wanted")
        if not 1 <= self.min_speakers <= self.max_speakers:
            text = f"{self.min_speakers} and {self.max_speakers}"
            raise DataError(f"conversations: 1 <= min_speakers <= max_speakers is wanted, not {text}")
        for name in ("turn", "pause", "overlap", "gain", "fill"):
            if getattr(self, name) < 0:
                raise DataError(f"conversations: {name} is {getattr(self, name):g}; it must not be negative")
        for name in ("overlap_probability", "turn_change"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"conversations: {name} is {getattr(self, name):g}; it must lie between 0 and 1")
        if self.snr_low > self.snr_high:
            raise DataError(f"conversations: snr_low is {self.snr_low:g}, above snr_high, {self.snr_high:g}")


@dataclass(frozen=True)
class _Speech:
    """The voiced part of an utterance: samples, and where in them there is speech, in seconds."""

    samples: Samples
    spans: list[tuple[float, float]]

    @property
    def seconds(self) -> float:
        return self.spans[-1][1]


@dataclass(frozen=True)
class _Job:
    name: str
    data: DataDir
    options: ConversationOptions
    vad: VadOptions
    sources: Sources
    kinds: frozenset[str]  # of the sources that are given
    seed: int
    directory: Path


@dataclass(frozen=True)
class _Made:
    name: str
    turns: list[Turn]
    seconds: float
    num_repeated: int


def simulate(
    data: DataDir,
    out_dir: Path,
    options: ConversationOptions,
    vad: VadOptions,
    noise_dirs: Sequence[Path],
    rir_dirs: Sequence[Path],
    seed: int,
    nj: int,
) -> None:
    """Writes OUT_DIR: audio/*.flac (16 bits), wav.scp, utt2spk, utt2dur, reco2num_spk and rttm.

    Of each utterance what is between its first and its last voiced frame is put in; the truth is its voiced frames
    (energy VAD of the clean utterance), short pauses filled. A speaker does not overlap herself.

    Args:
        data: utterances and who speaks them
        out_dir: the new data directory
        options: what conversations are like
        vad: options of the energy VAD
        noise_dirs: background noise, one for a conversation (none: only the floor)
        rir_dirs: impulse responses, one for each speaker of a conversation (none: as recorded)
        seed: of everything random
        nj: number of jobs; it does not change what is written

    Raises:
        DataError: too few speakers, an utterance that cannot be read, nothing voiced
    """
    if not data.wavs:
        raise DataError("there is no wav.scp", data.path)
    if out_dir.resolve() == data.path.resolve():
        raise DataError("the new data directory must not be the old one", out_dir)
    if (count := len(set(data.utt2spk.values()))) < options.max_speakers:
        raise DataError(f"{count} speakers, but conversations of up to {options.max_speakers} are wanted", data.path)
    sources = Sources({"noise": noise_dirs, "rir": rir_dirs})
    kinds = frozenset(kind for kind, paths in (("noise", noise_dirs), ("rir", rir_dirs)) if paths)
    for kind in sorted(kinds):
        sources.pool(kind)  # a wrong directory is told before the work begins
    check_id(options.prefix)
    width = max(3, len(str(options.num_recordings)))
    audio = out_dir / "audio"
    places = [Path(place) for place in data.wavs.values() if not place.endswith("|")]
    with atomic_folder(audio, "audio of conversations", places, "../reco2num_spk") as temporary:
        jobs = [
            _Job(f"{options.prefix}{number:0{width}d}", data, options, vad, sources, kinds, seed, temporary)
            for number in range(1, options.num_recordings + 1)
        ]
        made = run_jobs(_simulate, jobs, nj, f"conversations {out_dir}", "conversation")
    names = [one.name for one in made]
    DataDir(out_dir, {name: str(audio / f"{name}.flac") for name in names}, {name: name for name in names}).write(
        out_dir
    )
    write_table(out_dir / "utt2dur", {one.name: f"{one.seconds:g}" for one in made})
    write_table(out_dir / "reco2num_spk", {one.name: str(len({turn.speaker for turn in one.turns})) for one in made})
    write_rttm(out_dir / "rttm", {one.name: one.turns for one in made})
    if num_repeated := sum(one.num_repeated for one in made):
        log.warning("%s: %d times an utterance is there again, its speaker has no other left", out_dir, num_repeated)


def read_speakers(path: Path) -> list[str]:
    """The speakers of a list, or those that the manifest.json of training examples holds out for validation.

    Raises:
        DataError: a manifest that holds out none, or is none
    """
    if path.suffix != ".json":
        return read_ids(path)
    try:
        held_out = read_json(path)["valid_speakers"]
    except (KeyError, TypeError) as error:
        raise DataError("not the manifest of training examples", path) from error
    if not held_out:
        raise DataError("no speakers are held out for validation", path)
    return [str(name) for name in held_out]


def only_of(data: DataDir, speakers: Sequence[str], path: Path) -> DataDir:
    """DATA with the utterances of SPEAKERS alone, whom PATH names; DataError where one has none."""
    if missing := sorted(set(speakers) - set(data.utt2spk.values())):
        raise DataError(f"speaker '{missing[0]}' has no utterance in {data.path}", path)
    chosen = set(speakers)
    return replace(data, utt2spk={utt: spk for utt, spk in data.utt2spk.items() if spk in chosen})


def _simulate(job: _Job) -> _Made:
    options = job.options
    rng = generator(job.seed, 0, job.name)
    deck = _Deck(job, rng)
    mix = np.zeros(round(options.seconds * options.rate), np.float32)
    turns: list[Turn] = []
    end = rng.exponential(options.pause)  # of all speech so far
    start = end
    free: dict[str, float] = {}  # when each speaker has ended
    speaker = deck.others("")[0]
    while True:
        begin, stop = start, start + rng.exponential(options.turn)
        while True:
            speech = deck.draw(speaker)
            if start + speech.seconds > options.seconds:
                break
            _add(mix, deck.in_room(speaker, speech.samples), round(start * options.rate))
            turns += [Turn(start + first, start + last, speaker) for first, last in speech.spans]
            start += speech.seconds
            end, free[speaker] = max(end, start), start
            if start >= stop:
                break
            start += rng.exponential(options.pause)
        if start + speech.seconds > options.seconds:
            break
        others = deck.others(speaker)
        change = bool(others) and rng.random() < options.turn_change
        if change:
            unheard = [one for one in others if one not in free]  # everyone is to be heard, first of all
            choice = unheard or others
            speaker = choice[rng.integers(len(choice))]
        if change and rng.random() < options.overlap_probability:
            start = max(end - rng.exponential(options.overlap), begin, free.get(speaker, 0.0))
        else:
            start = end + rng.exponential(options.pause)
    if not turns:
        raise DataError(f"conversations of {options.seconds:g} s are too short for its utterances", job.data.path)
    mix = _with_noise(mix, turns, job, rng)
    integers, _ = to_int16(mix)
    encoded = BytesIO()
    soundfile.write(encoded, integers, options.rate, format="FLAC", subtype="PCM_16")
    (job.directory / f"{job.name}.flac").write_bytes(encoded.getvalue())
    return _Made(job.name, _joined(turns), len(mix) / options.rate, deck.num_repeated)


class _Deck:
    """The speakers of a conversation, each with a shuffled stack of utterances, a gain and a room."""

    def __init__(self, job: _Job, rng: Rng) -> None:
        self._job = job
        self._utts = job.data.spk2utt()
        count = int(rng.integers(job.options.min_speakers, job.options.max_speakers + 1))
        names = sorted(self._utts)
        self._speakers = [names[place] for place in rng.permutation(len(names))[:count]]
        self._gains = {spk: 10 ** (rng.uniform(-job.options.gain, job.options.gain) / 20) for spk in self._speakers}
        self._stacks: dict[str, list[str]] = {}
        self._again: set[str] = set()  # speakers whose utterances have all been heard
        self._room = Reverberate(job.sources) if "rir" in job.kinds else None
        self._rng = rng
        self.num_repeated = 0

    def others(self, speaker: str) -> list[str]:
        return [one for one in self._speakers if one != speaker]

    def draw(self, speaker: str) -> _Speech:
        """An utterance of SPEAKER that has not been heard, as long as there is one."""
        for _ in range(2 * len(self._utts[speaker]) + 1):
            if not self._stacks.get(speaker):
                self._again |= {speaker} if speaker in self._stacks else set()
                utts = self._utts[speaker]
                self._stacks[speaker] = [utts[place] for place in self._rng.permutation(len(utts))]
            self.num_repeated += speaker in self._again
            if speech := self._read(self._stacks[speaker].pop()):
                return speech
        raise DataError(f"no utterance of speaker '{speaker}' has a voiced frame", self._job.data.path)

    def in_room(self, speaker: str, samples: Samples) -> Samples:
        """SAMPLES at the speaker's level, and in her room, which is the same throughout."""
        level = np.float32(10 ** (_LEVEL / 20) * self._gains[speaker] / max(power(samples), 1e-12) ** 0.5)
        if self._room is not None:
            room = generator(self._job.seed, 1, f"{self._job.name} {speaker}")
            samples = self._room(samples, self._job.options.rate, room)
        return samples * level

    def _read(self, utt: str) -> _Speech | None:
        job = self._job
        samples, rate = read_audio(*job.data.recording_of(utt), rate=job.options.rate)
        voiced = energy_vad(log_energy(samples, rate), job.vad)
        frames = np.flatnonzero(voiced)
        if not len(frames):
            return None
        first, last = frames[0], frames[-1] + 1
        begin, stop = round(first * _SHIFT * rate), min(len(samples), round(last * _SHIFT * rate))
        edges = np.flatnonzero(np.diff(np.concatenate([[0], voiced[first:last], [0]]))).reshape(-1, 2) * _SHIFT
        spans = union((one, other + job.options.fill) for one, other in edges.tolist())
        spans = [(one, min(other - job.options.fill, (stop - begin) / rate)) for one, other in spans]
        return _Speech(_faded(samples[begin:stop], round(_FADE * rate)), spans)


def log_energy(samples: Samples, rate: int) -> NDArray[np.float32]:
    """Log energy of each frame of 25 ms every 10 ms, without its mean, of samples at int16 scale: (num_frames,).

    As Kaldi's raw energy with snip-edges, with the last frames continued by zeros: frame i begins i times 10 ms.
    """
    length, shift = round(_FRAME * rate), round(_SHIFT * rate)
    num_frames = max(1, len(samples) // shift)
    padded = np.pad(samples * np.float32(32768), (0, max(0, (num_frames - 1) * shift + length - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, length)[::shift][:num_frames]
    energy = np.square(frames - frames.mean(axis=1, keepdims=True)).sum(axis=1)
    result: NDArray[np.float32] = np.log(np.maximum(energy, np.finfo(np.float32).eps)).astype(np.float32)
    return result


def _faded(samples: Samples, length: int) -> Samples:
    length = min(length, len(samples) // 2)
    ramp = np.linspace(0, 1, length, endpoint=False, dtype=np.float32)
    faded = samples.copy()
    faded[:length] *= ramp
    faded[len(faded) - length :] *= ramp[::-1]
    return faded


def _add(mix: Samples, samples: Samples, start: int) -> None:
    stop = min(len(mix), start + len(samples))
    mix[start:stop] += samples[: stop - start]


def _with_noise(mix: Samples, turns: list[Turn], job: _Job, rng: Rng) -> Samples:
    """MIX with the floor, and with background noise at a ratio to the speech, pauses left out."""
    options = job.options
    floor = np.float32(10 ** (options.floor / 20))
    noisy = mix + floor * rng.standard_normal(len(mix), dtype=np.float32)
    if "noise" not in job.kinds:
        return noisy
    share = sum(end - start for start, end in union((turn.start, turn.end) for turn in turns)) / options.seconds
    snr = rng.uniform(options.snr_low, options.snr_high) + 10 * np.log10(share)  # AddNoise looks at all of the samples
    return AddNoise(job.sources, snrs=[float(snr)])(noisy, options.rate, rng)


def _joined(turns: list[Turn]) -> list[Turn]:
    """The turns of each speaker by time, those that touch as one."""
    joined = []
    for speaker in sorted({turn.speaker for turn in turns}):
        spans = union((turn.start, turn.end) for turn in turns if turn.speaker == speaker)
        joined += [Turn(start, end, speaker) for start, end in spans]
    return sorted(joined)
