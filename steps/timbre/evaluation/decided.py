"""How well a fixed threshold decides trials: accuracy and F1, with intervals. For results.py and make_submission.py."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from timbre.datadir.trials import read_scores, read_trials
from timbre.evaluation.bootstrap import Integers
from timbre.evaluation.metrics import Bools, Floats, roc, split
from timbre.runtime.thresholds import interval, speaker_counts


@dataclass(frozen=True)
class Decided:
    """Fractions when all trials that score THRESHOLD or more are accepted; intervals: 95 %, by bootstrap over speakers.

    accuracy: of all trials, the share that is decided rightly; f1: 2 hits / (targets + accepted trials), 0 where these
    are none.
    """

    threshold: float
    accuracy: float
    accuracy_ci: tuple[float, float] | None
    f1: float
    f1_ci: tuple[float, float] | None


def held_out_threshold(trials: Path, scores: Path) -> float:
    """Where misses and false alarms are about as frequent on the list TRIALS, which SCORES are of."""
    listed = read_trials(trials)
    return roc(*split(read_scores(scores, listed), listed.target, trials)).eer_threshold()


def decide(
    scores: Floats,
    target: Bools,
    threshold: float,
    enroll_speaker: Integers,
    test_speaker: Integers,
    num_draws: int = 1000,
    seed: int = 0,
) -> Decided:
    """SCORES, TARGET (N,) of trials at THRESHOLD; enroll_speaker, test_speaker: (N,) speaker numbers from 0."""
    num_speakers = 1 + int(max(enroll_speaker.max(), test_speaker.max()))
    # a trial counts as often as both of its speakers are drawn, that of one speaker as often as she is
    second = np.where(enroll_speaker == test_speaker, num_speakers, test_speaker)
    pairs, place = np.unique(enroll_speaker.astype(np.int64) * (num_speakers + 1) + second, return_inverse=True)
    accepted = scores >= threshold
    kinds = (accepted == target, accepted & target, target, accepted)
    counts = np.array([np.bincount(place, kind, len(pairs)) for kind in (np.ones(len(scores)), *kinds)])
    draws = np.full((2, num_draws), np.nan)
    for index in range(num_draws):
        weights = speaker_counts(num_speakers, seed, index)
        first, last = np.divmod(pairs, num_speakers + 1)
        draws[:, index] = _rates(counts @ (weights[first] * weights[last]))
    accuracy, f1 = _rates(counts.sum(axis=1))
    return Decided(threshold, float(accuracy), interval(draws[0]), float(f1), interval(draws[1]))


def _rates(counts: Floats) -> tuple[float, float]:
    """(accuracy, F1) of the numbers of all trials, right ones, hits, targets and accepted ones."""
    number, right, hits, targets, accepted = counts.tolist()
    if not number:
        return np.nan, np.nan
    return right / number, 2 * hits / (targets + accepted) if targets + accepted else 0.0
