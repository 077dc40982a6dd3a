"""Verification of recordings by a decision pack: what verify.py says. The network and torch come in through here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit, logit

from timbre.backend.vectors import Side
from timbre.decision.pack import DecisionPack
from timbre.embedding.embedder import Embedded, Embedder, Front
from timbre.runtime.answers import SAME_SAMPLES, expected, verdict_text
from timbre.runtime.sound import Unusable
from timbre.runtime.tested_ranges import Ranges, outside
from timbre.runtime.thresholds import OperatingPoint, bayes_threshold
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class Verdict:
    """Whether TEST is of the speaker of ENROLL, and how sure that is.

    llr: natural log-likelihood ratio, as far as the pack's list supports it; probability: that they are one, at the
    prior; threshold: on llr; point: what errors the pack expects there, where it lists it; tested: what recordings
    these were counted on.
    """

    enroll: Sequence[Embedded]
    test: Embedded
    llr: float
    prior: float
    threshold: float
    point: OperatingPoint | None
    tested: Ranges = field(default_factory=dict)

    @property
    def same_recording(self) -> bool:
        """Whether the samples of both sides are the same."""
        return self.test.content != 0 and any(item.content == self.test.content for item in self.enroll)

    @property
    def same(self) -> bool:
        return self.llr >= self.threshold

    @property
    def probability(self) -> float:
        return float(expit(self.llr + logit(self.prior)))

    def warnings(self) -> list[str]:
        """What may spoil the answer, by file."""
        told = [
            f"{item.path}: {text}"
            for item in (*self.enroll, self.test)
            for text in (*item.warnings, *outside({"seconds": item.speech, **item.measures}, self.tested))
        ]
        return told + [f"{self.test.path}: {SAME_SAMPLES}"] * self.same_recording

    def __str__(self) -> str:
        return verdict_text(self.same, self.llr, self.threshold, self.prior, self.probability, self.point)

    def as_json(self) -> str:
        """The same for programs."""
        content: dict[str, Any] = {
            "same": self.same,
            "llr": self.llr,
            "probability": self.probability,
            "prior": self.prior,
            "threshold": self.threshold,
            "enroll": [_described(item) for item in self.enroll],
            "test": _described(self.test),
            "same_recording": self.same_recording,
            "warnings": self.warnings(),
        }
        if self.point is not None:
            content["expected"] = expected(self.point)
        return json.dumps(content, indent=2, ensure_ascii=False)


@dataclass(frozen=True)
class NoVerdict:
    """Why nothing can be said of TEST and ENROLL, files: one line for each that cannot be used."""

    enroll: Sequence[str]
    test: str
    reasons: Sequence[str]
    prior: float

    def warnings(self) -> list[str]:
        """None: what there is to say is the reason."""
        return []

    def __str__(self) -> str:
        return "NO DECISION: " + "; ".join(self.reasons) + "."

    def as_json(self) -> str:
        """The same for programs."""
        content: dict[str, Any] = {
            "same": None,
            "reason": "; ".join(self.reasons),
            "llr": None,
            "probability": None,
            "prior": self.prior,
            "enroll": [{"path": path} for path in self.enroll],
            "test": {"path": self.test},
        }
        return json.dumps(content, indent=2, ensure_ascii=False)


def _described(item: Embedded) -> dict[str, Any]:
    return {"path": item.path, "seconds": item.seconds, "speech": item.speech, **item.measures}


def open_embedder(pack: DecisionPack, device: str = "cpu") -> Embedder:
    """The network of PACK, and what is before it; raises as `load_model`."""
    return Embedder(pack.path / "model", Front.read(pack.path / "front.yaml"), device, pack.min_speech)


def verify_files(
    pack: DecisionPack, enroll: Sequence[Path], test: Path, prior: float, rate: float | None, device: str
) -> Verdict | NoVerdict:
    """Compares TEST with the recordings ENROLL of one speaker, averaged as enroll.spk2utt does.

    There is no verdict where a file has less speech than the pack asks for, is constant, ruined by clipping, or has
    NaN. The threshold is that of PRIOR or, where it is given, of a false-alarm RATE that the pack lists.

    Raises:
        DataError: a file that cannot be used, or a prior or rate that makes no sense
    """
    if not 0 < prior < 1:
        raise DataError(f"a prior of {prior:g}; it must lie between 0 and 1")
    point = pack.point(prior, rate)
    items, unusable = embed_all(open_embedder(pack, device), [*enroll, test])
    if unusable:
        return NoVerdict([str(path) for path in enroll], str(test), [str(error) for error in unusable], prior)
    *first, second = items
    model = average(first)
    right = Side.single([second.path], second.vector[None])
    zero = np.zeros(1, np.int64)
    score = pack.scorer.pairs(model, right, zero, zero)
    llr = pack.supported(float(pack.llr(score, [mean_measures(first)], [second.measures])[0]))
    threshold = bayes_threshold(prior) if point is None or rate is None else point.threshold
    return Verdict(first, second, llr, prior, threshold, point, pack.tested)


def embed_all(embedder: Embedder, paths: Sequence[Path]) -> tuple[list[Embedded], list[Unusable]]:
    """What EMBEDDER makes of PATHS, in their order without those that cannot be used, and why these cannot."""
    items: list[Embedded] = []
    unusable: list[Unusable] = []
    for path in paths:
        try:
            items.append(embedder(str(path)))
        except Unusable as error:
            unusable.append(error)
    return items, unusable


def average(items: Sequence[Embedded], name: str = "enrolled") -> Side:
    """ITEMS as one model."""
    mean = np.mean([item.vector.astype(np.float64) for item in items], axis=0)
    return Side([name], mean[None].astype(np.float32), np.array([len(items)], np.int64))


def mean_measures(items: Sequence[Embedded]) -> dict[str, float]:
    """Measures of a model: the mean of its recordings'."""
    return {name: float(np.mean([item.measures[name] for item in items])) for name in items[0].measures}
