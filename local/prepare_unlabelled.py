#!/usr/bin/env python3
"""Audio of unknown speakers, a data directory or a folder of files: the set `adapt`, which back-ends are adapted to."""

import logging
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "steps"))  # the library of this clone, installed or not

from timbre.corpora.unlabelled import Unlabelled
from timbre.datadir.datadir import DataDir
from timbre.utils.cli import run_step

logger = logging.getLogger(__name__)


def prepare_unlabelled(corpus_dir: Path, out_dir: Path) -> None:
    """Write OUT_DIR/adapt, in which every utterance is a speaker of its own, whatever CORPUS_DIR says of speakers.

    Stage 0 of ./run.sh --adapt-dir CORPUS_DIR.

    Args:
        corpus_dir: a Kaldi data directory (wav.scp, perhaps segments), or a folder with audio files at any depth
        out_dir: where the data directory goes
    """
    found = Unlabelled.read(corpus_dir)
    DataDir(out_dir / "adapt", found.wavs, {utt: utt for utt in found.utts}, found.segments).write(out_dir / "adapt")
    logger.info("%s: %d utterances", out_dir / "adapt", len(found.utts))


if __name__ == "__main__":
    run_step(prepare_unlabelled)
