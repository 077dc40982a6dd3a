"""How good a recording is, by its energy and VAD: signal-to-noise ratio, and what is above 4 kHz.

Called by feats/speech_quality.py and encoder.py.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_FEW = 10  # frames: a noise level is not measured on less
_LOWEST = 0.1  # share of all frames that stands for the noise then
_RANGE = (-20.0, 80.0)  # dB
_BAND_RANGE = (-90.0, 30.0)  # dB
_BLOCK = 20000  # frames that are looked at a time: memory stays bounded, however long the audio is


def signal_to_noise(log_energy: NDArray[np.float32], voiced: NDArray[np.bool_]) -> float:
    """Signal-to-noise ratio in dB, between -20 and 80.

    The noise is the mean power of the frames without speech or, where they are too few, of the tenth of all frames with
    the least power; the signal is what the frames of speech have more.

    Args:
        log_energy: (num_frames,) natural logarithm
        voiced: (num_frames,) VAD decision, some of it True
    """
    power = np.exp(np.asarray(log_energy, np.float64) - float(np.max(log_energy)))
    rest = power[~voiced]
    if len(rest) < _FEW:
        rest = np.sort(power)[: max(1, int(_LOWEST * len(power)))]
    noise = max(float(rest.mean()), np.finfo(np.float64).tiny)
    signal = max(float(power[voiced].mean()) - noise, np.finfo(np.float64).tiny)
    return float(np.clip(10 * np.log10(signal / noise), *_RANGE))


@dataclass(frozen=True)
class Bins:
    """Of filter banks: the columns of a voice on a telephone, those above; whether they are of power or magnitude."""

    voice: slice
    high: slice
    power: bool


def high_band(feats: NDArray[np.float32], voiced: NDArray[np.bool_], bins: Bins) -> float:
    """Power of speech above 4 kHz over that between 1 and 3.3 kHz, a mean filter of each, in dB between -90 and 30.

    A telephone, or a file that was one, has nothing there: 20 dB and more below what a wide-band microphone gives.

    Args:
        feats: (num_frames, num_bins) log filter banks, not normalised
        voiced: (num_frames,) VAD decision, some of it True
        bins: the columns
    """
    factor, rows = (1 if bins.power else 2), np.flatnonzero(voiced)
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    means = [np.exp(factor * feats[block].astype(np.float64)).mean(axis=0) for block in blocks]
    power = means[0] if len(means) == 1 else np.average(means, axis=0, weights=[len(block) for block in blocks])
    tiny = np.finfo(np.float64).tiny
    ratio = 10 * np.log10(max(float(power[bins.high].mean()), tiny) / max(float(power[bins.voice].mean()), tiny))
    return float(np.clip(ratio, *_BAND_RANGE))
