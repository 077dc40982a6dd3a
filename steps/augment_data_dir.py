#!/usr/bin/env python3
"""Augmented copies of a data directory, as Kaldi's steps/data/augment_data_dir.py and reverberate_data_dir.py."""

from pathlib import Path
from typing import Literal

from timbre.audio.augmented_copies import augment, read_copies, read_drawn
from timbre.audio.effects import Sources
from timbre.datadir.datadir import DataDir
from timbre.utils.cli import run_step
from timbre.utils.missing import Allowed


def augment_data_dir(
    data_dir: Path,
    out_dir: Path,
    augment_conf: Path = Path("conf/augment/offline.yaml"),
    noise_dir: Path | list[Path] | None = None,
    music_dir: Path | list[Path] | None = None,
    speech_dir: Path | list[Path] | None = None,
    rir_dir: Path | list[Path] | None = None,
    format: Literal["flac", "wav"] = "flac",
    seed: int = 0,
    nj: int = 4,
    allow_missing: Allowed = 0,
    draw: Allowed | None = None,
) -> None:
    """Write OUT_DIR: DATA_DIR and a copy of it for each that the configuration names, which lie in OUT_DIR/<copy>/.

    With --draw OUT_DIR has copies alone, as many as that says: 100% is one of every utterance, by one of the copies of
    the configuration, drawn; 200% two different ones. They are of the speakers of their originals (utt2uniq).

    The sources are data directories, or folders of audio files; of several, [a,b], each is as likely as the next.

    Args:
        data_dir: Kaldi data directory with wav.scp
        out_dir: the new data directory
        augment_conf: YAML of the copies and their effects; see conf/augment/. With --draw also one of effects alone, as
            those of conf/condition/, which is a copy by the name of the file
        noise_dir: where noises come from
        music_dir: where music comes from
        speech_dir: where the voices of babble come from; without it from DATA_DIR itself
        rir_dir: where impulse responses come from (steps/simulate_rooms.py makes some)
        format: of the new audio files
        seed: of all that is random
        nj: number of jobs
        allow_missing: number of utterances of a copy that may fail, or a share such as 2%; <copy>/audio.missing lists
            them, and they are left out of the copy
        draw: number of copies, or share of the utterances such as 100%, to be drawn by the seed
    """
    data = DataDir.read(data_dir)
    sources = Sources.given(noise=noise_dir, music=music_dir, speech=speech_dir or data_dir, rir=rir_dir)
    copies = read_copies(augment_conf) if draw is None else read_drawn(augment_conf)
    augment(data, out_dir, copies, sources, nj, seed, format, allow_missing, draw)


if __name__ == "__main__":
    run_step(augment_data_dir)
