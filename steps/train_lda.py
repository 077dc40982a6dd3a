#!/usr/bin/env python3
"""Mean and LDA of training embeddings, for cosine scoring."""

import logging
from pathlib import Path

from steps.backend.backends import write_projection
from steps.backend.lda import compute_lda, possible_dim
from steps.backend.speaker_stats import SpeakerStats
from steps.backend.vectors import Embeddings, Projection
from steps.utils.cli import run_step


def train_lda(
    train_scp: Path, utt2spk: Path, out_dir: Path, lda_dim: int = 128, total_covariance_factor: float = 0.0
) -> None:
    """Write OUT_DIR/mean.vec and OUT_DIR/transform.mat, which score_cosine.py takes as --mean and --transform.

    Args:
        train_scp: training embeddings (scp or ark)
        utt2spk: whose they are
        out_dir: the folder to write into
        lda_dim: dimension to reduce to, or as many as the embeddings allow
        total_covariance_factor: 0 whitens the within-speaker covariance, 1 the total one, between them a mixture
    """
    embeddings = Embeddings.read(train_scp)
    stats = SpeakerStats.collect(embeddings.matrix, embeddings.speakers(utt2spk), utt2spk)
    lda = compute_lda(stats.shifted(stats.mean), possible_dim(stats, lda_dim), total_covariance_factor)
    write_projection(out_dir, Projection(stats.mean, lda))
    logging.info("%s: LDA to %d dimensions from %d speakers", out_dir, len(lda), stats.num_speakers)


if __name__ == "__main__":
    run_step(train_lda)
