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

        Each cluster is of one of the gallery, if that is more likely than anybody else; or of the stranger who had most
        of it before the last turn; or of a new one. The models of strangers are made anew of their clusters; one who
        was forgotten is remembered when the last turn is hers.
        """
        windows = Windows.of_vectors(self.vectors, self.seconds, heard.common)
        labels = speakers_of(windows, heard.scorer, _OPTIONS)
        clusters = windows.of(labels)
        before = np.array([people.get(turn, _UNKNOWN) for turn in self.turns.tolist()])
        of_turns = {turn: self._most(labels[self.turns == turn]) for turn in set(self.turns.tolist())}
        found: dict[int, int] = {}  # of clusters that a turn is of: others are of a window here and there
        shares = {label: self.seconds[labels == label].sum() for label in sorted(set(of_turns.values()))}
        for label in sorted(shares, key=lambda one: -shares[one]):
            rows = labels == label
            persons = set(before[rows].tolist())
            person = heard.known_person(clusters.vectors[label], clusters.measures()[label], persons)
            if person is None:
                earlier = rows & (self.turns != self.turns[-1])
                held = {one: float(self.seconds[earlier & (before == one)].sum()) for one in persons}
                mine = [one for one in held if _UNKNOWN < one < 0 and one not in found.values()]
                if mine:
                    person = max(mine, key=lambda one: (held[one], one))
                else:
                    person = heard.meet(clusters.vectors[label], 1.0, now)
                if person in heard.strangers or rows[-1]:
                    seconds = float(self.seconds[rows].sum())
                    heard.remodel(person, windows.vectors[rows], windows.magnitudes[rows], seconds, now)
            found[label] = person
        return {turn: found[label] for turn, label in of_turns.items()}

    @staticmethod
    def _most(labels: Ints) -> int:
        values, counts = np.unique(labels, return_counts=True)
        return int(values[counts.argmax()])
