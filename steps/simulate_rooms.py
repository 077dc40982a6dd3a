#!/usr/bin/env python3
"""Impulse responses of simulated rooms, small and medium, for reverberation."""

from pathlib import Path

from timbre.audio.rooms import RoomOptions
from timbre.audio.rooms import simulate_rooms as simulate
from timbre.utils.cli import run_step


def simulate_rooms(out_dir: Path, rooms: RoomOptions = RoomOptions(), seed: int = 0, nj: int = 4) -> None:
    """Write OUT_DIR, a data directory of impulse responses; half are of small rooms, half of medium ones.

    Args:
        out_dir: the new data directory
        rooms: number, size and walls of the rooms, or a YAML file of them
        seed: of everything random
        nj: number of jobs
    """
    simulate(out_dir, rooms, nj, seed)


if __name__ == "__main__":
    run_step(simulate_rooms)
