"""Thresholds chosen where the diarization error rate of a development set is lowest. Called by tune_diarization.py."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from pathlib import Path

import yaml

from timbre.backend.backends import PldaBackend
from timbre.datadir.datadir import DataDir, Segment
from timbre.datadir.rttm import Spans, Turns, read_rttm, read_uem
from timbre.diarization.clustering import (
    Clusterer,
    Labels,
    Recording,
    Resegmenter,
    Scoring,
    cluster_all,
    read_labels,
    read_recordings,
    read_scorer,
    resegment_all,
)
from timbre.diarization.der import DerOptions, Errors, check_apart, measure, pool
from timbre.diarization.spectral import SpectralOptions
from timbre.diarization.vbx import VbxOptions
from timbre.diarization.window_scores import CosineScorer, PldaScorer
from timbre.diarization.windows import turns_of
from timbre.runtime.ahc import AhcOptions
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

Options = AhcOptions | SpectralOptions | VbxOptions
Candidates = Sequence[tuple[dict[str, float], Options]]
_NAMES = {AhcOptions: "ahc", SpectralOptions: "spectral", VbxOptions: "vbx"}


@dataclass(frozen=True)
class Development:
    """What is tuned on: recordings with their windows, and the truth (of these recordings alone)."""

    recordings: Sequence[Recording]
    segments: dict[str, Segment]
    reference: Turns
    uem: Spans | None
    scored: DerOptions

    @classmethod
    def read(
        cls, windows_dir: Path, xvectors: Path, reference: Path, test: Path, uem: Path | None, scored: DerOptions
    ) -> "Development":
        """Windows with their XVECTORS and REFERENCE, an RTTM file that has nobody in common with that of the TEST set.

        Raises:
            DataError: it has
        """
        truth = read_rttm(reference)
        check_apart(truth, read_rttm(test))
        windows = DataDir.read(windows_dir)
        spans = None if uem is None else read_uem(uem)
        return cls(read_recordings(windows, xvectors), windows.segments, truth, spans, scored)

    def errors(self, labels: Labels) -> Errors:
        """Error rates of LABELS; no intervals."""
        measured = measure(self.reference, turns_of(self.segments, labels), self.uem, self.scored)
        return pool(measured, num_draws=0)


@dataclass(frozen=True)
class Trial:
    """What was tried, by name, and what came of it."""

    values: dict[str, float]
    errors: Errors

    def __str__(self) -> str:
        chosen = ", ".join(f"{name} {value:g}" for name, value in self.values.items())
        return f"{chosen}: DER {100 * self.errors.der:.2f} %"


def grid(options: Options, values: Mapping[str, Sequence[float]]) -> list[tuple[dict[str, float], Options]]:
    """OPTIONS with every combination of VALUES, lists by name of an option.

    Raises:
        DataError: no such option; a list is empty, or has a fraction where a whole number is wanted
    """
    known = sorted(one.name for one in fields(options))
    if not values or not values.keys() <= set(known):
        raise DataError(f"values must name options of {_NAMES[type(options)]} to vary, of {', '.join(known)}")
    whole = {name for name in values if isinstance(getattr(options, name), int)}
    for name, listed in values.items():
        if not listed or (name in whole and not all(float(value).is_integer() for value in listed)):
            raise DataError(f"values of {name} to try: {list(listed)}{', not all whole numbers' * (name in whole)}")
    values = {name: list(map(int, listed)) if name in whole else listed for name, listed in values.items()}
    combinations = [dict(zip(values, one, strict=True)) for one in product(*values.values())]
    return [(one, replace(options, **one)) for one in combinations]  # type: ignore[arg-type]


def tune_clustering(
    development: Development,
    scorer: CosineScorer | PldaScorer,
    candidates: Candidates,
    nj: int,
) -> list[Trial]:
    """Error rates of the clustering with each of CANDIDATES."""

    def labels(options: Options) -> Labels:
        assert not isinstance(options, VbxOptions)
        return cluster_all(development.recordings, Clusterer(scorer, options), nj)

    return _try_all(development, candidates, labels)


def tune_vbx(
    development: Development,
    first: Labels,
    resegmenter: Resegmenter,
    candidates: Candidates,
    nj: int,
) -> list[Trial]:
    """Error rates of VBx from FIRST on with each of CANDIDATES."""

    def labels(options: Options) -> Labels:
        assert isinstance(options, VbxOptions)
        return resegment_all(development.recordings, first, replace(resegmenter, options=options), nj)

    return _try_all(development, candidates, labels)


def tune(
    development: Development,
    candidates: Candidates,
    scoring: Scoring,
    backend_dir: Path | None,
    target_energy: float,
    labels: Path | None,
    nj: int,
) -> list[Trial]:
    """Error rates with each of CANDIDATES; the rest as the options of tune_diarization.py.

    Raises:
        DataError: what is asked for does not go together
    """
    first = candidates[0][1]
    if not isinstance(first, VbxOptions):
        return tune_clustering(development, read_scorer(scoring, backend_dir, target_energy), candidates, nj)
    if labels is None or backend_dir is None:
        raise DataError("vbx needs --labels and --backend-dir")
    resegmenter = Resegmenter(PldaBackend.read(backend_dir), first)
    return tune_vbx(development, read_labels(labels, development.segments), resegmenter, candidates, nj)


def best(trials: Sequence[Trial]) -> int:
    """The trial of the lowest DER; of equal ones the one in the middle, away from where it gets worse."""
    lowest = min(trial.errors.der for trial in trials)
    equal = [place for place, trial in enumerate(trials) if trial.errors.der == lowest]
    return equal[len(equal) // 2]


def write_tuning(out_dir: Path, name: str, trials: Sequence[Trial], chosen: Options) -> None:
    """Writes OUT_DIR/NAME.yaml, the options CHOSEN, and OUT_DIR/NAME.tsv, all that was tried."""
    with atomic_write(out_dir / f"{name}.yaml") as file:
        yaml.safe_dump(asdict(chosen), file, sort_keys=False)
    with atomic_write(out_dir / f"{name}.tsv") as file:
        file.write(
            "\t".join([*trials[0].values, "DER", "miss", "false_alarm", "confusion", "JER", "wrong_number"]) + "\n"
        )
        for trial in trials:
            one = trial.errors
            rates = (one.der, one.miss, one.false_alarm, one.confusion, one.jer, one.wrong_number)
            fields = [f"{value:g}" for value in trial.values.values()] + [f"{100 * rate:.2f}" for rate in rates]
            file.write("\t".join(fields) + "\n")


def _try_all(
    development: Development,
    candidates: Candidates,
    labels: Callable[[Options], Labels],
) -> list[Trial]:
    return [Trial(values, development.errors(labels(options))) for values, options in candidates]
