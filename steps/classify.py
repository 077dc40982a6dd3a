#!/usr/bin/env python3
"""Closed-set classification: which of the speakers that a network was trained on an utterance is of."""

import logging
from dataclasses import replace
from pathlib import Path

from timbre.datadir.tables import read_table
from timbre.egs.egs_format import Manifest
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def classify(
    model_dir: Path,
    vectors: Path,
    out_dir: Path,
    labels: Path | None = None,
    egs_dir: Path | None = None,
    top_k: int = 5,
    rows: Path | None = None,
    submission: Path | None = None,
    published: float | None = None,
    draws: int = 1000,
    seed: int = 0,
    device: str = "cpu",
    nj: int = 2,
) -> None:
    """Write OUT_DIR/predictions.tsv, the likeliest speakers of each utterance with their probabilities.

    With labels also OUT_DIR/closed_set.json: accuracy with its 95 % interval, by drawing speakers anew, or of fewer
    than 20 speakers Wilson's of utterances.

    Args:
        model_dir: what steps/train.py wrote, with an objective that has a class for each speaker
        vectors: embeddings by that model (scp or ark), or a data directory with features, whose embeddings then go to
            OUT_DIR/xvector.scp
        out_dir: the folder to write into
        labels: utt2spk, with speakers that the model was trained on
        egs_dir: of the examples that the model was trained on: only the utterances that they held out
        top_k: how many speakers are written of each utterance, and the other rank whose rate is told
        rows: "UTT NUMBER ID" a line, for the submission: which utterances, in which order, by which names
        submission: CSV to write, Id,Category: the likeliest speaker of each of the rows
        published: accuracy of somebody else, 0 to 1, to be shown beside
        draws: number of draws of speakers
        seed: of the draws
        device: cpu, cuda or cuda:N, to embed a data directory
        nj: threads that read features
    """
    from timbre.decision.closed_set import Classifier, embed_data, name_speakers  # torch takes seconds
    from timbre.evaluation.closed_set_rates import measure_closed_set
    from timbre.evaluation.results import write_json

    if (rows is None) != (submission is None):
        raise DataError("--rows and --submission go together")
    if published is not None and not 0 <= published <= 1:
        raise DataError(f"--published {published}: a share, from 0 to 1")
    classifier = Classifier.load(model_dir)
    if vectors.is_dir():
        vectors = embed_data(model_dir, vectors, out_dir / "xvector", device, nj)
    held = Manifest.read(egs_dir).valid_utts if egs_dir else None
    found = name_speakers(classifier, vectors, top_k, labels, held)
    if submission is not None and rows is not None:
        found.write_submission(submission, read_table(rows))
    if labels is not None:
        rates = measure_closed_set(found.rank, found.true, len(found.speakers), top_k, draws, seed)
        rates = replace(rates, published=published)
        write_json(out_dir / "closed_set.json", rates.as_json())
        print(rates)
    found.write(out_dir / "predictions.tsv")
    logging.info("%s: %d utterances", out_dir / "predictions.tsv", len(found.utts))


if __name__ == "__main__":
    run_step(classify)
