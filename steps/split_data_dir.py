#!/usr/bin/env python3
"""A data directory in equal parts, as Kaldi's utils/split_data.sh."""

from pathlib import Path

from timbre.datadir.contents import Contents
from timbre.datadir.split import split, write_split
from timbre.utils.cli import run_step


def split_data_dir(data_dir: Path, num_parts: int, per_utt: bool = False) -> None:
    """Write DATA_DIR/split<N>/1 ... DATA_DIR/split<N>/<N> (split<N>utt with --per-utt true), without trial lists.

    Args:
        data_dir: data directory
        num_parts: how many parts
        per_utt: parts of equal size, which may cut a speaker apart
    """
    parts = split(Contents.read(data_dir), num_parts, per_utt=per_utt)
    write_split(parts, data_dir / f"split{num_parts}{'utt' if per_utt else ''}")


if __name__ == "__main__":
    run_step(split_data_dir)
