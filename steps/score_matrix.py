#!/usr/bin/env python3
"""Scores of every enrolment vector against every test vector: cosines, or those of a trained back-end."""

import logging
from pathlib import Path

from timbre.backend.backends import PldaOverrides, backend_of
from timbre.backend.score_list import write_matrix
from timbre.backend.vectors import Embeddings
from timbre.datadir.tables import read_lists
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError


def score_matrix(
    enroll_scp: Path,
    test_scp: Path,
    matrix: Path,
    backend_dir: Path | None = None,
    plda: PldaOverrides = PldaOverrides(),
    mean: Path | None = None,
    transform: Path | None = None,
    enroll_spk2utt: Path | None = None,
    nj: int = 4,
) -> None:
    """Write MATRIX, (enrolment, test) float32, and the ids of its rows and columns to MATRIX.rows and MATRIX.columns.

    numpy.load(MATRIX, mmap_mode="r") opens it without reading it. Killed, the next run goes on.

    Args:
        enroll_scp: embeddings of the enrolment side (scp or ark)
        test_scp: embeddings of the test side
        matrix: the .npy file to write
        backend_dir: the back-end in this folder, as for score_trials.py; without it cosines
        plda: options of Kaldi's ivector-plda-scoring where they are to be others than BACKEND_DIR says
        mean: without BACKEND_DIR: vector to subtract first
        transform: without BACKEND_DIR: matrix to apply next
        enroll_spk2utt: the rows are these models, averages of their utterances, instead of the utterances
        nj: number of threads
    """
    if matrix.suffix != ".npy":
        raise DataError("the name of a matrix of scores ends in .npy", matrix)
    backend = backend_of(backend_dir, plda, mean, transform)
    columns = Embeddings.read(test_scp)
    rows = columns if enroll_scp == test_scp else Embeddings.read(enroll_scp)
    test = columns.take(columns.ids, str(test_scp))
    if enroll_spk2utt:
        enroll = rows.average(read_lists(enroll_spk2utt), str(enroll_spk2utt))
    else:
        enroll = rows.take(rows.ids, str(enroll_scp))
    write_matrix(matrix, enroll, test, backend.factors(enroll, test), nj)
    logging.info("%s: %d x %d scores", matrix, len(enroll.ids), len(test.ids))


if __name__ == "__main__":
    run_step(score_matrix)
