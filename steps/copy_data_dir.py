#!/usr/bin/env python3
"""A copy of a data directory, with other ids or without some of its files, as Kaldi's utils/copy_data_dir.sh."""

from pathlib import Path

from timbre.datadir.contents import Contents
from timbre.utils.cli import run_step


def copy_data_dir(
    source: Path,
    target: Path,
    utt_prefix: str = "",
    utt_suffix: str = "",
    spk_prefix: str = "",
    spk_suffix: str = "",
    exclude: list[str] | None = None,
) -> None:
    """Write TARGET with every table and trial list of SOURCE; features are pointed at, not copied.

    Args:
        source: data directory
        target: the new one; tables it holds already are replaced
        utt_prefix: put before every utterance id (give the same as --spk-prefix to keep both sorted alike)
        utt_suffix: put after every utterance id
        spk_prefix: put before every speaker id
        spk_suffix: put after every speaker id
        exclude: names of files to leave out, such as [feats.scp,vad.scp,trials]
    """
    contents = Contents.read(source).drop(exclude or [])
    contents.rename(
        lambda utt: utt_prefix + utt + utt_suffix,
        lambda spk: spk_prefix + spk + spk_suffix,
    ).write(target)


if __name__ == "__main__":
    run_step(copy_data_dir)
