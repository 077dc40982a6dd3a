#!/usr/bin/env python3
"""Embeddings of a training set and of its augmented copies as one, for a back-end, without speakers held out."""

import logging
from pathlib import Path

from timbre.backend.with_copies import SpokenVectors, read_held_out, read_originals
from timbre.backend.with_copies import combine_embeddings as combine
from timbre.datadir.tables import write_table
from timbre.utils.cli import run_step


def combine_embeddings(
    train_scp: Path,
    train_dir: Path,
    copies_scp: Path,
    copies_dir: Path,
    out_dir: Path,
    held_out: Path | None = None,
) -> None:
    """Write OUT_DIR/{xvector.scp,utt2spk}, for train_backend.py and normalize_scores.py --cohort-scp.

    Args:
        train_scp: embeddings of the training set
        train_dir: its data directory
        copies_scp: embeddings of augmented copies, as augment_data_dir.py --draw makes them
        copies_dir: their data directory; its utt2uniq says of which utterance each is a copy
        out_dir: the folder to write into
        held_out: utterances, one a line, as make_calibration_trials.py writes: they are left out, with every copy of
            them or of their speakers
    """
    train = SpokenVectors.read(train_scp, train_dir / "utt2spk")
    copies = SpokenVectors.read(copies_scp, copies_dir / "utt2spk")
    originals = read_originals(train_dir) | read_originals(copies_dir)
    together = combine(train, copies, originals, read_held_out(held_out))
    write_table(out_dir / "utt2spk", dict(together.utt2spk))
    write_table(out_dir / "xvector.scp", dict(together.places))
    num_copies = len(together.places.keys() & copies.places.keys())
    text = "%s: %d utterances of %d speakers, %d of them augmented copies"
    logging.info(text, out_dir, len(together.places), len(set(together.utt2spk.values())), num_copies)


if __name__ == "__main__":
    run_step(combine_embeddings)
