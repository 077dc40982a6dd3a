#!/usr/bin/env python3
"""Voice activity detection of a data directory: by energy, as Kaldi's compute_vad_decision.sh, or by a network."""

from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.feats.dump_vad import dump_vad
from timbre.feats.vad import VadOptions
from timbre.utils.cli import run_step
from timbre.utils.missing import Allowed


def compute_vad(data_dir: Path, vad: VadOptions = VadOptions(), nj: int = 4, allow_missing: Allowed = 0) -> None:
    """Write vad.scp, a vector of 0 and 1 (one a frame) for every utterance of DATA_DIR.

    An utterance without any voiced frame keeps all its frames and is named in a warning.

    Args:
        data_dir: Kaldi data directory with features (their log energy in column 0, or in energy.scp)
        vad: how speech is found, or a YAML file that says so (conf/feats/vad.yaml, conf/feats/vad_silero.yaml)
        nj: number of jobs
        allow_missing: number of utterances that may fail, or a share such as 2%; vad.missing lists them
    """
    dump_vad(DataDir.read(data_dir, need_speakers=False), vad, nj, allow_missing)


if __name__ == "__main__":
    run_step(compute_vad)
