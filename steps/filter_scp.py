#!/usr/bin/env python3
"""Lines of a table, such as an scp, by their keys: as Kaldi's utils/filter_scp.pl."""

import logging
from pathlib import Path

from timbre.datadir.tables import read_ids, read_table, write_table
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def filter_scp(ids: Path, table: Path, out: Path, exclude: bool = False) -> None:
    """Write OUT with those lines of TABLE whose key is one of IDS.

    Args:
        ids: a list of ids, one a line, or another table of which the keys count
        table: such as xvector.scp or utt2spk
        out: the table to write
        exclude: keep the other lines instead
    """
    wanted = set(read_ids(ids))
    content = read_table(table)
    kept = {key: value for key, value in content.items() if (key in wanted) != exclude}
    if not kept:
        raise DataError(f"none of its {len(content)} lines is left", table)
    write_table(out, kept)
    logging.info("%s: %d of %d lines of %s", out, len(kept), len(content), table)


if __name__ == "__main__":
    run_step(filter_scp)
