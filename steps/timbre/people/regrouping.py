"""What a stream has heard of late, clustered again as a whole: who was taken for another. Called by stream.py.

Each turn is decided on as it is heard; here all of the last minutes are looked at together, as diarize.py does it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from timbre.people.people_heard import Heard, Vectors
from timbre.people.window_clusters import ClusterOptions, Ints, Windows, speakers_of

_OPTIONS = ClusterOptions(min_windows=1)
_WINDOW, _PERIOD = 3.0, 0.75  # seconds of speech that an embedding is of, and from one to the next
_LEAST = 0.5  # seconds of a turn that an embedding is of
_UNKNOWN = np.iinfo(np.int64).min  # whoever had a turn that is forgotten

Floats = NDArray[np.float64]


@dataclass
class Past:
    """Windows of the last turns: embeddings (N, D), seconds of each (N,), and of which turn it is (N,).

    most: windows that are kept; of more, the oldest are forgotten.
    """

    most: int
    vectors: Vectors = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    seconds: Floats = field(default_factory=lambda: np.zeros(0))
    turns: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    _next: float = 0.0  # where the next window of the last turn begins

    def spans(self, turn: int, start: float, end: float, is_over: bool) -> list[tuple[float, float]]:
        """Windows of TURN, from START to END, that are not there yet; at its end there may be one of any length."""
        have = np.flatnonzero(self.turns == turn)
        first = self._next if len(have) else start
        spans = []
        while first + _WINDOW <= end:
            spans.append((first, first + _WINDOW))
            first += _PERIOD
        if is_over and not spans and not len(have) and end - start >= _LEAST:
            spans = [(start, end)]
        self._next = first
        return spans

    def add(self, turn: int, vectors: Vectors, seconds: list[float]) -> None:
        """More windows of the turn with the number TURN."""
        kept = slice(-self.most, None)
        self.vectors = np.concatenate([self.vectors.reshape(-1, vectors.shape[1]), vectors])[kept]
        self.seconds = np.concatenate([self.seconds, seconds])[kept]
        self.turns = np.concatenate([self.turns, np.full(len(vectors), turn)])[kept]

    def regroup(self, heard: Heard, people: Mapping[int, int], now: float) -> dict[int, int]:
        """Who speaks in each turn, turn -> person; PEOPLE: who it was said to be.

        Each cluster is of one of the gallery, if that is more likely than anybody else; or of the stranger who has most
        of it; or of a new one. The models of strangers are made anew of their clusters.
        """
        windows = Windows.of_vectors(self.vectors, self.seconds, heard.common)
        labels = speakers_of(windows, heard.scorer, _OPTIONS)
        clusters = windows.of(labels)
        before = np.array([people.get(turn, _UNKNOWN) for turn in self.turns.tolist()])
        found = np.empty(len(clusters.vectors), np.int64)
        taken: set[int] = set()
        shares = [self.seconds[labels == label].sum() for label in range(len(found))]
        for label in np.argsort(shares)[::-1].tolist():
            rows = labels == label
            person = heard.known_person(clusters.vectors[label], clusters.measures()[label], set(before[rows].tolist()))
            if person is None:
                held = {one: float(self.seconds[rows & (before == one)].sum()) for one in set(before[rows].tolist())}
                mine = [one for one in heard.strangers if one in held and one not in taken]
                person = max(mine, key=lambda one: held[one]) if mine else heard.meet(clusters.vectors[label], 1.0, now)
                heard.remodel(person, windows.vectors[rows], windows.magnitudes[rows], self.seconds[rows].sum())
            taken.add(person)
            found[label] = person
        return {turn: self._most(found[labels[self.turns == turn]]) for turn in set(self.turns.tolist())}

    @staticmethod
    def _most(people: Ints) -> int:
        values, counts = np.unique(people, return_counts=True)
        return int(values[counts.argmax()])
