#!/usr/bin/env python3
"""Adapts a PLDA back-end to unlabelled embeddings of another domain, as Kaldi's ivector-adapt-plda."""

import logging
from dataclasses import replace
from pathlib import Path

from steps.backend.backends import PldaBackend
from steps.backend.plda_adapt import adapt_plda as adapt
from steps.backend.vectors import Embeddings, Side
from steps.utils.cli import run_step


def adapt_plda(
    backend_dir: Path,
    adapt_scp: Path,
    out_dir: Path,
    mean_diff_scale: float = 1.0,
    within_covar_scale: float = 0.75,
    between_covar_scale: float = 0.25,
) -> None:
    """Write OUT_DIR, a back-end like BACKEND_DIR for the domain of the embeddings in ADAPT_SCP.

    The mean to subtract becomes that of ADAPT_SCP, as in Kaldi's SRE16 recipe.

    Args:
        backend_dir: what train_plda.py wrote
        adapt_scp: unlabelled embeddings of the new domain (scp or ark), never of the test set
        out_dir: the folder to write into
        mean_diff_scale: weight of the squared distance of the means in the variance to explain
        within_covar_scale: share of the unexplained variance added to the within-speaker covariance
        between_covar_scale: share added to the between-speaker covariance
    """
    backend = PldaBackend.read(backend_dir)
    embeddings = Embeddings.read(adapt_scp)
    mean = None if backend.projection.mean is None else embeddings.mean()
    projection = replace(backend.projection, mean=mean)
    projected = projection.apply(Side.single(embeddings.ids, embeddings.matrix))
    plda = adapt(backend.plda, projected, mean_diff_scale, within_covar_scale, between_covar_scale)
    replace(backend, projection=projection, plda=plda).write(out_dir)
    logging.info("%s: adapted to %d embeddings", out_dir, len(embeddings.ids))


if __name__ == "__main__":
    run_step(adapt_plda)
