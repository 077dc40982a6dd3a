#!/usr/bin/env python3
"""A part of a data directory, as Kaldi's utils/subset_data_dir.sh."""

import logging
from pathlib import Path

from timbre.datadir.contents import Contents
from timbre.datadir.subset import CHOICES, choose
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def subset_data_dir(
    source: Path,
    target: Path,
    first: int | None = None,
    last: int | None = None,
    random: int | None = None,
    per_spk: int | None = None,
    shortest: int | None = None,
    utt_list: Path | None = None,
    spk_list: Path | None = None,
    seed: int = 0,
) -> None:
    """Write TARGET with the utterances of SOURCE that exactly one of the options chooses; every table goes along.

    Args:
        source: data directory
        target: the new one
        first: that many utterances from the beginning
        last: that many from the end
        random: that many drawn with the seed
        per_spk: at most that many of each speaker, drawn with the seed
        shortest: that many of the shortest, by utt2dur, utt2num_frames or segments
        utt_list: those listed in this file, one a line
        spk_list: those of the speakers listed in this file
        seed: of the draw
    """
    options = (first, last, random, per_spk, shortest, utt_list, spk_list)
    given = [(choice, value) for choice, value in zip(CHOICES, options, strict=True) if value is not None]
    if len(given) != 1:
        raise DataError(f"give exactly one of --{', --'.join(CHOICES).replace('_', '-')}")
    contents = Contents.read(source)
    part = contents.select(set(choose(contents, *given[0], seed)))
    part.write(target)
    counts = [f"{len(part.utt2spk)} of {len(contents.utt2spk)} utterances"]
    counts += [f"{len(part.trials.get(name, ()))} of {len(list_)} {name}" for name, list_ in contents.trials.items()]
    logging.info("%s: %s", target, ", ".join(counts))


if __name__ == "__main__":
    run_step(subset_data_dir)
