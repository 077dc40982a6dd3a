#!/usr/bin/env python3
"""Trains a back-end, a chain of transforms and a model, on embeddings of known speakers."""

import logging
from pathlib import Path

from timbre.backend.chain_training import train_backend as train
from timbre.utils.cli import run_step


def train_backend(
    train_scp: Path, utt2spk: Path, out_dir: Path, backend: Path = Path("conf/backend/plda.yaml")
) -> None:
    """Write OUT_DIR, a back-end for score_trials.py, normalize_scores.py, adapt_plda.py and others (--backend-dir).

    OUT_DIR gets mean.vec, transform.mat and plda, of which Kaldi's programs can make the same scores if there is at
    most one LengthNorm and it is the last; what comes after another is in mean2.vec, transform2.mat, ...; and
    backend.yaml, which says how it was trained.

    Args:
        train_scp: training embeddings (scp or ark)
        utt2spk: whose they are
        out_dir: the folder to write into
        backend: YAML file of the transforms (Mean, Lda, Wccn, Whitening, Pca, LengthNorm) and of the model (Cosine,
            TwoCovariancePlda, IoffePlda, SimplifiedPlda); conf/backend/ has examples
    """
    train(train_scp, utt2spk, backend).write(out_dir)
    logging.info("%s: back-end of %s", out_dir, backend)


if __name__ == "__main__":
    run_step(train_backend)
