"""Weights of other toolkits' networks without the toolkits: made from names and shapes, the same on every machine.

test_toolkits.py imports them and compares with the embeddings that make_toolkit_references.py got from the toolkits.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

REFERENCES = Path(__file__).parent / "data" / "toolkits"
FRONT_ENDS = ("spectrogram.window", "mel_scale.fb", "flipped_filter")  # buffers of features: left as they are
PERIOD = 200_003  # after so many numbers they are the same again; a prime, so that rows differ
SECONDS = (3.21, 2.015)  # of the audio, the second with 202 centred frames


def numbers(seed: str, size: int) -> NDArray[np.float64]:
    """SIZE numbers from 0 to 1: of the bits of a generator, whose stream numpy does not change."""
    bits = np.random.PCG64(zlib.crc32(seed.encode())).random_raw(min(size, PERIOD))
    return np.resize((bits >> np.uint64(11)).astype(np.float64) / 2.0**53, size)


def make_state(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A state of SHAPES by name. Each layer about keeps the size of what it sees; variances are above 0."""
    state: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        last = name.rpartition(".")[2]
        uniform = numbers(name, int(np.prod(shape))).reshape(shape)
        if last == "num_batches_tracked":
            state[name] = torch.ones(shape, dtype=torch.int64)
            continue
        if last == "running_var" or (last == "weight" and len(shape) == 1):
            values = 0.5 + uniform
        elif last in ("running_mean", "bias") or len(shape) < 2:
            values = 0.4 * uniform - 0.2
        else:
            fan_in = np.prod(shape[2:] if len(shape) == 5 else shape[1:])  # five axes: kernels that are mixed
            values = (2 * uniform - 1) * ((4 if len(shape) == 5 else 3) / fan_in) ** 0.5
        state[name] = torch.tensor(values, dtype=torch.float32)
    return state


def make_waves() -> list[NDArray[np.float32]]:
    """Two signals at 16 kHz, whole numbers over 32768: harmonics that come and go, and noise.

    The second has a pause of zeros, where floors of energies tell.
    """
    waves = []
    for number, seconds in enumerate(SECONDS):
        time = np.arange(round(16000 * seconds)) / 16000
        pitch = 110 + 60 * number + 20 * np.sin(2 * np.pi * 1.3 * time)
        phase = 2 * np.pi * np.cumsum(pitch) / 16000
        loudness = 0.55 + 0.45 * np.sin(2 * np.pi * (2.1 + number) * time)
        voice = sum(np.sin(order * phase) / order for order in range(1, 30)) * loudness
        noise = numbers(f"noise {number}", len(time)) - 0.5
        sound = np.round(3000 * voice + 200 * noise) / 32768
        sound[9000 : 9000 + 5000 * number] = 0
        waves.append(sound.astype(np.float32))
    return waves


@dataclass(frozen=True)
class Reference:
    """What a toolkit made of make_waves with make_state.

    shapes: of its weights by name; embeddings: (2, dim); settings: model_config of its checkpoints, if they have one
    """

    shapes: dict[str, tuple[int, ...]]
    embeddings: NDArray[np.float32]
    settings: dict[str, Any]

    @classmethod
    def read(cls, name: str) -> "Reference":
        """That of the file NAME.npz."""
        with np.load(REFERENCES / f"{name}.npz") as file:
            lines = bytes(file["shapes"]).decode().splitlines()
            embeddings, settings = file["embeddings"], json.loads(bytes(file["settings"]))
        table = [line.split() for line in lines]
        return cls({row[0]: tuple(int(size) for size in row[1:]) for row in table}, embeddings, settings)

    def write(self, name: str) -> None:
        """Into the file NAME.npz."""
        lines = [" ".join([weight, *map(str, shape)]) for weight, shape in self.shapes.items()]
        text, settings = (
            np.frombuffer(part.encode(), dtype=np.uint8) for part in ("\n".join(lines), json.dumps(self.settings))
        )
        REFERENCES.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(REFERENCES / f"{name}.npz", shapes=text, settings=settings, embeddings=self.embeddings)
