"""Who has been heard in a stream: people of a gallery, and strangers by number. Called by stream.py and diarize.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]
Measures = Mapping[str, float]

_FEW = 1e-6  # a share that nobody's falls below


Model = tuple[Vectors, Measures]  # of one person: the mean (D,) of embeddings, and measures


class Scores(Protocol):
    """What is needed of the Scorer of a pack."""

    @property
    def centre(self) -> Floats:
        """Mean (D,) of the embeddings that the pack was made with."""

    def score(self, enroll: Vectors, num_utts: NDArray[np.int64], test: Vectors) -> NDArray[np.floating]:
        """Scores (N, M)."""

    def llr(self, scores: Floats, enroll: Sequence[Measures], test: Sequence[Measures]) -> NDArray[np.floating]:
        """Calibrated log-likelihood ratios (P,) of the scores (P,) of pairs."""

    def supported(self, llr: Floats) -> NDArray[np.floating]:
        """LLR (P,), no farther from 0 than the pack's list supports."""


class Entries(Protocol):
    """What is needed of a Gallery."""

    def entries(self) -> tuple[Sequence[str], Vectors, NDArray[np.int64], Sequence[Measures]]:
        """Names, means of embeddings (N, D), numbers of recordings (N,), measures."""


def magnitudes_of(vectors: Vectors) -> Floats:
    """Logarithms (M,) of the norms of embeddings (M, D)."""
    return np.asarray(np.log(np.linalg.norm(vectors.astype(np.float64), axis=1) + 1e-30), np.float64)


def measures_of(seconds: Floats, magnitudes: Floats, common: Measures) -> list[dict[str, float]]:
    """The measures of M embeddings of so many SECONDS of speech; COMMON: those of all, noise and band in dB."""
    return [
        {"logdur": float(np.log(max(time, 0.01))), "magnitude": float(magnitude), **common}
        for time, magnitude in zip(seconds, magnitudes, strict=True)
    ]


def llr_matrix(
    scorer: Scores,
    enroll: tuple[Vectors, NDArray[np.int64], Sequence[Measures]],
    test: tuple[Vectors, Sequence[Measures]],
) -> Floats:
    """Log-likelihood ratios (N, M), as far as the pack supports them, of ENROLL (vectors, numbers of recordings,
    measures) and TEST (vectors, measures)."""
    vectors, num_utts, left = enroll
    others, right = test
    if not len(vectors) or not len(others):
        return np.zeros((len(vectors), len(others)))
    scores = np.asarray(scorer.score(vectors, num_utts, others), np.float64)
    first, second = [one for one in left for _ in right], [*right] * len(left)
    llr = np.asarray(scorer.llr(scores.ravel(), first, second), np.float64)
    return np.asarray(scorer.supported(llr), np.float64).reshape(scores.shape)


@dataclass
class Stranger:
    """Somebody who is not in the gallery: sum of embeddings and of their log norms, how many, seconds of speech, noise
    and band in dB, when heard last."""

    number: int
    total: Floats
    norms: float
    count: int
    seconds: float
    common: Measures
    last: float

    @property
    def mean(self) -> Vectors:
        return (self.total / self.count).astype(np.float32)

    @property
    def model(self) -> "Model":
        """As it is now."""
        measures = {"logdur": float(np.log(self.seconds)), "magnitude": self.norms / self.count}
        return self.mean, {**measures, **self.common}


@dataclass(frozen=True)
class Shares:
    """How likely it is who speaks next: PRESENT, one of those heard before; else one of the gallery with KNOWN, or
    somebody new."""

    present: float = 0.9
    known: float = 0.5


