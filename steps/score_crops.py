#!/usr/bin/env python3
"""Scores of utterances that have several vectors each: crops, as extract_embeddings.py --protocol makes them."""

import logging
from pathlib import Path
from typing import Literal

from timbre.datadir.pair_tables import read_pairs
from timbre.datadir.tables import read_lists
from timbre.datadir.trials import write_scores
from timbre.utils.cli import run_step


def score_crops(
    trials: Path,
    enroll_scp: Path,
    test_scp: Path,
    scores: Path,
    measure: Literal["euclidean", "cosine"] = "euclidean",
    normalize: bool = True,
    mean: Path | None = None,
    transform: Path | None = None,
    enroll_spk2utt: Path | None = None,
    nj: int = 4,
) -> None:
    """Write SCORES, "enroll test score" a line: the mean over all pairs of an enrolment and a test crop.

    A protocol with the whole utterance (tta5x3s+full) gives the mean of that and of the score of the whole utterances.
    Call the file <name of the trials>.<measure>@<protocol>: results then tell the protocol.

    Args:
        trials: trial list, "enroll test target|nontarget" or "1|0 enroll test" or, without labels, "enroll test"
        enroll_scp: embeddings of the enrolment side (scp or ark), named UTT#00, UTT#01, ... or just UTT
        test_scp: embeddings of the test side, often the same file
        scores: the file to write
        measure: of a pair: minus the Euclidean distance, as voxceleb_trainer has it, or the cosine
        normalize: scale vectors to length 1 first; false for networks trained with Euclidean prototypes
        mean: vector to subtract first, such as the mean.vec of train_backend.py
        transform: matrix to apply next, such as the transform.mat of train_backend.py
        enroll_spk2utt: enrolment ids named here are models: the crops of all their utterances count
        nj: number of threads
    """
    from timbre.backend.crop_scores import CropSide, mean_distances, mean_products  # takes a second: not for --help
    from timbre.backend.vectors import Embeddings, Projection
    from timbre.utils.errors import DataError

    if measure == "cosine" and not normalize:
        raise DataError("a cosine is of vectors of length 1: --normalize false goes with --measure euclidean")
    trial_list = read_pairs(trials)
    projection = Projection.read(mean, transform, "unit" if normalize else "as_is")
    models = read_lists(enroll_spk2utt) if enroll_spk2utt else {}
    files = {path: Embeddings.read(path) for path in {enroll_scp, test_scp}}
    enroll = CropSide.read(files[enroll_scp], trial_list.enroll_ids, projection, models)
    test = CropSide.read(files[test_scp], trial_list.test_ids, projection, {})
    if enroll.vectors.shape[1] != test.vectors.shape[1]:
        raise DataError(f"vectors of dimension {test.vectors.shape[1]}, but those of {enroll_scp} differ", test_scp)
    if measure == "cosine":
        values = mean_products(enroll, test, trial_list, nj)
    else:
        values = mean_distances(enroll, test, trial_list)
    write_scores(scores, trial_list, values)
    logging.info("%s: %s scores of %d trials", scores, measure, len(trial_list))


if __name__ == "__main__":
    run_step(score_crops)
