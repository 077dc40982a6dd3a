#!/usr/bin/env python3
"""Several data directories as one, as Kaldi's utils/combine_data.sh."""

from pathlib import Path

from timbre.datadir.combine import combine
from timbre.datadir.contents import Contents
from timbre.utils.cli import run_step


def combine_data_dir(target: Path, sources: Path | list[Path]) -> None:
    """Write TARGET with the utterances of all SOURCES, which may not share ids (steps/copy_data_dir.py adds prefixes).

    Tables that must know every utterance, such as feats.scp, are left out where a source lacks them; trial lists of the
    same name are joined.

    Args:
        target: the new data directory
        sources: the directories, as [a,b,c]
    """
    directories = sources if isinstance(sources, list) else [sources]
    combine({str(source): Contents.read(source) for source in directories}).write(target)


if __name__ == "__main__":
    run_step(combine_data_dir)
