"""Voice activity detection, by energy, as Kaldi's compute-vad; network_vad.py does it by a network."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from timbre.feats.options import require
from timbre.runtime.energy_vad import energy_frames
from timbre.runtime.silero import StretchOptions


@dataclass(frozen=True)
class VadOptions:
    """How speech is found.

    By energy, these are options of Kaldi's compute-vad; the defaults are those of its x-vector recipes (conf/vad.conf
    of sre16/v2). By network, a frame is speech if its middle lies in a stretch of speech.

    Args:
        vad_energy_threshold: energy: constant term of the threshold on the log energy
        vad_energy_mean_scale: energy: how much of the utterance's mean log energy is added to the threshold
        vad_proportion_threshold: energy: share of the frames around a frame that must exceed the threshold
        vad_frames_context: energy: frames on each side that are looked at
        method: energy, or silero: the network of the package silero-vad
        speech_threshold: silero: a stretch begins where the probability of speech (a value each 32 ms) is this high
        silence_threshold: silero: it ends where the probability falls below this
        min_speech: silero: seconds; stretches no longer than this are left out
        min_silence: silero: seconds; in shorter silence a stretch goes on
        speech_pad: silero: seconds that are added to both ends of a stretch
    """

    vad_energy_threshold: float = 5.5
    vad_energy_mean_scale: float = 0.5
    vad_proportion_threshold: float = 0.12
    vad_frames_context: int = 2
    method: Literal["energy", "silero"] = "energy"
    speech_threshold: float = 0.5
    silence_threshold: float = 0.35
    min_speech: float = 0.25
    min_silence: float = 0.1
    speech_pad: float = 0.03

    def __post_init__(self) -> None:
        require(self.vad_energy_mean_scale >= 0, "vad_energy_mean_scale must not be negative")
        require(0 < self.vad_proportion_threshold < 1, "vad_proportion_threshold must lie between 0 and 1")
        require(self.vad_frames_context >= 0, "vad_frames_context must not be negative")
        ordered = 0 < self.silence_threshold <= self.speech_threshold < 1
        require(ordered, "speech_threshold must lie between 0 and 1, silence_threshold between 0 and it")
        for name in ("min_speech", "min_silence", "speech_pad"):
            require(0 <= getattr(self, name) <= 10, f"{name} is {getattr(self, name)} s; it must be from 0 to 10")

    @property
    def needs_audio(self) -> bool:
        """The energy of the frames does not suffice."""
        return self.method == "silero"

    @property
    def stretches(self) -> StretchOptions:
        """Those of silero."""
        return StretchOptions(
            self.speech_threshold, self.silence_threshold, self.min_speech, self.min_silence, self.speech_pad
        )


def energy_vad(log_energy: NDArray[np.float32], options: VadOptions) -> NDArray[np.bool_]:
    """Which frames are speech: `energy_frames` with OPTIONS."""
    return energy_frames(
        log_energy,
        options.vad_energy_threshold,
        options.vad_energy_mean_scale,
        options.vad_proportion_threshold,
        options.vad_frames_context,
    )
