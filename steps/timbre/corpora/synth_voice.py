"""Voices that do not exist: speakers drawn at random for espeak-ng, and the engine that makes them speak.

prepare_synth.py draws one Voice a speaker, varies it for every utterance, and hands it to an Engine.
"""

import ctypes
import math
import os
import random
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from timbre.datadir.phones import Phone
from timbre.utils.errors import DataError

# of espeak-ng's speak_lib.h, as the two parameters:
_SYNCHRONOUS, _PHONEME_EVENTS, _NO_EXIT, _UTF8 = 2, 1, 0x8000, 1
_LAST_EVENT, _PHONEME = 0, 7
_RATE, _VOLUME = 1, 2
_QUIET = 40  # of the default 100, at which many voices are clipped
_OURS = {"pitch", "formant", "tone", "roughness", "flutter", "voicing", "breath", "consonants"}
_TONE_CORNERS = (600, 1200, 2000, 3000)  # Hz, of espeak-ng's spectral tilt; the amplitudes are those it has by default
_TONE = (170, 135, 110, 110)


@dataclass(frozen=True)
class VoiceOptions:
    """How far apart two speakers are, and two utterances of one speaker. A spread is a standard deviation.

    Args:
        male_f0: median pitch of the men in Hz
        female_f0: median pitch of the women in Hz
        female_tract: all formants of the women are multiplied by this
        f0_spread: of a speaker's log pitch
        tract_spread: of a speaker's log vocal tract length, which moves all formants together
        formant_spread: of the log frequency of each single formant
        shape_spread: of the log amplitude and the log bandwidth of each formant
        tone_spread: of the spectral tilt, in espeak-ng's units
        rate_spread: of the speaking rate, in words a minute
        f0_jitter: within a speaker: of an utterance's log pitch
        formant_jitter: within a speaker: of the log frequency of each formant
        amplitude_jitter: within a speaker: of the log amplitude of each formant
        rate_jitter: within a speaker: of the log speaking rate
    """

    male_f0: float = 105
    female_f0: float = 185
    female_tract: float = 1.13
    f0_spread: float = 0.15
    tract_spread: float = 0.05
    formant_spread: float = 0.05
    shape_spread: float = 0.15
    tone_spread: float = 25
    rate_spread: float = 15
    f0_jitter: float = 0.10
    formant_jitter: float = 0.025
    amplitude_jitter: float = 0.10
    rate_jitter: float = 0.08

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value >= 0:
                raise DataError(f"voice: {name} is {value}; it must not be negative")


@dataclass(frozen=True)
class Formant:
    """One resonance relative to espeak-ng's own: 1.0 leaves it as it is."""

    frequency: float
    amplitude: float
    width: float


@dataclass(frozen=True)
class Voice:
    """A way of speaking: pitch in Hz; melody, half the pitch range relative to it; rate in words a minute; the rest as
    in espeak-ng's voice files, 1.0 for their 100 percent."""

    f0: float
    melody: float
    rate: float
    formants: tuple[Formant, ...]
    tone: tuple[float, ...]
    roughness: int
    flutter: int
    voicing: float
    breath: float
    consonants: tuple[float, float]

    def lines(self) -> str:
        """The voice as the lines of an espeak-ng voice file."""
        formants = (
            f"formant {number} {_percent(formant.frequency)} {_percent(formant.amplitude)} {_percent(formant.width)}"
            for number, formant in enumerate(self.formants)
        )
        tone = " ".join(
            f"{hertz} {max(round(level), 0)}" for hertz, level in zip(_TONE_CORNERS, self.tone, strict=True)
        )
        return "\n".join(
            (
                f"pitch {round(self.f0 * (1 - self.melody))} {round(self.f0 * (1 + self.melody))}",
                *formants,
                f"tone {tone}",
                f"roughness {self.roughness}",
                f"flutter {self.flutter}",
                f"voicing {_percent(self.voicing)}",
                "breath 0" + f" {round(self.breath)}" * 7,
                f"consonants {_percent(self.consonants[0])} {_percent(self.consonants[1])}",
            )
        )


def draw_voice(rng: random.Random, sex: str, options: VoiceOptions) -> Voice:
    """A new speaker; SEX is "m" or "f"."""
    women = sex == "f"
    tract = (options.female_tract if women else 1.0) * _lognormal(rng, options.tract_spread)
    return Voice(
        f0=(options.female_f0 if women else options.male_f0) * _lognormal(rng, options.f0_spread),
        melody=0.18 * _lognormal(rng, 0.2),
        rate=165 + rng.gauss(0, options.rate_spread),
        formants=tuple(
            Formant(
                tract * _lognormal(rng, options.formant_spread),
                _lognormal(rng, options.shape_spread),
                _lognormal(rng, options.shape_spread),
            )
            for _ in range(9)
        ),
        tone=tuple(level + rng.gauss(0, options.tone_spread) for level in _TONE),
        roughness=rng.randint(0, 3),
        flutter=rng.randint(0, 6),
        voicing=_lognormal(rng, 0.1),
        breath=abs(rng.gauss(0, 2)),
        consonants=(_lognormal(rng, 0.15), _lognormal(rng, 0.15)),
    )


