"""What can be told of a signal without knowing what is said: level, clipping, offset, and a hash of its samples.

Called by the audit of a corpus, for every utterance, and by encoder.py.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

FLOOR = -120.0  # dBFS of what has no energy at all
_BLOCK = 1 << 22  # samples that are looked at a time: memory stays bounded, however long the audio is
_FULL_SCALE = 32736  # int16; from here on, 0.1 % below the end of the range, a sample is at full scale
_RUN = 3  # samples at full scale in a row are clipped: a sound peak touches it with one or two


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """Of one utterance: rate in Hz; seconds; peak and level (root mean square, without the offset) in dBFS; shares of
    samples that are clipped and that are exactly zero; dc, the mean of the samples, 1 being full scale; content, a
    64-bit hash of the samples (0: they are all zero)."""

    rate: int
    seconds: float
    peak: float
    level: float
    clipped: float
    zeros: float
    dc: float
    content: int


def measure(samples: Samples, rate: int) -> AudioFacts:
    """Facts of SAMPLES (num_samples,) in [-1, 1) at RATE Hz, as 16-bit audio, which the hash is of.

    Zeros at both ends do not count in the hash, nor does the rate: the same audio in another container, padded, or
    under a wrong header has the same. Another gain, codec, rate of sampling or start makes another.
    """
    pcm = np.empty(len(samples), np.int16)
    for start in range(0, len(samples), _BLOCK):
        block = samples[start : start + _BLOCK]
        pcm[start : start + _BLOCK] = np.clip(np.rint(block * np.float32(32768)), -32768, 32767)
    dc, deviation = _moments(samples)
    sounding = pcm != 0
    first, last = int(sounding.argmax()), len(pcm) - int(sounding[::-1].argmax())
    num_sounding = int(np.count_nonzero(sounding))
    return AudioFacts(
        rate=rate,
        seconds=len(samples) / rate,
        peak=_decibels(max(float(samples.max()), -float(samples.min()))),
        level=_decibels(deviation),
        clipped=_num_clipped(pcm) / len(pcm),
        zeros=1 - num_sounding / len(pcm),
        dc=dc,
        content=_hash(pcm[first:last]) if num_sounding else 0,
    )


def _moments(samples: Samples) -> tuple[float, float]:
    """Mean and standard deviation, in double precision; some samples at a time if they are many."""
    blocks = [samples[start : start + _BLOCK] for start in range(0, len(samples), _BLOCK)]
    if len(blocks) == 1:
        values = samples.astype(np.float64)
        return float(values.mean()), float(values.std())
    mean = sum(float(block.sum(dtype=np.float64)) for block in blocks) / len(samples)
    squares = sum(float(np.square(block.astype(np.float64) - mean).sum()) for block in blocks)
    return mean, (squares / len(samples)) ** 0.5


def _num_clipped(pcm: NDArray[np.int16]) -> int:
    """Samples in runs of at least _RUN at full scale, all of one sign."""
    count = 0
    for high in (pcm >= _FULL_SCALE, pcm <= -_FULL_SCALE):
        if np.count_nonzero(high) < _RUN:
            continue
        edges = np.diff(high.astype(np.int8), prepend=0, append=0)
        lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
        count += int(lengths[lengths >= _RUN].sum())
    return count


def _decibels(amplitude: float) -> float:
    return max(FLOOR, 20 * float(np.log10(amplitude))) if amplitude > 0 else FLOOR


def _hash(pcm: NDArray[np.int16]) -> int:
    data = np.ascontiguousarray(pcm, "<i2")
    return int.from_bytes(hashlib.blake2b(data.data, digest_size=8).digest(), "little") or 1
