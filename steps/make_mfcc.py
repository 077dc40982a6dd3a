#!/usr/bin/env python3
"""MFCC of a data directory, as Kaldi's make_mfcc.sh."""

from pathlib import Path

from timbre.datadir.ark import Compression
from timbre.datadir.datadir import DataDir
from timbre.feats.dump_feats import Device, dump_features
from timbre.feats.options import MfccOptions
from timbre.utils.cli import run_step
from timbre.utils.missing import Allowed


def make_mfcc(
    data_dir: Path,
    mfcc: MfccOptions = MfccOptions(),
    nj: int = 4,
    compression: Compression = "none",
    device: Device = "cpu",
    allow_missing: Allowed = 0,
) -> None:
    """Write feats.scp, and the arks it points into, for every utterance of DATA_DIR.

    Args:
        data_dir: Kaldi data directory with wav.scp (and segments, if it has them)
        mfcc: the options of Kaldi's compute-mfcc-feats, or a YAML file of them
        nj: number of jobs
        compression: of the arks: none, or Kaldi's CM (one byte a value, by column), CM2 (two bytes), CM3 (one byte)
        device: where to compute
        allow_missing: number of utterances that may fail, or a share such as 2%; feats.missing lists them, and they are
            left out
    """
    dump_features(DataDir.read(data_dir, need_speakers=False), mfcc, nj, compression, device, allow_missing)


if __name__ == "__main__":
    run_step(make_mfcc)
