"""Kaldi's archives of wav files (extract-segments writes them), for the tests."""

from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray


def read_wav_ark(path: Path) -> dict[str, tuple[NDArray[np.float32], int]]:
    """{key: (samples, rate)} of an archive of wav files: "key RIFF....", each as long as its RIFF chunk."""
    data, waves = path.read_bytes(), {}
    position = 0
    while position < len(data):
        start = data.index(b" ", position) + 1
        end = start + 8 + int.from_bytes(data[start + 4 : start + 8], "little")
        waves[data[position : start - 1].decode()] = soundfile.read(BytesIO(data[start:end]), dtype="float32")
        position = end
    return waves
