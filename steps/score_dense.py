#!/usr/bin/env python3
"""Matrices of the scores between all windows of a recording, as Kaldi's ivector-plda-scoring-dense."""

from pathlib import Path
from typing import Literal

from timbre.datadir.tables import read_lists, write_table
from timbre.utils.cli import run_step


def score_dense(
    reco2utt: Path,
    xvectors: Path,
    out_stem: Path,
    scoring: Literal["cosine", "plda"] = "plda",
    backend_dir: Path | None = None,
    target_energy: float = 1.0,
) -> None:
    """Write OUT_STEM.ark and OUT_STEM.scp, a matrix for each recording, for Kaldi's agglomerative-cluster or ours.

    Args:
        reco2utt: "recording window window ..." a line; the spk2utt of what steps/make_windows.py writes
        xvectors: embeddings of the windows (scp or ark)
        out_stem: where to write, without .ark
        scoring: how windows are compared: cosine, or log-likelihood ratio of PLDA
        backend_dir: mean.vec, transform.mat and plda, as train_backend.py writes them; for cosine mean.vec alone
        target_energy: PLDA works in the space that holds this share of a recording's variance
    """
    from timbre.backend.vectors import Embeddings
    from timbre.datadir.ark import ArkWriter
    from timbre.diarization.clustering import read_scorer
    from timbre.diarization.window_scores import dense_scores

    lists = read_lists(reco2utt)
    embeddings = Embeddings.read(xvectors)
    scorer = read_scorer(scoring, backend_dir, target_energy)
    with ArkWriter(out_stem.with_name(out_stem.name + ".ark")) as writer:
        for recording, windows in sorted(lists.items()):
            writer.write(recording, dense_scores(scorer.factors(embeddings.take(windows, str(reco2utt)))))
    write_table(out_stem.with_name(out_stem.name + ".scp"), writer.scp)


if __name__ == "__main__":
    run_step(score_dense)