@dataclass
class Heard:
    """Everyone who may speak. A person is a key: the place in the gallery, or -1 - number of a stranger.

    most: strangers that are remembered; of more, those are forgotten who were heard least lately.
    """

    scorer: Scores
    gallery: Entries | None = None
    most: int = 30
    shares: Shares = Shares()
    strangers: dict[int, Stranger] = field(default_factory=dict)
    present: dict[int, float] = field(default_factory=dict)  # person -> when heard last
    num_strangers: int = 0
    common: Measures = field(default_factory=lambda: {"snr": 20.0})  # noise and band in dB, of what is heard now

    def __post_init__(self) -> None:
        names: Sequence[str] = ()
        self._means, self._num_utts = np.zeros((0, 0), np.float32), np.zeros(0, np.int64)
        self._measures: Sequence[Measures] = ()
        if self.gallery is not None:
            names, self._means, self._num_utts, self._measures = self.gallery.entries()
        self._names = list(names)

    def name(self, person: int) -> str:
        """Of the gallery, or "unknown 2"."""
        return self._names[person] if person >= 0 else f"unknown {-1 - person}"

    def people(self) -> list[int]:
        """All that there are, those of the gallery first; the order of rows of `llr`."""
        return [*range(len(self._names)), *self.strangers]

    def known_llr(self, vectors: Vectors, seconds: Floats) -> Floats:
        """Log-likelihood ratios (N, M) of embeddings (M, D) of so many SECONDS for each person of the gallery."""
        return llr_matrix(self.scorer, (self._means, self._num_utts, self._measures), self._test(vectors, seconds))

    def stranger_llr(self, vectors: Vectors, seconds: Floats) -> Floats:
        """The same (U, M) for each stranger."""
        return llr_matrix(self.scorer, self._models(), self._test(vectors, seconds))

    def llr(self, vectors: Vectors, seconds: Floats) -> Floats:
        """The same for all `people`."""
        return np.concatenate([self.known_llr(vectors, seconds), self.stranger_llr(vectors, seconds)])

    def llr_of(self, model: Model, vectors: Vectors, seconds: Floats) -> Floats:
        """Those (M,) of embeddings (M, D) for one MODEL."""
        enroll = model[0][None], np.ones(1, np.int64), [model[1]]
        row: Floats = llr_matrix(self.scorer, enroll, self._test(vectors, seconds))[0]
        return row

    def log_prior(self) -> Floats:
        """Log probability (K + 1,) that each of `people` speaks next, and last that somebody new does."""
        people = self.people()
        here = np.array([person in self.present for person in people], bool)
        absent = np.array([person >= 0 for person in people], bool) & ~here
        known = self.shares.known if absent.any() else 0.0
        rest = 1 - self.shares.present if here.any() else 1.0
        prior = np.full(len(people) + 1, _FEW)
        prior[:-1][here] = self.shares.present / max(1, here.sum())
        prior[:-1][absent] = rest * known / max(1, absent.sum())
        prior[-1] = rest * (1 - known)
        logs: Floats = np.log(np.maximum(prior, _FEW))
        return logs

    def meet(self, vector: Vectors, seconds: float, now: float) -> int:
        """A new stranger, with an embedding (D,) of so many SECONDS; who it is."""
        self.num_strangers += 1
        person = -1 - self.num_strangers
        total = vector.astype(np.float64)
        self._remember(
            person,
            Stranger(self.num_strangers, total, float(magnitudes_of(vector[None])[0]), 1, seconds, self.common, now),
        )
        return person

    def see(self, person: int, now: float) -> None:
        """PERSON speaks NOW."""
        self.present[person] = now
        if person in self.strangers:
            self.strangers[person].last = now

    def learn(self, person: int, vector: Vectors, seconds: float) -> None:
        """One more embedding (D,) of a stranger; people of the gallery stay as they were enrolled."""
        if stranger := self.strangers.get(person):
            stranger.total += vector
            stranger.norms += float(magnitudes_of(vector[None])[0])
            stranger.count += 1
            stranger.seconds += seconds

    def forget(self, person: int) -> None:
        """PERSON is not here any more, and a stranger not known any more."""
        self.strangers.pop(person, None)
        self.present.pop(person, None)

    def dismiss(self, person: int) -> None:
        """There has been no such stranger; the next one may have the number."""
        self.forget(person)
        if self.num_strangers == -1 - person:
            self.num_strangers -= 1

    def remodel(self, person: int, vectors: Vectors, magnitudes: Floats, seconds: float, now: float) -> None:
        """The stranger PERSON is known by embeddings (N, D) with log norms (N,), of so many SECONDS, and no others; one
        who was forgotten is remembered, as heard NOW."""
        total, norms, count = vectors.sum(axis=0, dtype=np.float64), float(magnitudes.sum()), len(vectors)
        if stranger := self.strangers.get(person):
            stranger.total, stranger.norms, stranger.count, stranger.seconds = total, norms, count, seconds
        else:
            self._remember(person, Stranger(-1 - person, total, norms, count, seconds, self.common, now))

    def _remember(self, person: int, stranger: Stranger) -> None:
        self.strangers[person] = stranger
        self.see(person, stranger.last)
        while len(self.strangers) > self.most:
            oldest = min(self.strangers.values(), key=lambda one: (one.last, one.number))
            self.forget(-1 - oldest.number)

    def known_person(self, vector: Vectors, measures: Measures, before: set[int]) -> int | None:
        """Who of the gallery an embedding (D,) is of, if one is more likely than anybody else; one of BEFORE is as
        likely as a stranger from the first, all others together are."""
        if not self._names:
            return None
        llr = llr_matrix(self.scorer, (self._means, self._num_utts, self._measures), (vector[None], [measures]))[:, 0]
        others = [person not in before for person in range(len(llr))]
        odds = llr - np.where(others, np.log(len(llr)), 0.0)
        return int(odds.argmax()) if odds.max() > 0 else None

    def merge(self, person: int, into: int) -> None:
        """The stranger PERSON is INTO."""
        gone = self.strangers[person]
        if other := self.strangers.get(into):
            other.total += gone.total
            other.norms += gone.norms
            other.count += gone.count
            other.seconds += gone.seconds
        self.see(into, max(gone.last, self.present.get(into, 0.0)))
        self.forget(person)

    def _test(self, vectors: Vectors, seconds: Floats) -> tuple[Vectors, Sequence[Measures]]:
        """A side of a comparison: embeddings (M, D) of so many SECONDS, heard now."""
        return vectors, measures_of(seconds, magnitudes_of(vectors), self.common)

    def _models(self) -> tuple[Vectors, NDArray[np.int64], Sequence[Measures]]:
        models = [one.model for one in self.strangers.values()]
        means = np.stack([mean for mean, _ in models]) if models else np.zeros((0, 0), np.float32)
        return means, np.ones(len(means), np.int64), [measures for _, measures in models]
