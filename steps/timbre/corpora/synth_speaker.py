"""Synthetic speakers: who they are, what they say in which session, and the recording of it.

prepare_synth.py draws the speakers, has each of them recorded, and writes the tables from what they know of themselves.
"""

import io
import multiprocessing
import random
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import soundfile
import soxr

from timbre.corpora.synth_room import Session, SessionOptions
from timbre.corpora.synth_text import sentence
from timbre.corpora.synth_voice import Engine, VoiceOptions, draw_voice, vary
from timbre.datadir.phones import Phone, Phones, read_phones, write_phones
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write
from timbre.utils.jobs import follow_parent


@dataclass(frozen=True)
class SynthOptions:
    """Size and difficulty of the corpus.

    Args:
        train_speakers: speakers of the set train
        eval_speakers: speakers of the set eval, all of them others
        utts_per_speaker: utterances of each speaker
        sessions_per_speaker: recording sessions that they are spread over
        rate: sample rate in Hz
        nontargets: non-target trials for each target trial, drawn where there are more
        voice: how speakers differ, and how each varies
        session: how recording sessions differ
    """

    train_speakers: int = 240
    eval_speakers: int = 60
    utts_per_speaker: int = 24
    sessions_per_speaker: int = 4
    rate: int = 16000
    nontargets: int = 15
    voice: VoiceOptions = field(default_factory=VoiceOptions)
    session: SessionOptions = field(default_factory=SessionOptions)

    def __post_init__(self) -> None:
        for name, low, high in (
            ("train_speakers", 2, None),
            ("eval_speakers", 2, None),
            ("sessions_per_speaker", 2, len(ascii_lowercase)),
            ("utts_per_speaker", self.sessions_per_speaker, None),
            ("rate", 8000, 22050),
            ("nontargets", 1, None),
        ):
            value = getattr(self, name)
            if value < low:
                raise DataError(f"{name} is {value}; it must be at least {low}")
            if high is not None and value > high:
                raise DataError(f"{name} is {value}; it must be at most {high}")


@dataclass(frozen=True)
class Speaker:
    """One speaker; everything about it follows from its name, the options and the seed.

    Args:
        name: such as e0001
        sex: m or f
        sessions: utterance -> session, in the order of recording
        folder: where the audio goes
        options: of the corpus
        seed: of the corpus
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

    def is_recorded(self) -> bool:
        """Whether all the audio is there, and its phones."""
        return self._phones.exists() and all(self.audio(utt).exists() for utt in self.sessions)

    @property
    def _phones(self) -> Path:
        return self.folder / "phones.ctm"

    def phones(self) -> Phones:
        """The phonemes of each utterance, as espeak-ng spoke them."""
        return read_phones(self._phones)

    def note(self, phones: Phones) -> None:
        """Keeps what `phones` gives, once all the audio is there."""
        write_phones(self._phones, phones)

    def text(self, utt: str) -> str:
        """What is said in an utterance."""
        return sentence(self.draws(f"{utt} text"))

    def draws(self, topic: str) -> random.Random:
        """Draws that concern one thing alone and do not depend on what else is drawn: TOPIC names it corpus-wide."""
        return random.Random(f"{self.seed}-{topic}")


def draw_speakers(count: int, letter: str, folder: Path, options: SynthOptions, seed: int) -> list[Speaker]:
    """COUNT speakers called LETTER and a number, half of them women; each with the audio in a folder below FOLDER.

    Sexes go two by two, so that even two speakers make same-sex trials.
    """
    names = [f"{letter}{number:04}" for number in range(1, count + 1)]
    return [
        Speaker(name, "mmff"[index % 4], _schedule(name, options), folder / name, options, seed)
        for index, name in enumerate(names)
    ]


def record_afresh(speaker: Speaker) -> None:
    """Records SPEAKER in a new process, which espeak-ng needs for its speech to be reproducible.

    The process is a fork, made in milliseconds, since this one has imported everything.
    """
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=_record_and_tell, args=(speaker, sender))
    process.start()
    sender.close()
    try:
        error = receiver.recv()
    except EOFError:
        error = DataError(f"speaker {speaker.name}: the process died (killed, or out of memory?)")
    process.join()
    if error is not None:
        raise error


def _record_and_tell(speaker: Speaker, sender: Connection) -> None:
    """Sends what went wrong, or None."""
    follow_parent()
    try:
        _record(speaker)
    except Exception as error:
        sender.send(error)
    else:
        sender.send(None)


def _schedule(name: str, options: SynthOptions) -> dict[str, str]:
    """Utterance -> session, spk-session-utt -> spk-session: sessions one after another, of about equal length."""
    sessions = {}
    for utt in range(options.utts_per_speaker):
        letter = ascii_lowercase[utt * options.sessions_per_speaker // options.utts_per_speaker]
        sessions[f"{name}-{letter}-{utt + 1:03}"] = f"{name}-{letter}"
    return sessions


def _record(speaker: Speaker) -> None:
    options = speaker.options
    engine = Engine()
    voice = draw_voice(speaker.draws(speaker.name), speaker.sex, options.voice)
    sessions = {
        name: Session(speaker.draws(name), options.rate, options.session) for name in set(speaker.sessions.values())
    }
    phones: Phones = {}
    for utt, session in speaker.sessions.items():
        draws = speaker.draws(utt)
        speech, spoken = engine.speak(speaker.text(utt), vary(voice, draws, options.voice), draws.getrandbits(31))
        samples, before = sessions[session].record(soxr.resample(speech, engine.rate, options.rate, "HQ"), draws)
        phones[utt] = [Phone(before + phone.start, phone.duration, phone.name) for phone in spoken]
        flac = io.BytesIO()  # through memory: of a full disk, soundfile would not tell
        soundfile.write(flac, np.rint(samples * 32768).astype(np.int16), options.rate, format="FLAC")
        with atomic_write(speaker.audio(utt), "wb") as file:
            file.write(flac.getbuffer())
    speaker.note(phones)
