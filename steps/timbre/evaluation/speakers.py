"""Which speakers a trial is between: what the bootstrap draws and what a cohort must not contain."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from timbre.datadir.tables import read_lists, read_table
from timbre.datadir.trials import Trials
from timbre.utils.errors import DataError

Ints = npt.NDArray[np.int32]  # a number a trial of long lists is made of them

_BLOCK = 1 << 20  # trials at a time

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrialSpeakers:
    """Numbers of the speakers of the enrolment ids (E,) and test ids (T,), their sorted names, where they come from."""

    enroll: Ints
    test: Ints
    names: list[str]
    source: str


def trial_speakers(path: Path, trials: Trials, utt2spk: Path | None = None) -> TrialSpeakers:
    """Speakers of the trials read from PATH.

    By UTT2SPK, otherwise by the utt2spk beside PATH (models by the enroll.spk2utt there, or by an id that is a
    speaker's); without one, ids that target trials tie together are one speaker.

    Raises:
        DataError: UTT2SPK does not name an utterance, or a model has utterances of two speakers
    """
    if utt2spk is None:
        utt2spk = path.with_name("utt2spk")
        if not utt2spk.exists():
            return _tied_by_targets(trials)
    lookup = _Lookup(utt2spk, path.with_name("enroll.spk2utt"))
    enroll = [lookup.of_model(key) for key in trials.enroll_ids]
    test = [lookup.of_utt(key) for key in trials.test_ids]
    names, numbers = _number(enroll + test)
    speakers = TrialSpeakers(numbers[: len(enroll)], numbers[len(enroll) :], names, str(utt2spk))
    wrong = 0
    for begin in range(0, len(trials), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        same = speakers.enroll[trials.enroll[rows]] == speakers.test[trials.test[rows]]
        wrong += int(np.count_nonzero(same != trials.target[rows]))
    if wrong:
        log.warning("%s: %d trials are labelled otherwise than %s says", path, wrong, utt2spk)
    return speakers


class _Lookup:
    """Speakers of utterances and of enrolment models."""

    def __init__(self, utt2spk: Path, enroll_spk2utt: Path) -> None:
        self.path = utt2spk
        self.speakers = read_table(utt2spk)
        self.names = set(self.speakers.values())
        self.models_path = enroll_spk2utt
        self.models = read_lists(enroll_spk2utt) if enroll_spk2utt.exists() else {}

    def of_utt(self, utt: str) -> str:
        if utt not in self.speakers:
            raise DataError(f"no utterance '{utt}', which the trials name", self.path)
        return self.speakers[utt]

    def of_model(self, model: str) -> str:
        if model in self.models:
            speakers = {self.of_utt(utt) for utt in self.models[model]}
            if len(speakers) > 1:
                raise DataError(f"model '{model}' has utterances of {len(speakers)} speakers", self.models_path)
            return speakers.pop()
        if model not in self.speakers and model in self.names:
            return model
        return self.of_utt(model)


def _tied_by_targets(trials: Trials) -> TrialSpeakers:
    """Speakers named after the first of their ids."""
    from scipy.sparse import coo_array  # slow to import, and here not often needed
    from scipy.sparse.csgraph import connected_components

    ids, nodes = _number(trials.enroll_ids + trials.test_ids)
    enroll, test = nodes[: len(trials.enroll_ids)], nodes[len(trials.enroll_ids) :]
    ties = (enroll[trials.enroll[trials.target]], test[trials.test[trials.target]])
    graph = coo_array((np.ones(len(ties[0]), bool), ties), shape=(len(ids), len(ids)))
    _, component = connected_components(graph, directed=False)
    _, first, numbers = np.unique(component, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))  # ids are sorted: so are their speakers, whatever the order of the trials
    speaker = rank[numbers].astype(np.int32)
    return TrialSpeakers(speaker[enroll], speaker[test], [ids[node] for node in np.sort(first)], "target trials")


def _number(names: Sequence[str]) -> tuple[list[str], Ints]:
    """The distinct NAMES, sorted, and the number of each name."""
    distinct = sorted(set(names))
    numbers = {name: number for number, name in enumerate(distinct)}
    return distinct, np.fromiter((numbers[name] for name in names), np.int32, len(names))
