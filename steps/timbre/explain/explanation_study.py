"""Whether to believe the maps of a network, over a set of utterances. Called by measure_explanations.py."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from timbre.datadir.trials import read_trials
from timbre.explain.deletion_curves import (
    Values,
    area,
    curves,
    positive_share,
    randomized,
    rank_correlation,
    vad_map,
)
from timbre.explain.explained_score import ExplainedScore, Explainer, Part, PartScore
from timbre.explain.methods import Method, make_map
from timbre.explain.study_options import StudyOptions
from timbre.explain.time_cells import CellOptions, Cells
from timbre.feats.protocols import frame_shift_of
from timbre.utils.errors import DataError

BASELINES = ("random", "energy", "vad")  # maps that no network is needed for

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """An utterance to be measured: the trial or the speaker's logit whose last side it is, and its speaker."""

    speaker: str
    test: str
    enroll: str = ""

    def explained(self, explainer: Explainer) -> ExplainedScore:
        """The score."""
        if self.enroll:
            return explainer.pair(self.enroll, self.test)
        return explainer.speaker([explainer.part(self.test)], self.speaker)


@dataclass(frozen=True)
class Measured:
    """What was measured of one utterance.

    Args:
        wanted: which
        deletion, insertion: of each map, scores (11,) by the share of the cells
        sanity: of each method, rank correlation of its map with the one after the weights were randomised
        located: of each method, share of the positive values that lie in the speaker's half of a splice; NaN: none is
    """

    wanted: Wanted
    deletion: dict[str, Values]
    insertion: dict[str, Values]
    sanity: dict[str, float]
    located: dict[str, float]

    @property
    def ends(self) -> tuple[float, float]:
        """The score of the utterance, and of nothing but its mean frame."""
        return float(self.deletion["random"][0]), float(self.deletion["random"][-1])

    def areas(self, which: str) -> dict[str, float]:
        """Mean of the curves of deletion or insertion."""
        return {name: float(area(curve)) for name, curve in getattr(self, which).items()}


def measure(
    explainer: Explainer,
    trials: Path | None,
    methods: Sequence[Method],
    options: StudyOptions,
    cells: CellOptions,
    seed: int,
) -> list[Measured]:
    """Measures each of METHODS on utterances of the data of EXPLAINER.

    Args:
        explainer: the model
        trials: list whose target trials are explained, by their test side; None: the logit of each utterance's speaker
        methods: to be measured
        options: how much
        cells: what is taken away at a time
        seed: of the choice of utterances, of random orders and weights

    Raises:
        DataError: there are no such utterances, or none of them can be explained
    """
    rng = np.random.default_rng(seed)
    wanted = _target_trials(explainer, trials, rng) if trials else _own_speakers(explainer, rng)
    chosen = list(_evenly(wanted, options.num_utts))
    if not chosen:
        where = "target trial of two utterances in it" if trials else "utterance of a speaker that it was trained on"
        raise DataError(f"no {where}", trials or explainer.data.path)
    study = _Study(explainer, methods, options, cells, frame_shift_of(explainer.data), seed)
    found = []
    for number, one in enumerate(tqdm(chosen, desc="explanations", unit="utt", disable=None)):
        others = [other.test for other in chosen if other.speaker != one.speaker]
        try:
            found.append(study.run(one, others[number % len(others)] if others else None, number))
        except DataError as error:
            log.warning("left out: %s", error)
    if not found:
        raise DataError(f"none of the {len(chosen)} utterances can be explained", explainer.data.path)
    return found


