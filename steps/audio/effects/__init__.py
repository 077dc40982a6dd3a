"""Effects on waveforms: what is imported here can be named in conf/audio/*.yaml and conf/augment/*.yaml.

An effect is called as `effect(samples, rate, rng, speaker)`; preprocess.py, augment.py and training call the same ones.
"""

from steps.audio.effects.adaptive import Lms, Nlms
from steps.audio.effects.base import Effect, generator
from steps.audio.effects.codecs import ALaw, Gsm, Mp3, MuLaw, Opus
from steps.audio.effects.compose import AtRate, Chain, OneOf, Sometimes, build_chain
from steps.audio.effects.duration import Speed, TrimSilence
from steps.audio.effects.filtering import BandPass, RandomBandPass
from steps.audio.effects.level import Gain, Loudness
from steps.audio.effects.library import Audiomentations
from steps.audio.effects.noise import AddForegroundNoise, AddNoise, Babble, GaussianNoise
from steps.audio.effects.reverb import Reverberate
from steps.audio.effects.sources import Sources

__all__ = [
    "ALaw",
    "AddForegroundNoise",
    "AddNoise",
    "AtRate",
    "Audiomentations",
    "Babble",
    "BandPass",
    "Chain",
    "Effect",
    "Gain",
    "GaussianNoise",
    "Gsm",
    "Lms",
    "Loudness",
    "Mp3",
    "MuLaw",
    "Nlms",
    "OneOf",
    "Opus",
    "RandomBandPass",
    "Reverberate",
    "Sometimes",
    "Sources",
    "Speed",
    "TrimSilence",
    "build_chain",
    "generator",
]
