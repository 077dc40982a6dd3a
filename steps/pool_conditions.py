#!/usr/bin/env python3
"""Data directories of the same speakers under several conditions as one, with all of their trials, for calibration."""

import logging
from pathlib import Path

from timbre.datadir.combine import combine
from timbre.datadir.contents import Contents
from timbre.datadir.tables import read_table, write_table
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def pool_conditions(data_dirs: list[Path], embeddings: list[Path], out_dir: Path) -> None:
    """Write OUT_DIR, a data directory with the trials of all DATA_DIRS, and OUT_DIR/xvector.scp.

    Utterances keep their ids in the first directory; those of each other get its name before theirs. Speakers are the
    same in all. Features and embeddings are pointed at, not copied.

    Args:
        data_dirs: each with trials, such as [calibration,dev_other_day]
        embeddings: of the utterances of each, xvector.scp
        out_dir: the new data directory
    """
    if len(data_dirs) != len(embeddings):
        raise DataError(f"{len(data_dirs)} data directories, and embeddings of {len(embeddings)}")
    sources: dict[str, Contents] = {}
    places: dict[str, str] = {}
    for number, (path, vectors) in enumerate(zip(data_dirs, embeddings, strict=True)):
        prefix = f"{path.name}-" if number else ""
        contents = Contents.read(path).drop(["others.scp"])  # embeddings of others beside a list for calibration
        if "trials" not in contents.trials:
            raise DataError("no trials in it", path)
        sources[str(path)] = contents.rename(prefix.__add__, str)
        table = read_table(vectors)
        if missing := sorted(contents.utt2spk.keys() - table.keys()):
            raise DataError(f"no embedding of '{missing[0]}' ({len(missing)} of {len(contents.utt2spk)})", vectors)
        places |= {prefix + utt: table[utt] for utt in contents.utt2spk}
    pooled = combine(sources)
    pooled.write(out_dir)
    write_table(out_dir / "xvector.scp", places)
    text = "%s: %d trials between %d utterances of %d speakers under %d conditions"
    logging.info(text, out_dir, len(pooled.trials["trials"]), *pooled.counts(), len(sources))


if __name__ == "__main__":
    run_step(pool_conditions)