class _Study:
    """What all utterances share."""

    def __init__(
        self,
        explainer: Explainer,
        methods: Sequence[Method],
        options: StudyOptions,
        cells: CellOptions,
        shift: float,
        seed: int,
    ) -> None:
        self._explainer, self._methods, self._options, self._cells = explainer, methods, options, cells
        self._shift, self._seed = shift, seed
        self._random_network = randomized(explainer.network, seed)

    def run(self, wanted: Wanted, other: str | None, number: int) -> Measured:
        """Measures WANTED, the NUMBER-th; OTHER: an utterance of someone else, None: there is none."""
        explained = wanted.explained(self._explainer)
        part = explained.parts[-1]
        size = max(len(part.inputs), self._explainer.network.min_frames)
        most = self._options.max_frames or size
        middle = slice((size - most) // 2, (size - most) // 2 + most) if most < size else slice(0, size)
        score, changed = (
            _cut(one.of_parts()[-1], middle) for one in (explained, replace(explained, network=self._random_network))
        )
        cells = Cells.of(len(score.inputs), score.inputs.shape[1], self._cells, self._shift, part.utt)
        maps = {str(method): cells.means(self._map(score, method, part.utt)) for method in self._methods}
        sanity = {
            str(method): rank_correlation(maps[method], cells.means(self._map(changed, method, part.utt)))
            for method in self._methods
        }
        for name, values in (("energy", part.feats[part.seen]), ("vad", vad_map(part))):
            maps[name] = cells.means(np.resize(values, (size, values.shape[1]))[middle])
        rng = np.random.default_rng([self._seed, number])
        drawn = [curves(score, cells, np.zeros(len(maps["energy"])), rng) for _ in range(self._options.num_random)]
        found = {name: curves(score, cells, values, rng) for name, values in maps.items()}
        found["random"] = np.mean([one[0] for one in drawn], axis=0), np.mean([one[1] for one in drawn], axis=0)
        located = self._located(score, self._explainer.part(other), part.utt, number % 2 == 1) if other else {}
        deletion, insertion = ({name: pair[place] for name, pair in found.items()} for place in (0, 1))
        return Measured(wanted, deletion, insertion, sanity, located)

    def _located(self, score: PartScore, other: Part, utt: str, behind: bool) -> dict[str, float]:
        """Of each method, how much of what speaks for the speaker lies in her half of a splice; BEHIND: the second."""
        size = min(len(score.inputs) // 2, len(other.inputs))
        if 2 * size < score.network.min_frames:
            return {}
        hers = score.inputs[:size]
        theirs = torch.from_numpy(other.inputs[:size]).to(hers)
        spliced = replace(score, inputs=torch.cat([theirs, hers] if behind else [hers, theirs]), num_frames=2 * size)
        inside = (np.arange(2 * size) >= size) == behind
        return {str(method): positive_share(self._map(spliced, method, utt), inside) for method in self._methods}

    def _map(self, score: PartScore, method: Method, utt: str) -> np.ndarray:
        return make_map(score, method, utt, self._options.layer, self._cells, self._shift).values


def _cut(score: PartScore, frames: slice) -> PartScore:
    """SCORE as a function of these FRAMES alone; repeated ones are frames like others."""
    inputs = score.inputs[frames]
    return replace(score, inputs=inputs, num_frames=len(inputs))


def _target_trials(explainer: Explainer, trials: Path, rng: np.random.Generator) -> list[Wanted]:
    """The target trials of TRIALS of two utterances, in random order, by the speaker of the test side."""
    listed, speakers = read_trials(trials), explainer.data.utt2spk
    rows = rng.permutation(np.flatnonzero(listed.target))
    pairs = [(listed.enroll_ids[listed.enroll[row]], listed.test_ids[listed.test[row]]) for row in rows]
    if missing := [test for _, test in pairs if test not in speakers]:
        raise DataError(f"no utterance '{missing[0]}', which a trial of {trials} has", explainer.data.path / "utt2spk")
    return [Wanted(speakers[test], test, enroll) for enroll, test in pairs if enroll != test]


def _own_speakers(explainer: Explainer, rng: np.random.Generator) -> list[Wanted]:
    """The utterances of training speakers, in random order."""
    _, classes = explainer.classes()
    utts = [utt for utt, speaker in explainer.data.utt2spk.items() if speaker in classes]
    return [Wanted(explainer.data.utt2spk[utts[row]], utts[row]) for row in rng.permutation(len(utts))]


def _evenly(wanted: Sequence[Wanted], number: int) -> Iterator[Wanted]:
    """NUMBER of WANTED: the first of each speaker, then the second of each, and so on, no utterance twice."""
    of_speaker: dict[str, dict[str, Wanted]] = {}
    for one in wanted:
        of_speaker.setdefault(one.speaker, {}).setdefault(one.test, one)
    rounds = [list(utts.values()) for utts in of_speaker.values()]
    listed = [utts[place] for place in range(max(map(len, rounds), default=0)) for utts in rounds if place < len(utts)]
    yield from listed[:number]