def vary(voice: Voice, rng: random.Random, options: VoiceOptions) -> Voice:
    """VOICE as it happens to sound in one utterance."""
    return replace(
        voice,
        f0=voice.f0 * _lognormal(rng, options.f0_jitter),
        rate=voice.rate * _lognormal(rng, options.rate_jitter),
        formants=tuple(
            replace(
                formant,
                frequency=formant.frequency * _lognormal(rng, options.formant_jitter),
                amplitude=formant.amplitude * _lognormal(rng, options.amplitude_jitter),
            )
            for formant in voice.formants
        ),
    )


def engine_version() -> str:
    """What the speech depends on besides the options: the version of espeak-ng.

    Raises:
        DataError: espeak-ng is not installed or does not start
    """
    version = _load()[0].espeak_Info(None)
    return bytes(version).decode()


class _Event(ctypes.Structure):
    """espeak_EVENT; `name` is of a union of 8 bytes."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


class Engine:
    """espeak-ng in this process. It has hidden state that nothing resets: speech is reproducible only when the same
    texts are spoken in the same order from the first one in the process on, so give every speaker a fresh process.

    Raises:
        DataError: espeak-ng is not installed or does not start
    """

    def __init__(self) -> None:
        self._library, data = _load()
        self.rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _NO_EXIT | _PHONEME_EVENTS)
        if self.rate <= 0:
            raise DataError("espeak-ng does not start with this data", data)
        accent = (data / "lang" / "gmw" / "en-US").read_text(encoding="utf-8").splitlines()
        self._accent = "\n".join(line for line in accent if line.split(" ")[0] not in _OURS)
        self._samples: list[bytes] = []
        self._starts: list[tuple[int, str]] = []  # of each phoneme: its first sample, its name
        self._listener = _LISTENER(self._listen)  # kept: ctypes frees a callback that nothing refers to
        self._library.espeak_SetSynthCallback(self._listener)

    def speak(self, text: str, voice: Voice, seed: int) -> tuple[npt.NDArray[Any], list[Phone]]:
        """TEXT in VOICE, with breath noise drawn from SEED (31 bits).

        Returns:
            samples (N,) float32 in [-1, 1) at `rate` Hz
            phonemes by espeak-ng's mnemonics, pauses as well ("_", "_:"), each up to the beginning of the next
        """
        library = self._library
        library.espeak_ng_SetRandSeed(ctypes.c_long(seed))  # else it is the time of day
        _C.srand(seed)
        with tempfile.TemporaryFile() as voice_file:
            voice_file.write(f"{self._accent}\n{voice.lines()}\n".encode())
            voice_file.flush()
            # espeak-ng lower-cases a voice file's name and cuts it at 60 bytes: a descriptor's survives that
            failed = library.espeak_SetVoiceByFile(f"/dev/fd/{voice_file.fileno()}".encode())
        self._samples.clear()
        self._starts.clear()
        spoken = text.encode()
        failed = (
            failed
            or library.espeak_SetParameter(_RATE, round(voice.rate), 0)
            or library.espeak_SetParameter(_VOLUME, _QUIET, 0)
            or library.espeak_Synth(spoken, ctypes.c_size_t(len(spoken) + 1), 0, 0, 0, _UTF8, None, None)
            or library.espeak_Synchronize()
        )
        if failed or not self._samples:
            raise DataError(f"espeak-ng does not speak (status {failed}): {text}")
        samples = np.frombuffer(b"".join(self._samples), np.int16) / np.float32(32768)
        ends = [start for start, _ in self._starts[1:]] + [len(samples)]
        phones = [
            Phone(start / self.rate, (end - start) / self.rate, name)
            for (start, name), end in zip(self._starts, ends, strict=True)
            if end > start and name
        ]
        return samples, phones

    def _listen(self, samples: int | None, count: int, events: int | None) -> int:
        if samples and count > 0:
            self._samples.append(ctypes.string_at(samples, 2 * count))
        place = events
        while place and (event := _Event.from_address(place)).type != _LAST_EVENT:
            if event.type == _PHONEME:
                self._starts.append((event.sample, event.name.decode("utf-8", "replace")))
            place += ctypes.sizeof(_Event)
        return 0


_C = ctypes.CDLL(None)
_LISTENER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


def _load() -> tuple[ctypes.CDLL, Path]:
    """espeak-ng's library and the folder of its data."""
    try:
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
    except (ImportError, OSError) as error:
        raise DataError(f"espeak-ng cannot be loaded (pip install espeakng-loader): {error}") from error
    library.espeak_Info.restype = ctypes.c_char_p
    return library, Path(espeakng_loader.get_data_path())


def _lognormal(rng: random.Random, spread: float) -> float:
    return math.exp(rng.gauss(0, spread))


def _percent(factor: float) -> int:
    return round(100 * factor)
