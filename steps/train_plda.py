#!/usr/bin/env python3
"""Mean, LDA, length normalisation and PLDA of training embeddings, as Kaldi's SRE16 and VoxCeleb recipes train them."""

import logging
from pathlib import Path
from typing import Any

from timbre.backend.chain_training import train_backend
from timbre.utils.cli import run_step


def train_plda(
    train_scp: Path,
    utt2spk: Path,
    out_dir: Path,
    lda_dim: int = 0,
    total_covariance_factor: float = 0.0,
    center: bool = True,
    length_norm: bool = True,
    num_em_iters: int = 10,
) -> None:
    """Write OUT_DIR/{mean.vec,transform.mat,plda}, which score_plda.py and Kaldi's programs read.

    This is train_backend.py with options instead of a file.

    Args:
        train_scp: training embeddings (scp or ark)
        utt2spk: whose they are
        out_dir: the folder to write into
        lda_dim: dimension to reduce to first, or as many as the embeddings allow; 0 for no LDA
        total_covariance_factor: LDA whitens with 0 the within-speaker covariance, with 1 the total one, between them a
            mixture
        center: subtract the mean of the training embeddings first
        length_norm: scale vectors to the square root of their dimension before PLDA
        num_em_iters: number of iterations of expectation maximisation
    """
    lda = {"dim": lda_dim, "total_covariance_factor": total_covariance_factor}
    transforms: list[dict[str, Any]] = [{"class_path": "Mean"}] * center
    transforms += [{"class_path": "Lda", "init_args": lda}] * (lda_dim != 0)
    transforms += [{"class_path": "LengthNorm"}] * length_norm
    model = {"class_path": "TwoCovariancePlda", "init_args": {"num_iters": num_em_iters}}
    train_backend(train_scp, utt2spk, {"transforms": transforms, "model": model}).write(out_dir)
    logging.info("%s: PLDA", out_dir)


if __name__ == "__main__":
    run_step(train_plda)
