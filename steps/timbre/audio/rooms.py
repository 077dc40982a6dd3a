"""Impulse responses of simulated rooms, as a data directory. Called by simulate_rooms.py.

Rooms as in Ko et al. 2017 (the simulated part of RIRS_NOISES): box-shaped, walls that absorb alike, one microphone and
several speakers in each. Images of the first orders and ray tracing of the tail (pyroomacoustics).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from timbre.audio.effects import generator
from timbre.audio.effects.base import Rng
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import write_table
from timbre.runtime.sound import Samples
from timbre.utils.errors import DataError
from timbre.utils.parts import Result, kept_parts, make_parts

_VERSION = 1  # of what is made: another makes everything anew
_MEAN_SIZE = 4  # rooms in a part
_TRIES = 10_000
_IMAGE_ORDER = 3
_RAYS = 2000
_PEAK = 0.5  # of the files; the level of a response has no meaning here


@dataclass(frozen=True)
class RoomOptions:
    """What rooms there are; lengths in metres, everything uniform between its bounds.

    Args:
        num_rooms: number of rooms of each kind: small ones, with sides from 1 to 10 m, and medium ones, from 10 to 30 m
        num_positions: speakers in each room, each an impulse response
        min_height: lowest ceiling
        max_height: highest
        min_absorption: share of the energy that walls take, at least
        max_absorption: at most
        min_rt60: shortest reverberation time in seconds, by Eyring's formula; other rooms are drawn again
        max_rt60: longest
        min_distance: of speaker and microphone
        max_distance: of speaker and microphone
        rate: sample rate in Hz
    """

    num_rooms: int = 50
    num_positions: int = 5
    min_height: float = 2.0
    max_height: float = 5.0
    min_absorption: float = 0.2
    max_absorption: float = 0.8
    min_rt60: float = 0.1
    max_rt60: float = 1.2
    min_distance: float = 0.3
    max_distance: float = 5.0
    rate: int = 16000

    def __post_init__(self) -> None:
        bounds = {
            "height": (0.5, self.min_height, self.max_height),
            "absorption": (0.01, self.min_absorption, self.max_absorption),
            "rt60": (0.0, self.min_rt60, self.max_rt60),
            "distance": (0.1, self.min_distance, self.max_distance),
        }
        for name, (lowest, low, high) in bounds.items():
            if not lowest <= low <= high:
                raise DataError(f"rooms: {lowest:g} <= min_{name} <= max_{name} is wanted, not {low:g} and {high:g}")
        if self.max_absorption > 0.99 or min(self.num_rooms, self.num_positions) < 1 or self.rate < 4000:
            raise DataError("rooms: max_absorption <= 0.99, num_rooms and num_positions >= 1, rate >= 4000 are wanted")


SIDES = {"small": (1.0, 10.0), "medium": (10.0, 30.0)}


@dataclass(frozen=True)
class _Room:
    sides: tuple[float, float, float]
    absorption: float
    rt60: float
    microphone: tuple[float, float, float]
    speakers: list[tuple[float, float, float]]


@dataclass(frozen=True)
class _Item:
    """A room to be drawn: its id, and whether it is small or medium."""

    name: str
    kind: str
    sources: tuple[str, ...] = ()


def simulate_rooms(out_dir: Path, options: RoomOptions, nj: int, seed: int = 0) -> None:
    """Writes OUT_DIR: audio/*/*.wav, wav.scp, utt2spk (the room stands for the speaker) and utt2rt60 (seconds).

    Half of the responses are of small rooms, half of medium ones. Each begins at its direct path.

    Args:
        out_dir: the new data directory
        options: the rooms
        nj: number of jobs; it does not change the rooms
        seed: of everything random

    Raises:
        DataError: no room fits the options
    """
    items = [_Item(f"{kind}room-{number:04d}", kind) for kind in SIDES for number in range(1, options.num_rooms + 1)]
    with kept_parts(out_dir / "audio", items, f"rooms {_VERSION} {options} {seed}", _MEAN_SIZE) as parts:
        results = make_parts(parts, partial(_simulate, options=options, seed=seed), nj, f"rooms {out_dir}")
        wavs: dict[str, str] = {}
        room_of: dict[str, str] = {}
        rt60: dict[str, str] = {}
        for part, result in zip(parts, results, strict=True):
            for name, room, seconds in result["made"]:
                wavs[name], room_of[name], rt60[name] = str(part.folder / f"{name}.wav"), room, f"{seconds:.3f}"
        DataDir(out_dir, wavs, room_of).write(out_dir)
        write_table(out_dir / "utt2rt60", rt60)


def _simulate(items: Sequence[_Item], folder: Path, options: RoomOptions, seed: int) -> Result:
    made = []
    for item in items:
        rng = generator(seed, 0, item.name)
        room = _draw(SIDES[item.kind], options, rng)
        for number, response in enumerate(_responses(room, options.rate, int(rng.integers(1 << 31))), start=1):
            name = f"{item.name}-{number:02d}"
            encoded = BytesIO()
            soundfile.write(encoded, response, options.rate, format="WAV", subtype="PCM_16")
            (folder / f"{name}.wav").write_bytes(encoded.getvalue())
            made.append((name, item.name, room.rt60))
    return {"failures": {}, "made": made}


def _draw(sides: tuple[float, float], options: RoomOptions, rng: Rng) -> _Room:
    """A room with SIDES between the two, whose reverberation time is as wanted and where the speakers have a place."""
    for _ in range(_TRIES):
        box = (*rng.uniform(*sides, size=2).tolist(), float(rng.uniform(options.min_height, options.max_height)))
        absorption = float(rng.uniform(options.min_absorption, options.max_absorption))
        rt60 = eyring(box, absorption)
        if not options.min_rt60 <= rt60 <= options.max_rt60:
            continue
        margin = min(0.2, min(box) / 4)  # from the walls
        places = rng.uniform(margin, np.array(box) - margin, size=(1 + 20 * options.num_positions, 3))
        distances = np.linalg.norm(places[1:] - places[0], axis=1)
        fitting = places[1:][(distances >= options.min_distance) & (distances <= options.max_distance)]
        if len(fitting) >= options.num_positions:
            triples = [(float(x), float(y), float(z)) for x, y, z in [places[0], *fitting[: options.num_positions]]]
            return _Room(box, absorption, rt60, triples[0], triples[1:])
    raise DataError(f"rooms: none of {_TRIES} with sides of {sides[0]:g} to {sides[1]:g} m fits the options")


def eyring(box: tuple[float, float, float], absorption: float) -> float:
    """Reverberation time in seconds (decay by 60 dB) of a box whose walls absorb alike, by Eyring's formula."""
    x, y, z = box
    surface = 2 * (x * y + y * z + z * x)
    return 0.161 * x * y * z / (-surface * math.log(1 - absorption))


def _responses(room: _Room, rate: int, seed: int) -> list[Samples]:
    """An impulse response for every speaker, from the direct path on."""
    import pyroomacoustics  # slow to import

    pyroomacoustics.random.seed(seed)  # of the rays: its own generator, which nothing else uses
    material = pyroomacoustics.Material(room.absorption, 0.1)
    box = pyroomacoustics.ShoeBox(
        room.sides, fs=rate, materials=material, max_order=_IMAGE_ORDER, ray_tracing=True, air_absorption=True
    )
    box.set_ray_tracing(n_rays=_RAYS, receiver_radius=0.5)
    for speaker in room.speakers:
        box.add_source(speaker)
    box.add_microphone(room.microphone)
    box.compute_rir()
    delay = pyroomacoustics.constants.get("frac_delay_length") // 2
    speed = pyroomacoustics.constants.get("c")
    responses = []
    for speaker, response in zip(room.speakers, box.rir[0], strict=True):
        direct = delay + int(math.dist(speaker, room.microphone) / speed * rate)
        cut = np.asarray(response[max(direct - 8, 0) :], dtype=np.float32)  # with the beginning of the pulse
        responses.append(cut * np.float32(_PEAK / np.abs(cut).max()))
    return responses
