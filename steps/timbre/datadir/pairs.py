"""Trial lists made from a data directory: all pairs of utterances, or targets with a sample of non-targets.

Called by make_trials.py and the corpus fronts. A pair is a set: no utterance meets itself, or another twice.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from timbre.datadir.trials import Trials
from timbre.utils.errors import DataError

_BLOCK = 1 << 20  # pairs looked at at a time


class Pairing:
    """Which pairs of utterances are trials.

    A target trial is of one speaker, and of two sessions where SESSIONS are given; a non-target is of two speakers, and
    of one sex where GENDERS are given. Speakers and utterances that these tables lack are in no trial.

    Args:
        utt2spk: utterance -> speaker
        genders: speaker -> gender, to ask for the same sex
        sessions: utterance -> session, to ask for target trials across sessions
    """

    def __init__(
        self,
        utt2spk: Mapping[str, str],
        genders: Mapping[str, str] | None = None,
        sessions: Mapping[str, str] | None = None,
    ) -> None:
        self.utts = sorted(
            utt
            for utt, spk in utt2spk.items()
            if (genders is None or spk in genders) and (sessions is None or utt in sessions)
        )
        self._spk = _codes(utt2spk[utt] for utt in self.utts)
        self._gender = _codes(genders[utt2spk[utt]] if genders else "" for utt in self.utts)
        self._session = _codes(sessions[utt] if sessions else utt for utt in self.utts)

    def all(self) -> Iterator[Trials]:
        """Every trial, ordered by its ids, in blocks of bounded size; DataError when there is none."""
        found = False
        rows = max(1, _BLOCK // max(1, len(self.utts)))
        for start in range(0, len(self.utts), rows):
            enroll, test = np.ogrid[start : min(start + rows, len(self.utts)), 0 : len(self.utts)]
            row, column = np.nonzero((enroll < test) & self._is_trial(enroll, test))
            if len(row):
                found = True
                yield self._trials(row + start, column)
        if not found:
            raise DataError("no two utterances make a trial")

    def sample(self, nontargets: int, max_targets: int | None = None, seed: int = 0) -> Trials:
        """Target trials, and NONTARGETS times as many non-targets drawn evenly from all there are (or all of them).

        Args:
            nontargets: number of non-target trials for each target trial
            max_targets: keep that many target trials, with as equal a share for each speaker as there can be
            seed: of the draws

        Raises:
            DataError: there is no target trial, or a number makes no sense
        """
        if nontargets < 0 or (max_targets is not None and max_targets < 1):
            raise DataError(f"{nontargets} non-targets for each of at most {max_targets} targets cannot be drawn")
        generator = np.random.default_rng(seed)
        pairs = self._targets()
        if not len(pairs):
            raise DataError("no two utterances make a target trial")
        if max_targets is not None and max_targets < len(pairs):
            pairs = pairs[even_draw(self._spk[pairs // len(self.utts)], max_targets, generator)]
        others = self._nontargets(nontargets * len(pairs), generator)
        enroll, test = np.divmod(np.sort(np.concatenate([pairs, others])), max(1, len(self.utts)))
        return self._trials(enroll, test)

    def _is_trial(self, enroll: np.ndarray, test: np.ndarray) -> np.ndarray:
        kept: np.ndarray = np.where(
            self._spk[enroll] == self._spk[test],
            self._session[enroll] != self._session[test],
            self._gender[enroll] == self._gender[test],
        )
        return kept

    def _trials(self, enroll: np.ndarray, test: np.ndarray) -> Trials:
        target = self._spk[enroll] == self._spk[test]
        return Trials(self.utts, self.utts, enroll.astype(np.int32), test.astype(np.int32), target)

    def _targets(self) -> np.ndarray:
        """All target pairs, enroll * num_utts + test, sorted."""
        found = [np.empty(0, np.int64)]
        by_spk = np.argsort(self._spk, kind="stable")
        for utts in np.split(by_spk, np.flatnonzero(np.diff(self._spk[by_spk])) + 1):
            enroll, test = (utts[side] for side in np.triu_indices(len(utts), 1))
            kept = self._session[enroll] != self._session[test]
            found.append(enroll[kept] * len(self.utts) + test[kept])
        return np.sort(np.concatenate(found))

    def _nontargets(self, wanted: int, generator: np.random.Generator) -> np.ndarray:
        """WANTED different non-target pairs, or all where there are no more."""
        num_utts = len(self.utts)
        available = _num_pairs(np.bincount(self._gender)) - _num_pairs(np.bincount(self._spk))
        if wanted >= available // 3:  # so few are left that drawing would hit the same ones again and again
            blocks = (trials.pairs[~trials.target] for trials in self.all())
            every = np.concatenate([np.empty(0, np.int64), *blocks])
            return every if wanted >= available else generator.choice(every, wanted, replace=False)
        pairs = np.empty(0, np.int64)
        draws_a_pair = num_utts**2 / (2 * available)
        while len(pairs) < wanted:
            drawn = generator.integers(num_utts, size=(2, int(1.1 * draws_a_pair * (wanted - len(pairs))) + 64))
            enroll, test = drawn.min(axis=0), drawn.max(axis=0)
            kept = (self._spk[enroll] != self._spk[test]) & (self._gender[enroll] == self._gender[test])
            pairs = np.union1d(pairs, enroll[kept] * num_utts + test[kept])
        return generator.choice(pairs, wanted, replace=False)


def match_utterances(trials: Trials, utts: Collection[str], path: Path) -> Trials:
    """TRIALS, read from PATH, with ids that are of UTTS: VoxCeleb's spk/video/part.wav becomes spk-video-part.

    Raises:
        DataError: the first id that is of no utterance
    """
    names = []
    for ids, rows in ((trials.enroll_ids, trials.enroll), (trials.test_ids, trials.test)):
        names.append([name if name in utts else _flat(name) for name in ids])
        for index, name in enumerate(names[-1]):
            if name not in utts:
                line = int(np.argmax(rows == index)) + 1
                raise DataError(f"'{ids[index]}' is not an utterance of the data directory", path, line)
    return trials.renamed(*names)


def _flat(name: str) -> str:
    return re.sub(r"\.\w+$", "", name).replace("/", "-")


def without_shared(trials: Trials, table: Mapping[str, str], models: Mapping[str, Sequence[str]]) -> Trials:
    """TRIALS but for those whose two sides have a value of TABLE in common; what TABLE lacks shares nothing.

    Args:
        table: utterance -> value
        models: enrolment id -> its utterances, where it is not one itself
    """
    code = {value: number for number, value in enumerate(sorted(set(table.values())))}
    has = np.zeros((len(trials.enroll_ids), len(code) + 1), bool)  # the last column is that of no value
    for row, name in enumerate(trials.enroll_ids):
        has[row, [code[table[utt]] for utt in models.get(name, [name]) if utt in table]] = True
    side = np.array([code[table[utt]] if utt in table else len(code) for utt in trials.test_ids], np.int64)
    kept = ~has[trials.enroll, side[trials.test]]
    return replace(trials, enroll=trials.enroll[kept], test=trials.test[kept], target=trials.target[kept])


def _codes(names: Iterable[str]) -> np.ndarray:
    """Equal numbers for equal names."""
    index: dict[str, int] = {}
    return np.array([index.setdefault(name, len(index)) for name in names], np.int64)


def _num_pairs(sizes: np.ndarray) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def even_draw(groups: np.ndarray, wanted: int, generator: np.random.Generator) -> np.ndarray:
    """Indices of WANTED members of GROUPS (N,), numbers: as many of each group, or all it has; sorted."""
    order = generator.permutation(len(groups))
    ranked = order[np.argsort(groups[order], kind="stable")]  # groups one after another, shuffled within
    sorted_groups = groups[ranked]
    first = np.flatnonzero(np.diff(sorted_groups, prepend=-1))
    turn = np.arange(len(groups)) - np.repeat(first, np.diff(first, append=len(groups)))
    chosen: np.ndarray = np.sort(ranked[np.lexsort((generator.permutation(len(groups)), turn))[:wanted]])
    return chosen
