#!/usr/bin/env python3
"""Mean, LDA, length normalisation and PLDA of training embeddings, as Kaldi's SRE16 and VoxCeleb recipes train them."""

import logging
from pathlib import Path

from steps.backend.backends import PldaBackend
from steps.backend.lda import compute_lda, possible_dim
from steps.backend.plda import train_plda as estimate
from steps.backend.speaker_stats import SpeakerStats
from steps.backend.vectors import Embeddings, Projection, Side
from steps.utils.cli import run_step


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
    embeddings = Embeddings.read(train_scp)
    speakers = embeddings.speakers(utt2spk)
    mean = embeddings.mean() if center else None
    lda = None
    if lda_dim:
        stats = SpeakerStats.collect(embeddings.matrix, speakers, utt2spk)
        shifted = stats if mean is None else stats.shifted(mean)
        lda = compute_lda(shifted, possible_dim(stats, lda_dim), total_covariance_factor)
    projection = Projection(mean, lda, "sqrt_dim" if length_norm else "as_is")
    projected = projection.apply(Side.single(embeddings.ids, embeddings.matrix))
    plda = estimate(SpeakerStats.collect(projected, speakers, utt2spk), num_em_iters)
    PldaBackend(projection, plda).write(out_dir)
    logging.info("%s: PLDA of %d dimensions from %d utterances", out_dir, plda.dim, len(speakers))


if __name__ == "__main__":
    run_step(train_plda)
