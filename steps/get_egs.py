#!/usr/bin/env python3
"""Training examples (egs): chunks of normalised voiced features, shuffled into arks."""

import logging
from pathlib import Path

from timbre.datadir.datadir import DataDir
from timbre.egs.egs_writer import write_egs
from timbre.egs.held_out import unknown_speakers
from timbre.egs.options import EgsOptions
from timbre.runtime.normalize import NormalizeOptions
from timbre.utils.cli import run_step


def get_egs(
    data_dir: Path,
    out_dir: Path,
    egs: EgsOptions = EgsOptions(),
    normalize: NormalizeOptions = NormalizeOptions(),
    nj: int = 4,
    seed: int = 0,
    unknown_to: Path | None = None,
    held_from: Path | None = None,
) -> None:
    """Cut the features of DATA_DIR into shuffled training examples under OUT_DIR.

    OUT_DIR/egs.N.ark and .spk hold examples and speaker numbers, valid.N.ark examples of held-out utterances,
    valid_utts.ark and valid_trials whole utterances of held-out speakers, spk2int the speaker numbers, too_short the
    utterances left out with their voiced frames; manifest.json counts it all and comes last.

    Args:
        data_dir: Kaldi data directory with feats.scp and vad.scp
        out_dir: where to write; egs that are there are replaced
        egs: lengths and amounts, for instance conf/egs/default.yaml
        normalize: mean normalisation and VAD; the trained network keeps them for extraction
        nj: number of jobs; does not change the result
        seed: of everything random
        unknown_to: directory of a model that will be trained further: only speakers that it does not know are held out
        held_from: with unknown_to, the data directory that they are of, and that is counted: of several that DATA_DIR
            is made of, the one that the new model is for
    """
    data = DataDir.read(data_dir)
    unknown = unknown_speakers(DataDir.read(held_from or data_dir), unknown_to) if unknown_to else None
    manifest = write_egs(data, out_dir, egs, normalize, nj, seed, unknown)
    hours = manifest.num_frames / 360_000
    logging.info("%d examples (%.1f h) of %d speakers", manifest.num_examples, hours, manifest.num_speakers)
    logging.info(
        "of %d utterances %d are too short, %d held out, %d of %d held-out speakers, and no chunk fell on %d",
        manifest.num_utterances,
        manifest.num_too_short,
        len(manifest.valid_utts),
        manifest.num_valid_speaker_utts,
        len(manifest.valid_speakers),
        manifest.num_unused,
    )


if __name__ == "__main__":
    run_step(get_egs)
