"""A decision pack: all that it takes to decide whether two recordings are of one speaker, in one folder.

Made by make_decision_pack.py, read by verify.py, enroll_gallery.py and identify.py. Its files: model/ (network),
front.yaml (audio, features, VAD), backend/, cohort.ark (for AS-norm), calibration.yaml, thresholds.yaml, pack.yaml.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from timbre.backend.backends import Backend, read_backend
from timbre.backend.score_norm import normalize, side_stats
from timbre.backend.scoring import score_pairs
from timbre.backend.vectors import Embeddings, Ints, Side
from timbre.decision.calibration import Calibration
from timbre.decision.tested import Condition
from timbre.evaluation.metrics import Floats
from timbre.runtime.llr import MEASURES, measure_values, pack_terms
from timbre.runtime.tested_ranges import Ranges, read_ranges
from timbre.runtime.thresholds import OperatingPoint, entries, points_of
from timbre.utils.configure import read_config
from timbre.utils.documents import read_yaml
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

_KEYS = ("measures", "top_n", "min_speech", "tested", "conditions", "speech", "about")  # of pack.yaml
_SETTINGS, COHORT, _CALIBRATION, _THRESHOLDS = "pack.yaml", "cohort.ark", "calibration.yaml", "thresholds.yaml"


@dataclass(frozen=True)
class Scorer:
    """Scores of a back-end, normalised (AS-norm) by the top_n scores of a cohort where there is one."""

    backend: Backend
    cohort: Side | None = None
    top_n: int = 300

    def pairs(self, enroll: Side, test: Side, rows: Ints, columns: Ints, nj: int = 1) -> Floats:
        """Scores (N,) of the pairs (ENROLL[ROWS[i]], TEST[COLUMNS[i]])."""
        scores = score_pairs(self.backend.factors(enroll, test), rows, columns, nj)
        if self.cohort is None:
            return scores
        size = min(self.top_n, len(self.cohort.ids))
        enroll_stats, test_stats = side_stats(self.backend, enroll, test, self.cohort, size, nj)
        return normalize(scores, enroll_stats.at(rows), test_stats.at(columns))


@dataclass(frozen=True)
class DecisionPack:
    """The parts of a pack that are not the network; measures: the quality measures that its calibration takes; tested:
    what recordings its errors were counted on."""

    path: Path
    scorer: Scorer
    calibration: Calibration
    points: Sequence[OperatingPoint]
    measures: Sequence[str]
    min_speech: float
    tested: Ranges = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "DecisionPack":
        """Reads the folder PATH.

        Raises:
            DataError: it is not a pack, or one of its files is damaged
        """
        if not (path / _SETTINGS).is_file():
            text = "a run with calibration makes one, ./run.sh --calibrate, in exp/NAME/decision; name it with --pack"
            raise DataError(f"not a decision pack: {text}", path)
        settings = read_config(path / _SETTINGS)
        cohort = None
        if settings.get("top_n") is not None:
            vectors = Embeddings.read(path / COHORT)
            cohort = Side.single(vectors.ids, vectors.matrix, path / COHORT)
        try:
            if unknown := sorted(map(str, set(settings) - set(_KEYS))):
                raise ValueError(f"'{unknown[0]}' is none of {', '.join(_KEYS)}")
            names = [str(name) for name in settings["measures"]]
            top_n, min_speech = settings.get("top_n"), settings["min_speech"]
            if not set(names) <= set(MEASURES) or isinstance(top_n, bool) or not isinstance(top_n, int | None):
                raise ValueError(f"measures are some of {', '.join(MEASURES)}, top_n a number")
            if not isinstance(min_speech, int | float) or not 0 <= min_speech < np.inf:
                raise ValueError(f"min_speech is {min_speech}; it must be a number of seconds")
            tested = read_ranges(settings.get("tested"))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError(f"not the settings of a pack: {error}", path / _SETTINGS) from error
        scorer = Scorer(read_backend(path / "backend"), cohort, top_n or 0)
        calibration = Calibration.read(path / _CALIBRATION)
        if [str(term) for term in calibration.given] != [str(term) for term in pack_terms(names)]:
            raise DataError(f"not for the measures of {_SETTINGS}: {', '.join(names) or 'none'}", path / _CALIBRATION)
        return cls(path, scorer, calibration, read_points(path / _THRESHOLDS), names, min_speech, tested)

    def write_settings(
        self,
        folder: Path,
        about: Mapping[str, Any],
        speech: Sequence[Mapping[str, Any]] = (),
        conditions: Sequence[Condition] = (),
    ) -> None:
        """Writes FOLDER/{calibration,thresholds,pack}.yaml; for people, ABOUT: where the pack is from, SPEECH: what
        min_speech was chosen by, CONDITIONS: errors under others than those of the thresholds."""
        self.calibration.write(folder / _CALIBRATION)
        write_points(folder / _THRESHOLDS, self.points)
        settings = {
            "measures": list(self.measures),
            "top_n": self.scorer.top_n if self.scorer.cohort is not None else None,
            "min_speech": self.min_speech,
            "tested": {name: [round(end, 3) for end in ends] for name, ends in self.tested.items()},
            "conditions": [
                {"name": one.name, "speakers": one.num_speakers, "eer": one.eer, "points": entries(one.points)}
                for one in conditions
            ],
            "speech": [dict(entry) for entry in speech],
            "about": dict(about),
        }
        with atomic_write(folder / _SETTINGS) as file:
            yaml.safe_dump(settings, file, sort_keys=False, allow_unicode=True)

    def llr(self, scores: Floats, enroll: Sequence[Mapping[str, float]], test: Sequence[Mapping[str, float]]) -> Floats:
        """Log-likelihood ratios (N,) of SCORES (N,) of pairs with the measures ENROLL[i] and TEST[i]."""
        values = np.column_stack([scores, measure_values(self.measures, enroll, test)])
        return self.calibration.apply(values)

    def supported(self, llr: float) -> float:
        """LLR, no farther from 0 than the list supports that it was calibrated on."""
        return float(self.calibration.supported(np.array([llr]))[0])

    def point(self, prior: float, rate: float | None) -> OperatingPoint | None:
        """The operating point of a false-alarm RATE or, without one, of a PRIOR; None where the latter is not listed.

        Raises:
            DataError: RATE is not listed
        """
        kind, value = ("prior", prior) if rate is None else ("false_alarm_rate", rate)
        for point in self.points:
            if point.kind == kind and np.isclose(point.value, value, rtol=1e-6):
                return point
        if rate is None:
            return None
        known = ", ".join(f"{point.value:g}" for point in self.points if point.kind == kind)
        raise DataError(f"no threshold for a false-alarm rate of {rate:g}, only for {known}", self.path / _THRESHOLDS)


def write_points(path: Path, points: Sequence[OperatingPoint]) -> None:
    """Writes PATH, YAML that a person can read."""
    with atomic_write(path) as file:
        file.write("# accept where the log-likelihood ratio is at least the threshold\n")
        yaml.safe_dump(entries(points), file, sort_keys=False)


def read_points(path: Path) -> list[OperatingPoint]:
    """Reads what `write_points` wrote.

    Raises:
        DataError: no such file, or it holds something else
    """
    content = read_yaml(path)
    try:
        return points_of(content)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"not a table of thresholds: {error}", path) from error
