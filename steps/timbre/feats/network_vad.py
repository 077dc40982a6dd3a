"""Voice activity detection by the network of the package silero-vad (MIT), frame by frame; called by recorded.py."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from timbre.feats.options import FrameOptions
from timbre.feats.vad import VadOptions
from timbre.runtime.framing import in_stretches
from timbre.runtime.silero import RATE, SileroVad, package_model, speech_stretches
from timbre.runtime.sound import Samples, resample


def speech_frames(samples: Samples, num_frames: int, options: VadOptions, frames: FrameOptions) -> NDArray[np.bool_]:
    """Which frames are speech: (NUM_FRAMES,) bool, those whose middle lies in a stretch of speech.

    Args:
        samples: (num_samples,) in [-1, 1), at the sample frequency of FRAMES; others than 16 kHz are resampled
        num_frames: how many frames the features have
        options: thresholds and durations
        frames: how frames lie in the samples
    """
    rate = int(frames.sample_frequency)
    heard = samples if rate == RATE else resample(samples, rate, RATE)
    found = speech_stretches(vad().probabilities(heard), len(heard), options.stretches)
    return in_stretches(found, num_frames, (frames.shift, frames.lead, frames.length), RATE / rate)


@lru_cache(maxsize=1)
def vad() -> SileroVad:
    """The network of the installed package."""
    return SileroVad(package_model())
