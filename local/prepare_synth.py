#!/usr/bin/env python3
"""A corpus of speakers who do not exist: espeak-ng with drawn voices, recorded in drawn sessions."""

import io
import json
import logging
import multiprocessing
import random
import shutil
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import soundfile
import soxr

from local.synth_room import Session, SessionOptions
from local.synth_text import sentence
from local.synth_voice import Engine, VoiceOptions, draw_voice, engine_version, vary
from steps.datadir.datadir import DataDir
from steps.datadir.tables import write_table
from steps.utils.cli import run_step
from steps.utils.errors import DataError
from steps.utils.files import atomic_path, atomic_write
from steps.utils.jobs import run_jobs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SynthOptions:
    """Size and difficulty of the corpus.

    Args:
        train_speakers: speakers of the set train
        eval_speakers: other speakers, of the set eval
        utts_per_speaker: utterances of each
        sessions_per_speaker: recording sessions that they are spread over
        rate: sample rate in Hz
        max_nontargets: a trial list with more non-target trials than these gets so many, sampled
        voice: how speakers differ, and how each varies
        session: how recording sessions differ
    """

    train_speakers: int = 240
    eval_speakers: int = 60
    utts_per_speaker: int = 24
    sessions_per_speaker: int = 4
    rate: int = 16000
    max_nontargets: int = 200_000
    voice: VoiceOptions = field(default_factory=VoiceOptions)
    session: SessionOptions = field(default_factory=SessionOptions)


@dataclass(frozen=True)
class Speaker:
    """One speaker to be recorded: a job.

    Args:
        name: such as e0001
        sex: m or f
        sessions: utterance -> session, in the order of recording
        folder: where the audio goes
    """

    name: str
    sex: str
    sessions: dict[str, str]
    folder: Path
    options: SynthOptions
    seed: int

    def audio(self, utt: str) -> Path:
        """The audio file of an utterance."""
        return self.folder / f"{utt}.flac"


def prepare_synth(out_dir: Path, synth: SynthOptions = SynthOptions(), seed: int = 0, nj: int = 2) -> None:
    """Make a speech corpus from nothing: the data directories OUT_DIR/train and OUT_DIR/eval, audio in OUT_DIR/audio.

    The result depends on the options and the seed alone. A run that was interrupted goes on where it stopped.
    OUT_DIR/eval has two trial lists: `trials`, same-sex pairs from different sessions, and `trials_all`, all pairs.

    Args:
        out_dir: where the corpus goes
        synth: size and difficulty; see conf/synth/
        seed: another seed gives other speakers
        nj: number of jobs
    """
    _check(synth)
    audio = out_dir / "audio"
    _start(audio, {"seed": seed, "espeak-ng": engine_version(), **asdict(synth)})
    sets = {
        name: _draw_speakers(name[0], count, audio, synth, seed)
        for name, count in (("train", synth.train_speakers), ("eval", synth.eval_speakers))
    }
    missing = [speaker for speakers in sets.values() for speaker in speakers if not _recorded(speaker)]
    run_jobs(_record_afresh, missing, nj, "synthesis", unit="speaker")
    for name, speakers in sets.items():
        _write_set(out_dir / name, speakers)
    _write_trials(out_dir / "eval", sets["eval"], synth.max_nontargets, seed)


