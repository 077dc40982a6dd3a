"""How a signal is laid out in frames, and what is done to whole signals and utterances: feats/extractor.py in numpy.

Between these two lies the graph front.onnx, which needs a few frames' samples at a time. Called by encoder.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Feats = NDArray[np.float32]

_BLOCK = 1 << 20  # samples: of sums in double precision


@dataclass(frozen=True)
class Framing:
    """What features are of; export/front_settings.py makes it of their options.

    Args:
        length: samples in a frame
        shift: samples from one frame to the next
        lead: samples of the first frame that lie before the signal
        edges: snip: only whole frames; kaldi: the signal is mirrored, the samples at its ends twice; reflect: once;
            zeros: there is silence around it
        trailing: frames more, of the silence after it
        unit_scale: features are of samples in [-1, 1); otherwise at the range of int16
        standardize: the signal is brought to mean 0 and variance 1 first; this much is added to its deviation
        level: RMS in dB of full scale that quieter signals are raised to
        preemphasis: of the first difference of the whole signal
        range_db: what is more below the largest value of the utterance is raised to that; 0: no limit
        subtract_mean: subtract the mean over the utterance from every column
    """

    length: int
    shift: int
    lead: int
    edges: Literal["snip", "kaldi", "reflect", "zeros"]
    trailing: int = 0
    unit_scale: bool = False
    standardize: float | None = None
    level: float | None = None
    preemphasis: float = 0.0
    range_db: float = 0.0
    subtract_mean: bool = False

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Framing":
        """What asdict made CONTENT of. Raises TypeError, ValueError where it is something else."""
        framing = cls(**content)
        sizes = (framing.length, framing.shift, framing.lead, framing.trailing)
        if not all(type(size) is int and 0 <= size < 1 << 20 for size in sizes) or not framing.shift:
            raise ValueError(f"frames of {sizes}")
        if framing.edges not in ("snip", "kaldi", "reflect", "zeros"):
            raise ValueError(f"edges: {framing.edges}")
        return framing

    def num_frames(self, num_samples: int) -> int:
        """Frames in a signal of NUM_SAMPLES samples."""
        if self.edges == "snip":
            return max(0, 1 + (num_samples - self.length) // self.shift)
        if self.edges == "kaldi":
            return (num_samples + self.shift // 2) // self.shift
        return 1 + num_samples // self.shift + self.trailing if num_samples else 0

    def prepared(self, samples: Samples) -> Samples:
        """SAMPLES (N,) in [-1, 1) with what is done to a whole signal first."""
        if self.standardize is not None:
            deviation = samples.std(dtype=np.float64)
            samples = (samples - np.float32(samples.mean(dtype=np.float64))) / np.float32(deviation + self.standardize)
        if self.level is not None:
            blocks = range(0, len(samples), _BLOCK)
            total = sum(float(np.square(samples[start : start + _BLOCK], dtype=np.float64).sum()) for start in blocks)
            gain = 10 ** (self.level / 20) / max((total / len(samples)) ** 0.5, 1e-10)
            samples = samples * np.float32(max(gain, 1.0))
        if self.preemphasis:
            before = np.concatenate((samples[1:2] if len(samples) > 1 else samples, samples[:-1]))
            samples = samples - np.float32(self.preemphasis) * before
        return samples

    def laid(self, samples: Samples, first: int, last: int, scale: float = 1.0) -> Samples:
        """The samples of frames FIRST to before LAST, one shift after another, times SCALE."""
        start = first * self.shift - self.lead
        stop = (last - 1) * self.shift + self.length - self.lead
        size = len(samples)
        if start >= 0 and stop <= size:
            return samples[start:stop] * np.float32(scale)
        place = np.arange(start, stop)
        inside = np.ones(len(place), bool)
        if self.edges == "reflect":
            place = place % max(1, 2 * size - 2)
            place = np.minimum(place, np.abs(2 * size - 2 - place))
        elif self.edges == "kaldi":
            place = place % (2 * size)
            place = np.minimum(place, 2 * size - 1 - place)
        else:
            inside = (place >= 0) & (place < size)
        laid = np.zeros(len(place), np.float32)
        laid[inside] = samples[place[inside]] * np.float32(scale)
        return laid

    def finished(self, feats: Feats, transform: NDArray[np.float32] | None) -> Feats:
        """FEATS (T, C) of a whole utterance with what is done to them last; TRANSFORM (C, dim): cosines."""
        if not len(feats):
            return feats
        if self.range_db:
            feats = np.maximum(feats, feats.max() - np.float32(self.range_db))
        if transform is not None:
            feats = feats @ transform
        return feats - feats.mean(0, dtype=np.float32) if self.subtract_mean else feats


def in_stretches(
    stretches: Sequence[tuple[float, float]], num_frames: int, frames: tuple[int, int, int], scale: float
) -> NDArray[np.bool_]:
    """Which frames (NUM_FRAMES,) have their middle in a stretch of speech.

    Args:
        stretches: (start, end) of each in samples, in order and apart
        num_frames: number of frames
        frames: their shift, lead and length, as of a Framing
        scale: samples of the stretches to one of the frames
    """
    shift, lead, length = frames
    bounds = np.array(stretches).reshape(-1, 2)
    middle = (np.arange(num_frames) * shift - lead + length / 2) * scale
    before = np.searchsorted(bounds[:, 0], middle, side="right") - 1
    ends = np.concatenate([bounds[:, 1], [-1.0]])  # of none: the last, which -1 finds
    voiced: NDArray[np.bool_] = middle < ends[before]
    return voiced
