"""Diarization and Jaccard error rates (pyannote.metrics), their parts and their intervals over recordings.

Called by score_der.py and tuning.py.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from timbre.datadir.rttm import Spans, Turn, Turns
from timbre.runtime.thresholds import interval
from timbre.utils.errors import DataError

if TYPE_CHECKING:
    from pyannote.core import Annotation

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DerOptions:
    """What is scored.

    Args:
        collar: seconds on each side of the beginning and the end of every reference turn that are not scored
        skip_overlap: leave out where several speakers speak in the reference
    """

    collar: float = 0.0
    skip_overlap: bool = False

    def __post_init__(self) -> None:
        if self.collar < 0:
            raise DataError(f"collar is {self.collar:g}; it must not be negative")

    def __str__(self) -> str:
        return f"collar {self.collar:g} s, overlap {'left out' if self.skip_overlap else 'scored'}"


@dataclass(frozen=True)
class RecordingErrors:
    """Errors of one recording, in seconds of speech; time in which two speak counts twice.

    total: reference speech; jaccard: sum of the Jaccard error rates of the speakers that are scored, num_scored.
    """

    recording: str
    total: float
    miss: float
    false_alarm: float
    confusion: float
    jaccard: float
    num_scored: int
    num_speakers: int
    num_found: int

    @property
    def error(self) -> float:
        """All errors, in seconds."""
        return self.miss + self.false_alarm + self.confusion


@dataclass(frozen=True)
class Errors:
    """Error rates of several recordings together, as fractions of all reference speech; intervals over recordings.

    jer: mean of the Jaccard error rates of all speakers; wrong_number: share of the recordings in which another number
    of speakers was found.
    """

    der: float
    der_interval: tuple[float, float] | None
    miss: float
    false_alarm: float
    confusion: float
    jer: float
    jer_interval: tuple[float, float] | None
    wrong_number: float
    num_recordings: int


def measure(reference: Turns, hypothesis: Turns, uem: Spans | None, options: DerOptions) -> list[RecordingErrors]:
    """Errors of every recording of REFERENCE, speakers mapped so that they are fewest.

    Without UEM a recording is scored from the first to the last turn of the two. One that has no HYPOTHESIS is all
    missed, which a warning says.

    Raises:
        DataError: a hypothesis of a recording that the reference lacks, a recording that UEM lacks
    """
    from pyannote.core import Segment, Timeline  # takes a second
    from pyannote.metrics.diarization import DiarizationErrorRate, JaccardErrorRate

    if unknown := sorted(hypothesis.keys() - reference.keys()):
        raise DataError(f"the reference has no recording '{unknown[0]}', which the hypothesis has")
    # pyannote's collar is the whole of what is left out around a boundary, NIST's one side of it
    der = DiarizationErrorRate(collar=2 * options.collar, skip_overlap=options.skip_overlap)
    jer = JaccardErrorRate(  # type: ignore[no-untyped-call]
        collar=2 * options.collar, skip_overlap=options.skip_overlap
    )
    errors = []
    for recording, turns in reference.items():
        if recording not in hypothesis:
            log.warning("no hypothesis for recording '%s': all of its speech is missed", recording)
        found = hypothesis.get(recording, [])
        if uem is None:
            spans = [(min(turn.start for turn in [*turns, *found]), max(turn.end for turn in [*turns, *found]))]
        elif recording in uem:
            spans = uem[recording]
        else:
            raise DataError(f"the UEM has no recording '{recording}', which the reference has")
        scored = Timeline([Segment(*span) for span in spans])
        parts = der.compute_components(annotation(turns), annotation(found), uem=scored)
        jaccard = jer.compute_components(annotation(turns), annotation(found), uem=scored)
        errors.append(
            RecordingErrors(
                recording,
                total=float(parts["total"]),
                miss=float(parts["missed detection"]),
                false_alarm=float(parts["false alarm"]),
                confusion=float(parts["confusion"]),
                jaccard=float(jaccard["speaker error"]),
                num_scored=int(jaccard["speaker count"]),
                num_speakers=len({turn.speaker for turn in turns}),
                num_found=len({turn.speaker for turn in found}),
            )
        )
    return errors


def pool(errors: Sequence[RecordingErrors], num_draws: int = 1000, seed: int = 0) -> Errors:
    """Error rates of all recordings together; intervals by drawing recordings anew NUM_DRAWS times.

    Raises:
        DataError: there is no speech to score
    """
    sums = np.array([[one.error, one.total, one.jaccard, one.num_scored] for one in errors], np.float64)
    error, total, jaccard, num_scored = sums.sum(axis=0)
    if not total > 0:
        raise DataError("there is no reference speech to score")
    drawn = np.random.default_rng(seed).integers(0, len(sums), (num_draws, len(sums)))
    with np.errstate(invalid="ignore"):  # a draw without speech is NaN, which the interval passes over
        rates = sums[drawn].sum(axis=1)
        ders, jers = rates[:, 0] / rates[:, 1], rates[:, 2] / rates[:, 3]
    several = len(errors) > 1
    return Errors(
        der=float(error / total),
        der_interval=interval(ders) if several else None,
        miss=float(sum(one.miss for one in errors) / total),
        false_alarm=float(sum(one.false_alarm for one in errors) / total),
        confusion=float(sum(one.confusion for one in errors) / total),
        jer=float(jaccard / num_scored),
        jer_interval=interval(jers) if several else None,
        wrong_number=float(np.mean([one.num_speakers != one.num_found for one in errors])),
        num_recordings=len(errors),
    )


def check_apart(tuned_on: Turns, tested_on: Turns) -> None:
    """DataError where a recording or a speaker is in both: an error rate would be too good."""
    if shared := sorted(tuned_on.keys() & tested_on.keys()):
        raise DataError(f"recording '{shared[0]}' is in the development set and in the test set")
    tuned, tested = ({turn.speaker for turns in one.values() for turn in turns} for one in (tuned_on, tested_on))
    if both := sorted(tuned & tested):
        raise DataError(f"speaker '{both[0]}' is in the development set and in the test set")


def annotation(turns: Iterable[Turn]) -> "Annotation":
    """TURNS as pyannote has them; where turns of the same speaker overlap she counts once."""
    from pyannote.core import Annotation, Segment

    result = Annotation()
    for number, turn in enumerate(turns):
        result[Segment(turn.start, turn.end), number] = turn.speaker
    return result.support()


def table(errors: Sequence[RecordingErrors], pooled: Errors) -> str:
    """What is printed: a line a recording, and all together; rates in per cent."""
    width = max(9, *(len(one.recording) for one in errors))
    lines = [f"{'recording':{width}}     DER    miss  false alarm  confusion     JER  speakers  found"]
    for one in errors:
        seconds = (one.error, one.miss, one.false_alarm, one.confusion)
        rates = [value / one.total if one.total else np.nan for value in seconds]
        jer = one.jaccard / one.num_scored if one.num_scored else np.nan
        lines.append(_line(one.recording, width, [*rates, jer]) + f" {one.num_speakers:9d} {one.num_found:6d}")
    rates = [pooled.der, pooled.miss, pooled.false_alarm, pooled.confusion, pooled.jer]
    lines.append(_line("all", width, rates))
    for name, ends in (("DER", pooled.der_interval), ("JER", pooled.jer_interval)):
        if ends:
            lines.append(f"{name}: 95 % interval over recordings [{100 * ends[0]:.2f}, {100 * ends[1]:.2f}]")
    share = f"{100 * pooled.wrong_number:.0f} % of {pooled.num_recordings} recordings"
    return "\n".join([*lines, f"wrong number of speakers in {share}"])


def as_json(errors: Sequence[RecordingErrors], pooled: Errors, options: DerOptions) -> dict[str, object]:
    """Everything, for a JSON file."""
    return {"scored": asdict(options), "all": asdict(pooled), "recordings": [asdict(one) for one in errors]}


def _line(name: str, width: int, rates: Sequence[float]) -> str:
    der, miss, false_alarm, confusion, jer = (100 * rate for rate in rates)
    return f"{name:{width}} {der:7.2f} {miss:7.2f} {false_alarm:12.2f} {confusion:10.2f} {jer:7.2f}"
