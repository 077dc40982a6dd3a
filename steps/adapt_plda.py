#!/usr/bin/env python3
"""Adapts a back-end to embeddings of another domain, as Kaldi's ivector-adapt-plda or by one of five other methods."""

import logging
from pathlib import Path
from typing import Literal

from timbre.backend.adaptation import FewUtts, adapt_backend, weights_of
from timbre.backend.backends import read_backend
from timbre.utils.cli import run_step


def adapt_plda(
    backend_dir: Path,
    adapt_scp: Path,
    out_dir: Path,
    method: Literal["kaldi", "coral", "coral+", "lip", "cip", "mean"] = "kaldi",
    utt2spk: Path | None = None,
    mean_diff_scale: float | None = None,
    within_covar_scale: float | None = None,
    between_covar_scale: float | None = None,
    weight: float | None = None,
    regularize: bool = False,
    few: FewUtts = FewUtts(),
) -> None:
    """Write OUT_DIR, a back-end like BACKEND_DIR for the domain of the embeddings in ADAPT_SCP.

    The mean to subtract becomes that of ADAPT_SCP, as in Kaldi's SRE16 recipe, and then the model is adapted.

    Args:
        backend_dir: what train_backend.py wrote
        adapt_scp: embeddings of the new domain (scp or ark), never of the test set
        out_dir: the folder to write into
        method: without speakers, but embeddings of many: kaldi adds the variance that the new domain has beyond the
            model's to its covariances, coral maps these so that the total covariance becomes the new domain's, coral+
            adds what they gain by that; with utt2spk: lip interpolates linearly between the model and one trained on
            the new domain, cip between coral's and that one; mean: no more than the mean changes, cosine too
        utt2spk: speakers of ADAPT_SCP, for lip and cip
        mean_diff_scale: kaldi's weight of the squared distance of the means in the variance to explain (default: 1)
        within_covar_scale: share of the excess variance added to the within-speaker covariance (default: kaldi 0.75,
            coral+ 0.8)
        between_covar_scale: share added to the between-speaker covariance (default: kaldi 0.25, coral+ 0.8)
        weight: of the model of the new domain in lip and cip (default: 0.5)
        regularize: lip and cip add to the model of the new domain only what the other one has beyond it
        few: what is made of few embeddings, for the methods without speakers
    """
    given = {
        "mean_diff_scale": mean_diff_scale,
        "within_covar_scale": within_covar_scale,
        "between_covar_scale": between_covar_scale,
        "weight": weight,
        "regularize": regularize or None,
    }
    weights = weights_of(method, given)
    adapt_backend(read_backend(backend_dir), adapt_scp, method, weights, utt2spk, few).write(out_dir)
    logging.info("%s: %s adapted to %s by %s", out_dir, backend_dir, adapt_scp, method)


if __name__ == "__main__":
    run_step(adapt_plda)
