"""Decision packs of made embeddings, their tables as a pack, and an encoder that needs no network."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from timbre.backend.backends import Backend, CosineBackend, PldaBackend, PldaScoring
from timbre.backend.plda import train_plda
from timbre.backend.speaker_stats import SpeakerStats
from timbre.backend.transforms import Lda, LengthNorm, Mean, Wccn
from timbre.backend.vectors import Projection, Side
from timbre.decision.calibration import Calibration
from timbre.decision.pack import DecisionPack, Scorer
from timbre.export.decision_tables import decision_tables
from timbre.runtime.llr import pack_terms
from timbre.runtime.thresholds import operating_points

DIM, SPEAKERS, UTTS = 16, 40, 6


def speakers_vectors(num_speakers: int = SPEAKERS, seed: int = 0) -> NDArray[np.float32]:
    """(num_speakers * UTTS, DIM): those of one speaker follow each other."""
    random = np.random.default_rng(seed)
    means = random.normal(size=(num_speakers, 1, DIM)) * np.linspace(1.5, 0.2, DIM)
    vectors = means + 0.5 * random.normal(size=(num_speakers, UTTS, DIM)) + 0.3
    return vectors.reshape(-1, DIM).astype(np.float32)


def backend_of(kind: str) -> Backend:
    """A back-end KIND: cosine or plda, and what comes before it, as cosine-lda-wccn."""
    vectors = speakers_vectors(seed=1)
    speakers = [f"s{row // UTTS:02d}" for row in range(len(vectors))]
    transforms: dict[str, Any] = {"mean": Mean(), "lda": Lda(10), "wccn": Wccn(), "norm": LengthNorm()}
    model, *names = kind.split("-")
    chain = Projection()
    for name in names:
        seen = chain.apply(Side.single(speakers, vectors))
        chain = chain.before(transforms[name].train(SpeakerStats.collect(seen, speakers)))
    if model == "cosine":
        return CosineBackend(chain.before(Projection(length="unit")))
    stats = SpeakerStats.collect(chain.apply(Side.single(speakers, vectors)), speakers)
    options = PldaScoring(smoothing=0.1, simple_length_normalization="lda" in names)
    return PldaBackend(chain, train_plda(stats, 3), options)


def decision_pack(kind: str, cohort: bool = True, measures: Sequence[str] = ("logdur", "snr")) -> DecisionPack:
    """A pack of made speakers."""
    vectors = speakers_vectors(30, seed=2)
    members = Side.single([f"c{row}" for row in range(len(vectors))], vectors) if cohort else None
    scorer = Scorer(backend_of(kind), members, 20)
    tried = speakers_vectors(20, seed=3)
    side = Side.single([f"t{row}" for row in range(len(tried))], tried)
    rows, columns = np.triu_indices(len(tried), 1)
    scores = scorer.pairs(side, side, rows, columns)
    speaker = np.arange(len(tried)) // UTTS
    target = speaker[rows] == speaker[columns]
    extra = np.random.default_rng(4).normal(size=(len(rows), 2 * len(measures)))
    calibration = Calibration.train(pack_terms(measures), np.column_stack([scores, extra]), target, 0.05)
    llrs = calibration.apply(np.column_stack([scores, extra]))
    points = operating_points(llrs, target, speaker[rows], speaker[columns], num_draws=20)
    return DecisionPack(Path("pack"), scorer, calibration, points, measures, 0.3, {"seconds": (0.5, 20.0)})


@dataclass
class TablePack:
    """What PackFile is, of the tables of a decision pack."""

    settings: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    path: Path = Path("made.timbre")
    checksum: str = "0" * 64
    network_checksum: str = hashlib.sha256(b"made").hexdigest()
    members: dict[str, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, pack: DecisionPack) -> "TablePack":
        """The tables of PACK."""
        settings, arrays = decision_tables(pack)
        return cls({"name": "made", "rate": 8000, "dim": DIM, "vad": "energy", **settings}, arrays)
