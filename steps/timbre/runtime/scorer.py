"""The decision of a pack: from embeddings to scores, from scores to log-likelihood ratios and thresholds, in numpy.

What a decision pack of the recipe does (backend/, decision/pack.py), to float32 rounding; the tables are those that
export/decision_tables.py makes of one. Called by voice.py and gallery.py.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from timbre.runtime.factors import (
    LENGTHS,
    Factors,
    Floats,
    Ints,
    Latent,
    Length,
    Vectors,
    affine,
    double_blocks,
    scaled,
    spread,
    woven,
)
from timbre.runtime.llr import MEASURES, LinearLlr, measure_values, pack_terms
from timbre.runtime.tested_ranges import Ranges, read_ranges
from timbre.runtime.thresholds import OperatingPoint, bayes_threshold, points_of
from timbre.utils.errors import DataError

_FLOOR = 1e-6  # of a standard deviation of cohort scores
_ROWS = 4096  # vectors scored against the cohort at a time


class Tables(Protocol):
    """What is needed of a pack."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """pack.json."""
        ...

    @property
    def arrays(self) -> Mapping[str, Any]:
        """arrays.npz."""
        ...

    @property
    def path(self) -> Path:
        """For messages."""
        ...


@dataclass(frozen=True)
class Step:
    """A part of the projection: minus a mean (D,), through a map (K, D) or (K, D + 1), scaled to a length."""

    mean: Floats | None
    transform: Floats | None
    length: Length

    def apply(self, vectors: Vectors) -> Vectors:
        """Of VECTORS (N, D), (N, K)."""
        dim = vectors.shape[1] if self.transform is None else len(self.transform)
        projected = np.empty((len(vectors), dim), np.float32)
        for rows, block in double_blocks(vectors):
            block = affine(block, self.mean, self.transform)
            if self.length != "as_is":
                norms = np.linalg.norm(block, axis=1, keepdims=True)
                if not norms.all():
                    raise DataError("an embedding is zero once centred: it has no direction")
                block = scaled(block, norms, self.length)
            projected[rows] = block
        return projected


@dataclass(frozen=True)
class Prepared:
    """One side of trials, ready to be multiplied: `Scorer.enrolled`. left, bias: of `Factors`; counts: the numbers of
    utterances that there are, and which of these each has, (N,); mean, std: (N,) of the cohort scores, if there is one.
    """

    left: Vectors
    bias: Floats
    counts: Ints
    group: Ints
    mean: Floats | None = None
    std: Floats | None = None

    def to_bytes(self) -> bytes:
        """left (float32), bias, mean and std (float64)."""
        arrays = [(self.left, "<f4"), *((one, "<f8") for one in (self.bias, self.mean, self.std) if one is not None)]
        return b"".join(np.ascontiguousarray(array, kind).tobytes() for array, kind in arrays)

    @classmethod
    def of_bytes(cls, data: bytes, num_utts: Ints, cohort: bool) -> "Prepared":
        """What `to_bytes` gave; mean and std are there with a COHORT. ValueError where it is something else."""
        rest = (24 if cohort else 8) * len(num_utts)
        left = np.frombuffer(data[: max(0, len(data) - rest)], "<f4").reshape(len(num_utts), -1)
        bias, *spreads = np.frombuffer(data[left.nbytes :], "<f8").reshape(3 if cohort else 1, len(num_utts))
        counts, group = np.unique(num_utts, return_inverse=True)
        return cls(left, bias, counts, group, *spreads)

    def merged(self, keep: Ints, new: "Prepared", order: Ints) -> "Prepared":
        """The rows KEEP of this, and then NEW, in ORDER."""
        num_utts = woven(self.counts[self.group], keep, new.counts[new.group], order)
        counts, group = np.unique(num_utts, return_inverse=True)
        left, bias = woven(self.left, keep, new.left, order), woven(self.bias, keep, new.bias, order)
        if self.mean is None or self.std is None or new.mean is None or new.std is None:
            return Prepared(left, bias, counts, group)
        spreads = woven(self.mean, keep, new.mean, order), woven(self.std, keep, new.std, order)
        return Prepared(left, bias, counts, group, *spreads)


@dataclass(frozen=True)
class Scorer:
    """See the module. steps: before the model; plda: None for cosine; cohort: (C, D) or None; normalize, simple: of
    PLDA's lengths; dim: of embeddings."""

    dim: int
    steps: Sequence[Step]
    plda: Latent | None
    cohort: Vectors | None
    top_n: int
    calibration: LinearLlr
    points: Sequence[OperatingPoint]
    measures: Sequence[str]
    min_speech: float
    normalize: bool = True
    simple: bool = False
    tested: Ranges = field(default_factory=dict)

    @cached_property
    def key(self) -> str:
        """A hash of what `enrolled` depends on: all but calibration."""
        arrays = [array for step in self.steps for array in (step.mean, step.transform)] + [self.cohort]
        if self.plda is not None:
            arrays += [self.plda.mean, self.plda.transform, self.plda.psi]
        known = hashlib.sha256(repr([self.dim, self.top_n, self.normalize, self.simple]).encode())
        known.update(repr([(step.length, step.mean is None, step.transform is None) for step in self.steps]).encode())
        for array in arrays:
            known.update(b"" if array is None else f"{array.dtype}{array.shape}".encode() + array.tobytes())
        return known.hexdigest()

    @classmethod
    def of(cls, pack: Tables) -> "Scorer":
        """Of the tables of PACK.

        Raises:
            DataError: they are damaged, or do not fit together
        """
        try:
            return _read(pack.settings, pack.arrays)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError) as error:
            text = f"no '{error.args[0]}'" if isinstance(error, KeyError) else error
            raise DataError(f"its tables are damaged: {text}", pack.path) from error

    @property
    def centre(self) -> Floats:
        """Mean (D,) of the embeddings that the back-end was trained with; zeros where it takes none away."""
        mean = self.steps[0].mean if self.steps else None
        return np.zeros(self.dim) if mean is None else mean

    def factors(self, enroll: Vectors, num_utts: Ints, test: Vectors) -> Factors:
        """All scores of ENROLL (N, D), means of NUM_UTTS (N,) utterances, against TEST (M, D), before AS-norm."""
        left, right = self.latent(enroll, num_utts), self.latent(test, np.ones(len(test), np.int64))
        return Factors.dot(left, right) if self.plda is None else self.plda.factors(left, num_utts, right)

    def latent(self, vectors: Vectors, num_utts: Ints) -> Vectors:
        """VECTORS (N, D), means of NUM_UTTS (N,) utterances, in the space in which they are compared.

        Raises:
            DataError: they are of another dimension, or one has no direction
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise DataError(f"embeddings of shape {vectors.shape}; the pack has those of dimension {self.dim}")
        vectors = np.ascontiguousarray(vectors, np.float32)
        for step in self.steps:
            vectors = step.apply(vectors)
        return vectors if self.plda is None else self.plda.latent(vectors, num_utts, self.normalize, self.simple)

    def score(self, enroll: Vectors, num_utts: Ints, test: Vectors) -> Floats:
        """Scores (N, M) of ENROLL (N, D), means of NUM_UTTS (N,) utterances, against TEST (M, D), after AS-norm."""
        enroll, test, num_utts = np.asarray(enroll), np.asarray(test), np.asarray(num_utts, np.int64)
        factors = self.factors(enroll, num_utts, test)
        scores = _all_scores(factors)
        if self.cohort is None:
            return scores
        left = self._cohort_spread(enroll, num_utts)
        right = self._cohort_spread(test, np.ones(len(test), np.int64))
        normalized: Floats = (scores - left[0][:, None]) / left[1][:, None] + (scores - right[0]) / right[1]
        return normalized / 2

    def enrolled(self, vectors: Vectors, num_utts: Ints) -> Prepared:
        """VECTORS (N, D), means of NUM_UTTS (N,) utterances, ready for `score_one`."""
        nobody = np.zeros((0, self.dim), np.float32)
        factors = self.factors(vectors, num_utts, nobody)
        spreads = (None, None) if self.cohort is None else self._cohort_spread(vectors, num_utts)
        counts, group = np.unique(np.asarray(num_utts, np.int64), return_inverse=True)
        return Prepared(factors.left, factors.left_bias, counts, group, *spreads)

    def score_one(self, sides: Iterable[Prepared], test: Vectors) -> Iterator[Floats]:
        """Scores (N,) of all of each of SIDES against one embedding TEST (D,): products of a matrix and a vector."""
        one = np.ones(1, np.int64)
        latent = self.latent(test[None], one)
        mean, std = (np.zeros(1), np.ones(1)) if self.cohort is None else self._cohort_spread(test[None], one)
        known: dict[bytes, tuple[Vectors, Floats]] = {}
        for side in sides:
            if (key := side.counts.tobytes()) not in known:
                known[key] = self._right(side.counts, latent)
            right, bias = known[key]
            scores: Floats = (side.left @ right).astype(np.float64)
            scores += side.bias
            scores += bias[side.group] if len(bias) > 1 else bias[0]
            if side.mean is not None and side.std is not None:
                normalized = (scores - side.mean) / side.std
                scores -= mean[0]
                scores /= std[0]
                scores += normalized
                scores /= 2
            yield scores

    def _right(self, counts: Ints, latent: Vectors) -> tuple[Vectors, Floats]:
        """Of a recording (1, K), `factors` against means of COUNTS (G,) utterances: right (K,) and its biases (G,)."""
        if self.plda is None:
            return latent[0], np.zeros(1)
        factors = self.plda.factors(np.zeros((len(counts), self.plda.dim), np.float32), counts, latent)
        return factors.right[0], factors.right_bias[:, 0]

    def llr(self, scores: Floats, enroll: Sequence[Mapping[str, float]], test: Sequence[Mapping[str, float]]) -> Floats:
        """Log-likelihood ratios (N,) of SCORES (N,) of pairs with the measures ENROLL[i] and TEST[i]."""
        scores = np.asarray(scores, np.float64)
        measures = measure_values(self.measures, enroll, test) if self.measures else np.empty((len(scores), 0))
        return self.llr_of(scores, measures)

    def llr_of(self, scores: Floats, measures: Floats) -> Floats:
        """The same, with MEASURES (N, 2 K) as `mean_and_gap` makes them of the K that the pack takes."""
        return self.calibration.apply(np.column_stack([scores, measures]))

    def supported(self, llr: Floats) -> Floats:
        """LLR (N,), no farther from 0 than the list supports that it was calibrated on."""
        return self.calibration.supported(np.asarray(llr, np.float64))

    def threshold(self, prior: float, rate: float | None) -> tuple[float, OperatingPoint | None]:
        """The threshold for PRIOR or, where it is given, a false-alarm RATE, and the errors to expect, where listed.

        Raises:
            DataError: a prior that makes no sense, or a rate that is not listed
        """
        if not 0 < prior < 1:
            raise DataError(f"a prior of {prior:g}; it must lie between 0 and 1")
        kind, value = ("prior", prior) if rate is None else ("false_alarm_rate", rate)
        for point in self.points:
            if point.kind == kind and np.isclose(point.value, value, rtol=1e-6):
                return (bayes_threshold(prior) if rate is None else point.threshold), point
        if rate is None:
            return bayes_threshold(prior), None
        known = ", ".join(f"{point.value:g}" for point in self.points if point.kind == kind) or "none"
        raise DataError(f"no threshold for a false-alarm rate of {rate:g}, only for {known}")

    @cached_property
    def _cohort_latent(self) -> Vectors:
        assert self.cohort is not None
        return self.latent(self.cohort, np.ones(len(self.cohort), np.int64))

    def _cohort_spread(self, vectors: Vectors, num_utts: Ints) -> tuple[Floats, Floats]:
        """Mean and deviation (N,) of the highest cohort scores of VECTORS (N, D)."""
        assert self.cohort is not None
        first = len(self.cohort) - min(self.top_n, len(self.cohort))
        mean, std = np.empty(len(vectors)), np.empty(len(vectors))
        for begin in range(0, len(vectors), _ROWS):
            rows = slice(begin, begin + _ROWS)
            left, right = self.latent(vectors[rows], num_utts[rows]), self._cohort_latent
            factors = Factors.dot(left, right) if self.plda is None else self.plda.factors(left, num_utts[rows], right)
            scores = factors.left @ factors.right.T
            bias = factors.right_bias.astype(np.float32)
            scores += bias[factors.group] if len(bias) > 1 else bias[0]
            if first:
                scores.partition(first, axis=1)
            mean[rows], std[rows] = spread(scores[:, first:])
            mean[rows] += factors.left_bias
        return mean, np.maximum(std, _FLOOR)


def _all_scores(factors: Factors) -> Floats:
    scores: Floats = (factors.left @ factors.right.T).astype(np.float64)
    scores += factors.left_bias[:, None]
    scores += factors.right_bias[factors.group] if len(factors.right_bias) > 1 else factors.right_bias
    return scores


def _read(settings: Mapping[str, Any], arrays: Mapping[str, Any]) -> Scorer:
    backend, dim = settings["backend"], settings["dim"]
    if isinstance(dim, bool) or not isinstance(dim, int) or not 0 < dim < 1 << 20:
        raise ValueError(f"a dimension of {str(dim)[:40]}")
    inner, steps = dim, []
    for part in backend["projection"]:
        mean = None if part["mean"] is None else _array(arrays, part["mean"], (inner,))
        transform = None if part["transform"] is None else _array(arrays, part["transform"], (None, (inner, inner + 1)))
        if part["length"] not in LENGTHS:
            raise ValueError(f"a length that is none of {', '.join(LENGTHS)}")
        steps.append(Step(mean, transform, part["length"]))
        inner = inner if transform is None else len(transform)
    plda, options = None, backend.get("plda")
    if backend["kind"] == "plda":
        shapes = {"plda_mean": (inner,), "plda_transform": (inner, inner), "plda_psi": (inner,)}
        plda = Latent(*(_array(arrays, name, shape) for name, shape in shapes.items()))
        if not (plda.psi >= 0).all():
            raise ValueError("a variance below 0")
    elif backend["kind"] != "cosine":
        raise ValueError("a back-end that is neither cosine nor plda")
    top_n, cohort = settings["top_n"], None
    if top_n is not None:
        if isinstance(top_n, bool) or not isinstance(top_n, int) or top_n < 2:
            raise ValueError("top_n is no number above 1")
        cohort = _array(arrays, "cohort", (None, dim)).astype(np.float32)
    names = tuple(str(name) for name in settings["measures"])
    calibration = LinearLlr.of(settings["calibration"])
    if not set(names) <= set(MEASURES) or list(map(str, calibration.given)) != list(map(str, pack_terms(names))):
        raise ValueError("a calibration that is not for the measures")
    least = settings["min_speech"]
    if not isinstance(least, int | float) or not 0 <= least < np.inf:
        raise ValueError("min_speech is no number of seconds")
    return Scorer(
        dim, steps, plda, cohort, top_n or 0, calibration, points_of(settings["points"]), names, float(least),
        bool(options["normalize_length"]) if plda else True,
        bool(options["simple_length_normalization"]) if plda else False,
        read_ranges(settings.get("tested")),
    )  # fmt: skip


def _array(arrays: Mapping[str, Any], name: str, shape: tuple[Any, ...]) -> Floats:
    """The finite array NAME, which must have SHAPE: of each axis its size, some, or None for any."""
    array: Floats = np.asarray(arrays[name])
    if array.dtype.kind != "f" or array.ndim != len(shape) or not array.size or not np.isfinite(array).all():
        raise ValueError(f"{name} is no array of finite numbers of {len(shape)} axes")
    for size, wanted in zip(array.shape, shape, strict=True):
        if wanted is not None and size not in (wanted if isinstance(wanted, tuple) else (wanted,)):
            raise ValueError(f"{name} has the shape {array.shape}")
    return array.astype(np.float64)
