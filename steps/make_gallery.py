#!/usr/bin/env python3
"""A gallery of enrolled speakers, and probes, out of a data directory, for identify_probes.py."""

import logging
from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.datadir.gallery_list import split_gallery
from timbre.datadir.tables import write_lists, write_table
from timbre.utils.cli import run_step


def make_gallery(data_dir: Path, out_dir: Path, num_enroll: int = 3, known: float = 1.0, seed: int = 0) -> None:
    """Write OUT_DIR/enroll.spk2utt, who is enrolled with which utterances, and OUT_DIR/utt2spk, the other utterances.

    Args:
        data_dir: data directory
        out_dir: the folder to write into
        num_enroll: utterances that enrol a speaker
        known: share of the speakers that is enrolled; the others are strangers, for open-set identification
        seed: of the draws
    """
    gallery, probes = split_gallery(DataDir.read(data_dir).utt2spk, num_enroll, known, seed)
    write_lists(out_dir / "enroll.spk2utt", gallery)
    write_table(out_dir / "utt2spk", probes)
    strangers = sum(spk not in gallery for spk in probes.values())
    logging.info("%s: %d enrolled, %d probes, %d of strangers", out_dir, len(gallery), len(probes), strangers)


if __name__ == "__main__":
    run_step(make_gallery)
