"""Scores of a long list of trials, or of all pairs, computed and written block by block. For the scoring scripts."""

import hashlib
import logging
from pathlib import Path

import numpy as np
from tqdm import tqdm

from timbre.backend.backends import Backend
from timbre.backend.crop_scores import CropBackend
from timbre.backend.list_parts import num_parts_of, score_in_parts
from timbre.backend.scoring import BLOCK, matrix_blocks, score_blocks
from timbre.backend.vectors import MultiEnroll, Side, read_sides
from timbre.datadir.pair_tables import read_pairs
from timbre.datadir.trial_arrays import array_header
from timbre.datadir.trials import ScoreBytes, Trials
from timbre.runtime.factors import Factors
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write
from timbre.utils.partial import partial_write


def score_list(
    backend: Backend,
    trials: Path,
    enroll_scp: Path,
    test_scp: Path,
    scores: Path,
    enroll_spk2utt: Path | None,
    multi_enroll: MultiEnroll,
    nj: int,
    num_parts: int | None = None,
) -> None:
    """Writes the scores by BACKEND of the list TRIALS; the rest as the scoring scripts say."""
    listed = read_pairs(trials)
    paths = enroll_scp, test_scp, enroll_spk2utt
    sides = read_sides(listed.enroll_ids, listed.test_ids, *paths, multi_enroll, crops=True)
    factors = CropBackend.around(backend, sides).factors(*sides)
    del sides  # the vectors themselves are let go before scoring
    if (parts := num_parts_of(len(listed), nj, num_parts)) > 1:
        score_in_parts(scores, trials, listed, factors, nj, parts)
    else:
        write_list_scores(scores, listed, factors, nj)
    logging.info("%s: scores of %d trials", scores, len(listed))


def write_list_scores(path: Path, trials: Trials, factors: Factors, nj: int = 1, block: int = BLOCK) -> None:
    """Writes the scores of TRIALS, on at most NJ threads: lines, or float32 in binary form if PATH ends in .npy.

    Of a list of more than BLOCK trials, what a killed run has written is kept, and the next run with the same trials,
    vectors and back-end goes on from there.

    Raises:
        DataError: a score is NaN, or the disk is full
    """
    long = len(trials) > block
    lines = ScoreBytes(path, trials)
    with partial_write(path, _key(trials.digest(), factors) if long else "short") as file:
        bar = tqdm(
            total=len(trials), initial=file.done, unit=" trials", unit_scale=True, disable=None if long else True
        )
        for scores in score_blocks(factors, trials.enroll, trials.test, nj, file.done, block):
            for data in lines.of(file.done, scores):
                file.write(data)
            if long:
                file.commit(file.done + len(scores))
            bar.update(len(scores))
        bar.close()


def write_matrix(path: Path, enroll: Side, test: Side, factors: Factors, nj: int = 1) -> None:
    """Writes all scores of ENROLL against TEST, (E, T) float32 in .npy, and the ids of its rows and columns beside it.

    The ids go to PATH.rows and PATH.columns, one a line. A killed run is gone on with as a list is.

    Raises:
        DataError: a score is NaN, or the disk is full
    """
    for name, ids in (("rows", enroll.ids), ("columns", test.ids)):
        with atomic_write(f"{path}.{name}") as file:
            file.writelines(f"{key}\n" for key in ids)
    shape = len(enroll.ids), len(test.ids)
    with partial_write(path, _key(b"matrix", factors)) as part:
        bar = tqdm(total=shape[0], initial=part.done, unit=" rows", disable=None)
        if part.done == 0:
            part.write(array_header(shape))
        for scores in matrix_blocks(factors, nj, part.done):
            if np.isnan(scores).any():
                row, column = (int(index[0]) for index in np.nonzero(np.isnan(scores)))
                raise DataError(f"the score of '{enroll.ids[part.done + row]} {test.ids[column]}' is NaN", path)
            part.write(scores.data)
            part.commit(part.done + len(scores))
            bar.update(len(scores))
        bar.close()


def _key(work: bytes, factors: Factors) -> str:
    """A digest of all that the scores follow from, but for what WORK says."""
    state = hashlib.sha256(work)
    arrays: list[np.ndarray] = [factors.left, factors.left_bias, factors.right_bias, factors.group]
    for array in arrays if factors.right is factors.left else [*arrays, factors.right]:
        state.update(str(array.shape).encode())
        state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()
