"""The answers to a list of pairs, in the form and the order that it was given in. Called by make_submission.py."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from timbre.datadir.pair_tables import csv_bytes, read_columns
from timbre.datadir.trials import Trials, read_scores
from timbre.evaluation.metrics import Floats
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

Fill = Literal["label", "score"]


@dataclass(frozen=True)
class Rows:
    """A list of pairs as `pair_rows.csv` has it, (N,) of each: names of both files as they were given, ids of their
    utterances, "" where the audio is not there, and what stands for one speaker and for two."""

    names: list[tuple[str, str]]
    enroll: list[str]
    test: list[str]
    same: list[str]
    different: list[str]

    @classmethod
    def read(cls, path: Path) -> "Rows":
        """Reads PATH; DataError if it is not such a file, or has no rows."""
        first, second, *rest = read_columns(
            path, ("file_name", "file_name_", "enroll", "test", "same", "different")
        ).values()
        if not first:
            raise DataError("no rows in it", path)
        return cls(list(zip(first, second, strict=True)), *rest)

    def write(self, path: Path, scores: Floats, threshold: float, fill: Fill) -> None:
        """Writes PATH: a row for each of these, its last cell empty where there is no score.

        Args:
            path: `file_name,file_name_,label` (or `score`) a row
            scores: (N,), NaN where there is none
            threshold: one speaker from there on
            fill: what the last column has: the label, or the score itself
        """
        with atomic_write(path, "wb") as file:
            file.write(csv_bytes(("file_name", "file_name_", fill), self._filled(scores, threshold, fill)))

    def _filled(self, scores: Floats, threshold: float, fill: Fill) -> Iterator[tuple[str, str, str]]:
        for row, score in enumerate(scores.tolist()):
            answer = f"{score:.9g}" if fill == "score" else (self.same if score >= threshold else self.different)[row]
            yield *self.names[row], "" if np.isnan(score) else answer

    def scores(self, path: Path) -> Floats:
        """(N,) of a score file; NaN where the audio is not there. DataError if a pair has no score."""
        there = np.array([bool(one and other) for one, other in zip(self.enroll, self.test, strict=True)])
        if not there.any():
            raise DataError("the audio of no row is there", path)
        enroll, test = ([side[row] for row in np.flatnonzero(there)] for side in (self.enroll, self.test))
        scores = np.full(len(there), np.nan)
        scores[there] = read_scores(path, Trials.of(enroll, test, np.zeros(len(enroll), bool)))
        return scores
