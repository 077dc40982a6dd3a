"""Voice activity detection by the network of the package silero-vad (MIT), run by onnxruntime; called by vad.py."""

import importlib.util
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from timbre.audio.reading import Samples, resample
from timbre.feats.options import FrameOptions
from timbre.feats.vad import VadOptions
from timbre.utils.errors import DataError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_FILE = "data/silero_vad_16k_sequence.onnx"  # all windows of a stretch of audio in one call
_RATE = 16000
_WINDOW = 512  # samples that a probability is of: 32 ms
_CONTEXT = 64  # samples before a window that the network sees as well
_BLOCK = 1024  # windows a call: memory stays bounded, however long the audio is


def speech_frames(samples: Samples, num_frames: int, options: VadOptions, frames: FrameOptions) -> NDArray[np.bool_]:
    """Which frames are speech: (NUM_FRAMES,) bool, those whose middle lies in a stretch of speech.

    Args:
        samples: (num_samples,) in [-1, 1), at the sample frequency of FRAMES; others than 16 kHz are resampled
        num_frames: how many frames the features have
        options: thresholds and durations
        frames: how frames lie in the samples
    """
    rate = int(frames.sample_frequency)
    heard = samples if rate == _RATE else resample(samples, rate, _RATE)
    stretches = np.array(speech_stretches(speech_probabilities(heard), len(heard), options)).reshape(-1, 2)
    middle = (np.arange(num_frames) * frames.shift - frames.lead + frames.length / 2) * (_RATE / rate)
    before = np.searchsorted(stretches[:, 0], middle, side="right") - 1
    ends = np.concatenate([stretches[:, 1], [-1.0]])  # of none: the last, which -1 finds
    voiced: NDArray[np.bool_] = middle < ends[before]
    return voiced


def speech_probabilities(samples: Samples) -> NDArray[np.float32]:
    """The probability of speech in each window of 512 SAMPLES, at 16 kHz in [-1, 1): (num_windows,)."""
    number = -(-len(samples) // _WINDOW)
    padded = np.zeros(_CONTEXT + number * _WINDOW, dtype=np.float32)
    padded[_CONTEXT : _CONTEXT + len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, _CONTEXT + _WINDOW)[::_WINDOW] if number else padded[:0]
    hidden = cell = np.zeros((1, 1, 128), dtype=np.float32)
    found: list[NDArray[np.float32]] = []
    for start in range(0, number, _BLOCK):
        inputs = {"input": np.ascontiguousarray(windows[start : start + _BLOCK]), "h": hidden, "c": cell}
        values, hidden, cell = _session().run(["speech_probs", "hn", "cn"], inputs)
        found.append(values.reshape(-1))
    return np.concatenate(found) if found else np.zeros(0, dtype=np.float32)


def speech_stretches(
    probabilities: NDArray[np.float32], num_samples: int, options: VadOptions
) -> list[tuple[float, float]]:
    """(start, end) in samples of each stretch of speech, in order and apart, as silero-vad's get_speech_timestamps.

    Args:
        probabilities: (num_windows,), those of `speech_probabilities`
        num_samples: of the audio
        options: thresholds and durations
    """
    found: list[tuple[int, int]] = []
    begin = silent = None  # where the stretch begins, and the silence that may end it
    for window, probability in enumerate(probabilities):
        at = window * _WINDOW
        if probability >= options.speech_threshold:
            begin, silent = at if begin is None else begin, None
        elif probability < options.silence_threshold and begin is not None:
            silent = at if silent is None else silent
            if at - silent >= options.min_silence * _RATE:
                found.append((begin, silent))
                begin = silent = None
    if begin is not None:
        found.append((begin, num_samples))
    kept = [(start, end) for start, end in found if end - start > options.min_speech * _RATE]
    pad = options.speech_pad * _RATE
    gaps = [start - end for (_, end), (start, _) in pairwise(kept)]
    before = [min(pad, kept[0][0]) if kept else 0, *(min(pad, gap / 2) for gap in gaps)]
    after = [*(min(pad, gap / 2) for gap in gaps), pad]
    return [
        (start - less, min(num_samples, end + more))
        for (start, end), less, more in zip(kept, before, after, strict=False)
    ]


@lru_cache(maxsize=1)
def _session() -> "InferenceSession":
    spec = importlib.util.find_spec("silero_vad")  # not imported: that would bring torchaudio
    path = Path(spec.origin).parent / _FILE if spec is not None and spec.origin else None
    try:
        from onnxruntime import InferenceSession, SessionOptions
    except ImportError as error:
        raise DataError(f"the silero VAD needs onnxruntime (pip install onnxruntime): {error}") from error
    if path is None or not path.is_file():
        raise DataError("the silero VAD needs the package silero-vad, 6.2 or newer (pip install silero-vad)", path)
    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # jobs run beside each other
    return InferenceSession(path, options, providers=["CPUExecutionProvider"])
