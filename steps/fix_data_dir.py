#!/usr/bin/env python3
"""Mends a data directory, as Kaldi's utils/fix_data_dir.sh: sorts, drops what cannot be used, and says what."""

from pathlib import Path

from timbre.datadir.fix import fix
from timbre.utils.cli import run_step


def fix_data_dir(data_dir: Path, drop_missing_audio: bool = False) -> None:
    """Sort the tables of DATA_DIR, drop bad and double lines, and keep the utterances that every file knows.

    Prints every change; spk2utt is made anew from utt2spk. The files as they were are kept in DATA_DIR/.backup. A key
    with two different values is for you to decide: it is an error.

    Args:
        data_dir: data directory
        drop_missing_audio: drop utterances whose audio file is not there or empty
    """
    changes = fix(data_dir, drop_missing_audio=drop_missing_audio)
    print("\n".join([*changes, f"{data_dir}: {len(changes)} change{'s'[: len(changes) != 1]}"]))


if __name__ == "__main__":
    run_step(fix_data_dir)
