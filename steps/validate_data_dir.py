#!/usr/bin/env python3
"""Whether a data directory is whole and consistent, as Kaldi's utils/validate_data_dir.sh; every problem is listed."""

import sys
from pathlib import Path

from timbre.datadir.validate import examine
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def validate_data_dir(data_dir: Path, need_wav: bool = False, need_feats: bool = False) -> None:
    """List every problem of DATA_DIR as "file:line: what", and fail when there is one.

    Tables must be sorted as LC_ALL=C sorts, in UTF-8, without empty or double lines; all must know the same utterances;
    the files, archive entries and trials they name must exist. Warnings do not count: one speaker only, an utterance
    id that does not begin with its speaker's, trials that repeat.

    Args:
        data_dir: data directory
        need_wav: wav.scp must be there
        need_feats: feats.scp must be there
    """
    report = examine(data_dir, need_wav=need_wav, need_feats=need_feats)
    for problem in report.errors:
        print(problem, file=sys.stderr)
    for warning in report.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if report.errors:
        raise DataError(f"{len(report.errors)} problem{'s'[: len(report.errors) != 1]}; see above", data_dir)
    print(f"{data_dir} is valid: {report.summary}")


if __name__ == "__main__":
    run_step(validate_data_dir)
