#!/usr/bin/env python3
"""Mel spectrograms of a data directory, as torchaudio, librosa, SpeechBrain or voxceleb_trainer compute them."""

from pathlib import Path

from timbre.datadir.ark import Compression
from timbre.datadir.datadir import DataDir
from timbre.feats.dump_feats import Device, dump_features
from timbre.feats.options import MelspecOptions
from timbre.utils.cli import run_step
from timbre.utils.missing import Allowed


def make_melspec(
    data_dir: Path,
    melspec: MelspecOptions = MelspecOptions(),
    nj: int = 4,
    compression: Compression = "none",
    device: Device = "cpu",
    allow_missing: Allowed = 0,
) -> None:
    """Write feats.scp, and the arks it points into, for every utterance of DATA_DIR.

    Args:
        data_dir: Kaldi data directory with wav.scp (and segments, if it has them)
        melspec: how they are computed, or a YAML file of that, such as a model of another toolkit brings
        nj: number of jobs
        compression: of the arks: none, or Kaldi's CM (one byte a value, by column), CM2 (two bytes), CM3 (one byte)
        device: where to compute
        allow_missing: number of utterances that may fail, or a share such as 2%; feats.missing lists them, and they are
            left out
    """
    dump_features(DataDir.read(data_dir, need_speakers=False), melspec, nj, compression, device, allow_missing)


if __name__ == "__main__":
    run_step(make_melspec)
