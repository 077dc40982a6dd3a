"""Effects on waveforms: what is imported here can be named in conf/audio/*.yaml and conf/augment/*.yaml.

An effect is called as `effect(samples, rate, rng, speaker)`;
preprocess.py, augmented_copies.py and training call the same ones.
"""

from timbre.audio.effects.adaptive import Lms, Nlms
from timbre.audio.effects.base import Effect, generator
from timbre.audio.effects.codecs import G722, ALaw, AmrNb, Gsm, Mp3, MuLaw, Opus
from timbre.audio.effects.compose import AtRate, Chain, OneOf, Sometimes, build_chain
from timbre.audio.effects.duration import Speed, TrimSilence
from timbre.audio.effects.filtering import BandPass, RandomBandPass
from timbre.audio.effects.handset import Handset
from timbre.audio.effects.level import Gain, Loudness
from timbre.audio.effects.library import Audiomentations
from timbre.audio.effects.manner import Manner
from timbre.audio.effects.noise import AddForegroundNoise, AddNoise, Babble, ColouredNoise, GaussianNoise
from timbre.audio.effects.reverb import Reverberate
from timbre.audio.effects.sources import Sources
from timbre.audio.effects.transmission import AutomaticGain, Clip, PacketLoss

__all__ = [
    "G722",
    "ALaw",
    "AddForegroundNoise",
    "AddNoise",
    "AmrNb",
    "AtRate",
    "Audiomentations",
    "AutomaticGain",
    "Babble",
    "BandPass",
    "Chain",
    "Clip",
    "ColouredNoise",
    "Effect",
    "Gain",
    "GaussianNoise",
    "Gsm",
    "Handset",
    "Lms",
    "Loudness",
    "Manner",
    "Mp3",
    "MuLaw",
    "Nlms",
    "OneOf",
    "Opus",
    "PacketLoss",
    "RandomBandPass",
    "Reverberate",
    "Sometimes",
    "Sources",
    "Speed",
    "TrimSilence",
    "build_chain",
    "generator",
]