def _check(synth: SynthOptions) -> None:
    wrong = {
        "train_speakers must be at least 2": synth.train_speakers < 2,
        "eval_speakers must be at least 2": synth.eval_speakers < 2,
        "sessions_per_speaker must be from 2 to 26": not 2 <= synth.sessions_per_speaker <= 26,
        "utts_per_speaker must be at least sessions_per_speaker": synth.utts_per_speaker < synth.sessions_per_speaker,
        "rate must be from 8000 to 22050": not 8000 <= synth.rate <= 22050,
        "max_nontargets must be at least 1": synth.max_nontargets < 1,
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            raise DataError(message)
    for part in (synth.voice, synth.session):
        for name, value in asdict(part).items():
            if isinstance(value, float | int) and value < 0:
                raise DataError(f"{name} must not be negative")
            if isinstance(value, tuple) and value[0] > value[1]:
                raise DataError(f"{name} must be a range from low to high, not {value[0]} to {value[1]}")


def _start(audio: Path, made_from: dict[str, object]) -> None:
    """Leaves in AUDIO only what was made from the same options, and notes there what it is made from."""
    note = audio / "made_from.json"
    text = json.dumps(made_from, indent=1)
    if note.exists() and note.read_text(encoding="utf-8") == text:
        for leftover in audio.glob(".*.tmp*"):  # of a run that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        return
    if audio.exists():
        if not note.exists():
            raise DataError("exists already and is not of this script's making; choose another OUT_DIR", audio)
        log.info("%s: options have changed; making the audio again", audio)
        shutil.rmtree(audio)
    with atomic_write(note) as file:
        file.write(text)


def _draw_speakers(letter: str, count: int, audio: Path, synth: SynthOptions, seed: int) -> list[Speaker]:
    """Sexes go two by two, so that even two speakers make same-sex trials."""
    width = max(4, len(str(count)))
    digits = max(2, len(str(synth.utts_per_speaker)))
    speakers = []
    for number in range(1, count + 1):
        name = f"{letter}{number:0{width}}"
        sessions = {}
        for utt in range(synth.utts_per_speaker):
            session = f"{name}-{ascii_lowercase[utt * synth.sessions_per_speaker // synth.utts_per_speaker]}"
            sessions[f"{session}-{utt + 1:0{digits}}"] = session
        speakers.append(Speaker(name, "mmff"[number % 4], sessions, audio / name, synth, seed))
    return speakers


def _recorded(speaker: Speaker) -> bool:
    return all(speaker.audio(utt).exists() for utt in speaker.sessions)


def _record_afresh(speaker: Speaker) -> None:
    """Records SPEAKER in a process of its own, as espeak-ng needs; a fork, since it takes milliseconds."""
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(1, fork, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as process:
        try:
            process.submit(_record, speaker).result()
        except BrokenProcessPool as error:
            raise DataError(f"speaker {speaker.name}: the process died (killed, or out of memory?)") from error


def _record(speaker: Speaker) -> None:
    synth = speaker.options
    voice = draw_voice(_random(speaker, speaker.name), speaker.sex, synth.voice)
    sessions = {name: Session(_random(speaker, name), synth.rate, synth.session) for name in speaker.sessions.values()}
    with atomic_path(speaker.folder) as folder:
        folder.mkdir()
        engine = Engine()
        for utt, session in speaker.sessions.items():
            rng = _random(speaker, utt)
            text = sentence(rng)
            speech = engine.speak(text, vary(voice, rng, synth.voice))
            samples = sessions[session].record(soxr.resample(speech, engine.rate, synth.rate, "HQ"), rng)
            flac = io.BytesIO()  # through memory: a full disk is then an OSError, which soundfile hides
            soundfile.write(flac, np.rint(samples * 32768).astype(np.int16), synth.rate, format="FLAC")
            (folder / speaker.audio(utt).name).write_bytes(flac.getbuffer())


def _random(speaker: Speaker, thing: str) -> random.Random:
    """The draws that concern one speaker, session or utterance, whatever else is drawn before or after."""
    return random.Random(f"{speaker.seed}-{thing}")


def _write_set(path: Path, speakers: list[Speaker]) -> None:
    utts = {utt: speaker for speaker in speakers for utt in speaker.sessions}
    wavs = {utt: str(speaker.audio(utt)) for utt, speaker in utts.items()}
    durations = {utt: soundfile.info(wav).duration for utt, wav in wavs.items()}
    DataDir(path, wavs, {utt: speaker.name for utt, speaker in utts.items()}).write(path)
    write_table(path / "utt2dur", {utt: f"{seconds:.3f}" for utt, seconds in durations.items()})
    write_table(path / "utt2session", {utt: speaker.sessions[utt] for utt, speaker in utts.items()})
    write_table(path / "utt2text", {utt: sentence(_random(speaker, utt)) for utt, speaker in utts.items()})
    write_table(path / "spk2gender", {speaker.name: speaker.sex for speaker in speakers})
    log.info("%s: %d speakers, %d utterances, %.1f h", path, len(speakers), len(utts), sum(durations.values()) / 3600)


def _write_trials(path: Path, speakers: list[Speaker], max_nontargets: int, seed: int) -> None:
    """`trials` and `trials_all`; every pair of utterances is at most once in a list."""
    utts = [utt for speaker in speakers for utt in speaker.sessions]
    spk = np.repeat(np.arange(len(speakers)), len(speakers[0].sessions))
    sex = np.array([speaker.sex for speaker in speakers])[spk]
    session = np.unique([name for speaker in speakers for name in speaker.sessions.values()], return_inverse=True)[1]
    first, second = np.triu_indices(len(utts), 1)
    hard = (sex[first] == sex[second]) & (session[first] != session[second])
    for name, chosen in (("trials", np.flatnonzero(hard)), ("trials_all", np.arange(len(first)))):
        is_target = spk[first[chosen]] == spk[second[chosen]]
        targets, nontargets = chosen[is_target], chosen[~is_target]
        found = len(nontargets)
        if found > max_nontargets:
            nontargets = np.random.default_rng([seed, found]).choice(nontargets, max_nontargets, replace=False)
        with atomic_write(path / name) as file:
            for pair in np.sort(np.concatenate([targets, nontargets])):
                one, other = first[pair], second[pair]
                file.write(f"{utts[one]} {utts[other]} {'target' if spk[one] == spk[other] else 'nontarget'}\n")
        sampled = f" (sampled from {found})" if found > max_nontargets else ""
        log.info("%s: %d targets, %d nontargets%s", path / name, len(targets), len(nontargets), sampled)


if __name__ == "__main__":
    run_step(prepare_synth)
