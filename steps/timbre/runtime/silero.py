"""Voice activity detection by the network of silero-vad (MIT), run by onnxruntime, as a whole or block by block.

Called by feats/network_vad.py, speech_stream.py and serve/.
"""

import importlib.util
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from timbre.utils.errors import DataError

RATE = 16000
WINDOW = 512  # samples that a probability is of: 32 ms
_CONTEXT = 64  # samples before a window that the network sees as well
_BLOCK = 1024  # windows a call: memory stays bounded, however long the audio is
_PACKAGE_FILE = "data/silero_vad_16k_sequence.onnx"  # all windows of a stretch of audio in one call

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class StretchOptions:
    """When a stretch of speech begins and ends; probabilities and seconds, as VadOptions of the recipe has them."""

    speech_threshold: float = 0.5
    silence_threshold: float = 0.35
    min_speech: float = 0.25
    min_silence: float = 0.1
    speech_pad: float = 0.03


class SileroVad:
    """The probability of speech, window after window; what was heard before is remembered until `reset`.

    It takes both forms of the model: that of one window a call (inputs `input`, `state`, `sr`), and that of a stretch
    of windows (`input`, `h`, `c`), which gives the same and is faster.
    """

    def __init__(self, model: bytes | Path) -> None:
        """MODEL: the onnx file, or what is in it. Raises DataError where it is not such a model."""
        try:
            from onnxruntime import InferenceSession, SessionOptions
        except ImportError as error:
            raise DataError(f"the silero VAD needs onnxruntime (pip install onnxruntime): {error}") from error
        path = model if isinstance(model, Path) else None
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # jobs run beside each other
        options.log_severity_level = 3  # no warnings to stderr
        try:
            source = model if isinstance(model, bytes) else str(model)
            self._session = InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has an exception a kind of damage, none of them public
            raise DataError(f"not a network that can be run: {str(error).splitlines()[0]}", path) from error
        names = {one.name for one in self._session.get_inputs()}
        self._whole = names == {"input", "h", "c"}
        if not self._whole and names != {"input", "state", "sr"}:
            raise DataError(f"not the network of silero-vad: its inputs are {', '.join(sorted(names))}", path)
        self.reset()

    def reset(self) -> None:
        """What comes next is the beginning of a recording."""
        shape = (1, 1, 128)
        self._state = [np.zeros(shape, np.float32)] * 2 if self._whole else [np.zeros((2, 1, 128), np.float32)]
        self._before = np.zeros(_CONTEXT, np.float32)
        self._rest = np.zeros(0, np.float32)

    def push(self, samples: Samples) -> NDArray[np.float32]:
        """Probabilities (num_windows,) of the windows of 512 samples that SAMPLES (N,) at 16 kHz complete."""
        heard = np.concatenate([self._rest, samples.astype(np.float32, copy=False)])
        number = len(heard) // WINDOW
        whole, self._rest = np.concatenate([self._before, heard[: number * WINDOW]]), heard[number * WINDOW :].copy()
        if not number:
            return np.zeros(0, np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(whole, _CONTEXT + WINDOW)[::WINDOW]
        self._before = whole[-_CONTEXT:].copy()
        blocks = (np.ascontiguousarray(windows[start : start + _BLOCK]) for start in range(0, number, _BLOCK))
        return np.concatenate([self._run(block) for block in blocks])

    def probabilities(self, samples: Samples) -> NDArray[np.float32]:
        """Those of a whole recording, the last window filled up with zeros; what was heard before is forgotten."""
        self.reset()
        found = self.push(np.pad(samples, (0, -len(samples) % WINDOW)))
        self.reset()
        return found

    def _run(self, windows: Samples) -> NDArray[np.float32]:
        if self._whole:
            inputs = {"input": windows, "h": self._state[0], "c": self._state[1]}
            values, *self._state = self._session.run(["speech_probs", "hn", "cn"], inputs)
            return np.asarray(values, np.float32).reshape(-1)
        found = np.empty(len(windows), np.float32)
        for place, window in enumerate(windows):
            inputs = {"input": window[None], "state": self._state[0], "sr": np.array(RATE, np.int64)}
            value, self._state[0] = self._session.run(["output", "stateN"], inputs)
            found[place] = value.item()
        return found


def package_model() -> Path:
    """The onnx file in the installed package silero-vad, which is not imported: that would bring torch.

    Raises:
        DataError: it is not installed
    """
    spec = importlib.util.find_spec("silero_vad")
    path = Path(spec.origin).parent / _PACKAGE_FILE if spec is not None and spec.origin else None
    if path is None or not path.is_file():
        raise DataError("the silero VAD needs the package silero-vad, 6.2 or newer (pip install silero-vad)", path)
    return path


def speech_stretches(
    probabilities: NDArray[np.float32], num_samples: int, options: StretchOptions = StretchOptions()
) -> list[tuple[float, float]]:
    """(start, end) in samples of each stretch of speech, in order and apart, as silero-vad's get_speech_timestamps.

    Args:
        probabilities: (num_windows,), those of `SileroVad`
        num_samples: of the audio, at 16 kHz
        options: thresholds and durations
    """
    found: list[tuple[int, int]] = []
    begin = silent = None  # where the stretch begins, and the silence that may end it
    for window, probability in enumerate(probabilities):
        at = window * WINDOW
        if probability >= options.speech_threshold:
            begin, silent = at if begin is None else begin, None
        elif probability < options.silence_threshold and begin is not None:
            silent = at if silent is None else silent
            if at - silent >= options.min_silence * RATE:
                found.append((begin, silent))
                begin = silent = None
    if begin is not None:
        found.append((begin, num_samples))
    kept = [(start, end) for start, end in found if end - start > options.min_speech * RATE]
    pad = options.speech_pad * RATE
    gaps = [start - end for (_, end), (start, _) in pairwise(kept)]
    before = [min(pad, kept[0][0]) if kept else 0, *(min(pad, gap / 2) for gap in gaps)]
    after = [*(min(pad, gap / 2) for gap in gaps), pad]
    return [
        (start - less, min(num_samples, end + more))
        for (start, end), less, more in zip(kept, before, after, strict=False)
    ]
