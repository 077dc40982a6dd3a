"""Trials to calibrate on, in which neither length nor anything else but the speaker tells targets from nontargets.

Called by make_calibration_trials.py, with speakers that were held out of training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from timbre.datadir.datadir import invert
from timbre.datadir.pairs import Pairing, even_draw
from timbre.datadir.trials import Trials, join_trials
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class CalibrationDraw:
    """How trials are drawn.

    Args:
        nontargets: number of non-target trials for each target trial of the same lengths
        max_targets: number of target trials drawn, as evenly as there are over speakers and pairs of lengths
        max_utts: utterances drawn of each speaker
        lengths: seconds at which the classes of length are divided
        seed: of the draws
    """

    nontargets: int = 10
    max_targets: int = 10000
    max_utts: int = 100
    lengths: tuple[float, ...] = (2, 4, 8, 16, 32)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("nontargets", "max_targets"):
            if getattr(self, name) < 1:
                raise DataError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.max_utts < 2:
            raise DataError(f"max_utts is {self.max_utts}; it must be at least 2")


def without_copies(utt2spk: Mapping[str, str], originals: Mapping[str, str]) -> dict[str, str]:
    """UTT2SPK with one of each utterance and its copies by the same speaker: the original, or the first in C order.

    A pair of copies says the same words in the same take: no trial is as easy. ORIGINALS: utterance -> original.
    """
    kept: dict[tuple[str, str], str] = {}
    for utt in sorted(utt2spk):
        original = originals.get(utt, utt)
        key = utt2spk[utt], original
        if utt == original or key not in kept:
            kept[key] = utt
    return {utt: spk for (spk, _), utt in kept.items()}


def calibration_trials(
    utt2spk: Mapping[str, str],
    seconds: Mapping[str, float],
    labels: Sequence[Mapping[str, str]],
    options: CalibrationDraw = CalibrationDraw(),
) -> Trials:
    """Trials between the utterances of UTT2SPK.

    Every pair of classes of length has the same share of targets, or the length of a trial would say what it is. Both
    sides of a trial have the same label in each of LABELS, so that nontargets are not told by their sex, language or
    channel alone.

    Args:
        utt2spk: utterance -> speaker
        seconds: length of each utterance
        labels: tables, utterance -> label; an utterance that one of them lacks is in no trial
        options: how many, and how they are drawn

    Raises:
        DataError: there is no target or no nontarget trial
    """
    generator = np.random.default_rng(options.seed)
    kept = {utt: spk for utt, spk in utt2spk.items() if all(utt in table for table in labels)}
    chosen = {}
    for spk, utts in invert(kept).items():
        for row in np.sort(generator.permutation(len(utts))[: options.max_utts]).tolist():
            chosen[utts[row]] = spk
    pairing = Pairing(chosen)
    classes = np.searchsorted(options.lengths, [seconds[utt] for utt in pairing.utts], side="right")
    coded = [np.unique([table[utt] for utt in pairing.utts], return_inverse=True)[1] for table in labels]
    speakers = np.unique([chosen[utt] for utt in pairing.utts], return_inverse=True)[1]
    trials = join_trials([_where_same(block, coded) for block in pairing.all()])
    rows = {utt: row for row, utt in enumerate(pairing.utts)}
    enroll, test = (
        np.array([rows[utt] for utt in ids], np.int64)[side]
        for ids, side in ((trials.enroll_ids, trials.enroll), (trials.test_ids, trials.test))
    )
    number = len(options.lengths) + 1
    cells = np.minimum(classes[enroll], classes[test]) * number + np.maximum(classes[enroll], classes[test])
    targets = np.flatnonzero(trials.target)
    groups = speakers[enroll[targets]] * number**2 + cells[targets]
    targets = targets[even_draw(groups, min(options.max_targets, len(targets)), generator)]
    others = np.flatnonzero(~trials.target)
    drawn = [targets]
    for cell, count in zip(*np.unique(cells[targets], return_counts=True), strict=True):
        available = others[cells[others] == cell]
        drawn.append(generator.permutation(available)[: count * options.nontargets])
    order = np.sort(np.concatenate(drawn))
    if not len(targets) or len(order) == len(targets):
        missing = "nontarget" if len(targets) else "target"
        raise DataError(f"no {missing} trial between {len(chosen)} utterances of {len(set(chosen.values()))} speakers")
    return Trials(trials.enroll_ids, trials.test_ids, trials.enroll[order], trials.test[order], trials.target[order])


def _where_same(trials: Trials, labels: Sequence[np.ndarray]) -> Trials:
    """Those whose sides have the same number in each of LABELS, (num_utts,)."""
    same = np.ones(len(trials), bool)
    for numbers in labels:
        same &= numbers[trials.enroll] == numbers[trials.test]
    return Trials(trials.enroll_ids, trials.test_ids, trials.enroll[same], trials.test[same], trials.target[same])
