#!/usr/bin/env python3
"""Mean and LDA of training embeddings, for cosine scoring."""

import logging
from pathlib import Path

from timbre.backend.chain_training import train_backend
from timbre.utils.cli import run_step


def train_lda(
    train_scp: Path, utt2spk: Path, out_dir: Path, lda_dim: int = 128, total_covariance_factor: float = 0.0
) -> None:
    """Write OUT_DIR/mean.vec and OUT_DIR/transform.mat, which score_cosine.py takes as --mean and --transform.

    This is train_backend.py with options instead of a file; score_backend.py takes OUT_DIR.

    Args:
        train_scp: training embeddings (scp or ark)
        utt2spk: whose they are
        out_dir: the folder to write into
        lda_dim: dimension to reduce to, or as many as the embeddings allow
        total_covariance_factor: 0 whitens the within-speaker covariance, 1 the total one, between them a mixture
    """
    lda = {"dim": lda_dim, "total_covariance_factor": total_covariance_factor}
    config = {"transforms": ["Mean", {"class_path": "Lda", "init_args": lda}], "model": "Cosine"}
    train_backend(train_scp, utt2spk, config).write(out_dir)
    logging.info("%s: LDA", out_dir)


if __name__ == "__main__":
    run_step(train_lda)
