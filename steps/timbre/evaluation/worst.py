"""The speakers and trials that a back-end gets most wrong, with paths to listen to. For analyze_trials.py."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from timbre.datadir.datadir import read_segments
from timbre.datadir.tables import read_lists, read_table
from timbre.datadir.trials import Trials
from timbre.evaluation.breakdown import Scored
from timbre.evaluation.metrics import Bools, Ints
from timbre.evaluation.results import percent
from timbre.evaluation.results_page import table
from timbre.utils.escape import escaped

_MIN_TRIALS = 10  # of a speaker, for a rate to be worth ranking
KINDS = {
    "goats": "hard to recognise: targets below the threshold, of",
    "lambs": "easy to imitate: nontargets enrolled as them above it, of",
    "wolves": "good at imitating: nontargets that they are tested in above it, of",
}


@dataclass(frozen=True)
class WorstSpeaker:
    """A speaker's share of errors at the threshold of the EER."""

    speaker: str
    errors: int
    trials: int
    rate: float


@dataclass(frozen=True)
class WorstTrial:
    """A trial, its score, and where its sides lie on disk: paths, or commands that end in "|"."""

    enroll: str
    test: str
    score: float
    enroll_audio: list[str]
    test_audio: list[str]


@dataclass(frozen=True)
class Worst:
    """Speakers by kind (Doddington et al. 1998), worst first; targets of lowest score and nontargets of highest."""

    threshold: float
    speakers: dict[str, list[WorstSpeaker]]
    targets: list[WorstTrial]
    nontargets: list[WorstTrial]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return asdict(self)

    def as_markdown(self) -> str:
        """Tables for people."""
        parts = ["## Worst speakers and trials", f"Errors are those at the threshold of the EER, {self.threshold:.6g}."]
        for kind, meaning in KINDS.items():
            worst = self.speakers[kind]
            rows = [[escaped(row.speaker), f"{row.errors:,}", f"{row.trials:,}", percent(row.rate)] for row in worst]
            parts += [f"### {kind.capitalize()}", f"{meaning[0].upper() + meaning[1:]} how many, in per cent."]
            parts.append(table(["speaker", "errors", "trials", "rate %"], rows) if rows else "None makes an error.")
        lists = {"Targets of the lowest scores": self.targets, "Nontargets of the highest scores": self.nontargets}
        for title, trials in lists.items():
            rows = [[_code(t.enroll, t.enroll_audio), _code(t.test, t.test_audio), f"{t.score:.4g}"] for t in trials]
            parts += [f"### {title}", table(["enrolment", "test", "score"], rows)]
        return "\n\n".join(parts)


def find_worst(
    trials: Trials,
    scored: Scored,
    names: Sequence[str],
    threshold: float,
    audio: "Audio",
    num_speakers: int,
    num_trials: int,
) -> Worst:
    """NUM_SPEAKERS of each kind and NUM_TRIALS of each class of TRIALS.

    Args:
        trials: with their ids
        scored: the same with scores and the numbers of speakers
        names: of the speakers
        threshold: at which a score is accepted
        audio: where the ids lie
        num_speakers: how many speakers of each kind, of those with ten trials and an error
        num_trials: how many trials of each class
    """
    target, accepted = scored.target, scored.scores >= threshold
    enroll, test = scored.enroll_speaker, scored.test_speaker
    goats = np.concatenate([enroll[target], test[target & (test != enroll)]])
    missed = np.concatenate([~accepted[target], ~accepted[target & (test != enroll)]])
    speakers = {
        "goats": _rank(goats, missed, names, num_speakers),
        "lambs": _rank(enroll[~target], accepted[~target], names, num_speakers),
        "wolves": _rank(test[~target], accepted[~target], names, num_speakers),
    }
    listed = []
    for members, sign in ((np.flatnonzero(target), 1), (np.flatnonzero(~target), -1)):
        rows = members[np.argsort(sign * scored.scores[members], kind="stable")[:num_trials]]
        listed.append([_trial(trials, row, scored.scores[row], audio) for row in rows])
    return Worst(threshold, speakers, *listed)


class Audio:
    """Where the utterances of a data directory lie, by its wav.scp and segments where it has them."""

    def __init__(self, data_dir: Path) -> None:
        wavs, segments, models = (data_dir / name for name in ("wav.scp", "segments", "enroll.spk2utt"))
        self._wavs = read_table(wavs) if wavs.exists() else {}
        self._segments = read_segments(segments) if segments.exists() else {}
        self._models = read_lists(models) if models.exists() else {}

    def of(self, key: str) -> list[str]:
        """Paths, or commands with their "|", of the utterances of KEY; of segments with [start, end] in seconds."""
        return [place for utt in self._models.get(key, [key]) if (place := self._place(utt))]

    def _place(self, utt: str) -> str:
        segment = self._segments.get(utt)
        if segment is None:
            return self._wavs.get(utt, "")
        end = "end" if segment.end == -1 else f"{segment.end:g}"
        return f"{self._wavs.get(segment.recording, '')} [{segment.start:g}, {end}]"


def _rank(speakers: Ints, wrong: Bools, names: Sequence[str], number: int) -> list[WorstSpeaker]:
    totals = np.bincount(speakers, minlength=len(names))
    errors = np.bincount(speakers, wrong, len(names)).astype(np.int64)
    rates = errors / np.maximum(totals, 1)
    eligible = np.flatnonzero((totals >= _MIN_TRIALS) & (errors > 0))
    order = eligible[np.lexsort((eligible, -errors[eligible], -rates[eligible]))][:number]
    return [WorstSpeaker(names[row], int(errors[row]), int(totals[row]), float(rates[row])) for row in order]


def _trial(trials: Trials, row: int, score: float, audio: Audio) -> WorstTrial:
    enroll, test = trials.enroll_ids[trials.enroll[row]], trials.test_ids[trials.test[row]]
    return WorstTrial(enroll, test, float(score), audio.of(enroll), audio.of(test))


def _code(key: str, places: Sequence[str]) -> str:
    """An id and its files, in a cell of a table."""
    texts = (key, *places) if len(places) < 4 else (key, *places[:3], "...")
    return "<br>".join(map(_one_code, texts))


def _one_code(text: str) -> str:
    plain = text.replace("|", "")  # which a table takes in code, behind a backslash
    return "`{}`".format(text.replace("|", "\\|")) if escaped(plain) == plain else escaped(text)
