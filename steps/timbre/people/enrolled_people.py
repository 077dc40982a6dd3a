"""Everybody of a gallery at one moment, ready to be searched: kept by gallery.py, and brought up to date.

A million of dimension 192 are 1.6 GB: the means, and what scores are made of.
"""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path

import numpy as np

from timbre.people.packed_people import Enrolled, Part, changed_since, packed_since, revision
from timbre.runtime.factors import Floats, Ints, Vectors
from timbre.runtime.llr import MEASURES, mean_and_gap
from timbre.runtime.scorer import Scorer


@dataclass(frozen=True)
class People:
    """parts: by the number of their block, ascending, so that people are in the order of their ids; revision: of the
    file, when it was read, -1: never. Nothing of it changes: it is replaced, but for parts that stay."""

    revision: int = -1
    parts: Mapping[int, Part] = field(default_factory=dict)

    def refreshed(self, database: sqlite3.Connection, scorer: Scorer, path: Path) -> "People":
        """As DATABASE is now, by what has changed in it; DataError where it is damaged. PATH is for messages."""
        now = revision(database)
        if now == self.revision:
            return self
        if now < self.revision:  # another file has taken its place
            return People().refreshed(database, scorer, path)
        changes, packed = changed_since(database, self.revision), packed_since(database, self.revision)
        parts = dict(self.parts)
        for number in sorted(packed | changes.keys()):
            ids = changes.get(number, np.zeros(0, np.int64))
            new = Enrolled.of_rows(database, ids, scorer.dim, path)
            before = Part.of_block(database, number, scorer, path) if number in packed else parts.get(number)
            parts[number] = Part.of(new, scorer) if before is None else before.changed(ids, new, scorer)
        left = {number: part for number, part in sorted(parts.items()) if len(part.enrolled.ids)}
        return People(now, left)

    @cached_property
    def names(self) -> list[str]:
        """Of all, in the order of enrolment."""
        return list(chain.from_iterable(part.enrolled.names for part in self.parts.values()))

    @cached_property
    def sums(self) -> Floats:
        """Of measures, (4,): NaN where somebody lacks one."""
        sums: Floats = np.sum([part.sums for part in self.parts.values()], axis=0)
        return sums

    def arrays(self) -> tuple[Vectors, Ints, Floats]:
        """Means (N, D), num_utts (N,), measures (N, 4)."""
        enrolled = [part.enrolled for part in self.parts.values()]
        return (
            np.concatenate([one.means for one in enrolled]),
            np.concatenate([one.num_utts for one in enrolled]),
            np.concatenate([one.measures for one in enrolled]),
        )

    def compared(self, scorer: Scorer, vector: Vectors, measures: Floats) -> tuple[Floats, Floats]:
        """Scores (N,) of all against an embedding (D,), and their log-likelihood ratios, however far from 0; MEASURES
        (4,): of its recording."""
        columns = [MEASURES.index(name) for name in scorer.measures]
        scores, llrs = list[Floats](), list[Floats]()
        parts = self.parts.values()
        for part, found in zip(parts, scorer.score_one([one.ready for one in parts], vector), strict=True):
            given = mean_and_gap(part.enrolled.measures[:, columns], measures[None, columns])
            scores.append(found)
            llrs.append(scorer.llr_of(found, given))
        return np.concatenate(scores), np.concatenate(llrs)
