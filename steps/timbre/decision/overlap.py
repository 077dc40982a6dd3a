"""Who is in a trial list, kept beside a model that was trained on it, so that nobody is judged by what she trained.

Written by train_calibration.py; calibrate_scores.py and make_decision_pack.py refuse lists that overlap.
"""

import logging
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from timbre.datadir.tables import read_ids, read_lists
from timbre.datadir.trials import Trials
from timbre.evaluation.speakers import trial_speakers
from timbre.utils.errors import DataError
from timbre.utils.files import atomic_write

log = logging.getLogger(__name__)

_SPEAKERS, _UTTS = "speakers", "utts"


@dataclass(frozen=True)
class Who:
    """Speakers and utterances of a trial list.

    path: of the list; speakers: empty where no utt2spk says who they are; utts: those of models included.
    """

    path: Path
    speakers: frozenset[str]
    utts: frozenset[str]

    @classmethod
    def of(cls, path: Path, trials: Trials, utt2spk: Path | None = None, enroll_spk2utt: Path | None = None) -> "Who":
        """Of TRIALS, read from PATH; raises as `trial_speakers`."""
        found = trial_speakers(path, trials, utt2spk)
        known = found.source != "target trials"
        if not known:
            log.warning("%s: there is no utt2spk, so only its utterances can be compared with those of training", path)
        models = read_lists(enroll_spk2utt) if enroll_spk2utt else {}
        utts = {utt for key in trials.enroll_ids for utt in models.get(key, [key])}
        return cls(path, frozenset(found.names if known else ()), frozenset(utts | set(trials.test_ids)))

    def write(self, folder: Path) -> None:
        """Writes FOLDER/speakers and FOLDER/utts, an id a line."""
        for name, ids in ((_SPEAKERS, self.speakers), (_UTTS, self.utts)):
            with atomic_write(folder / name) as file:
                file.writelines(f"{key}\n" for key in sorted(ids))

    @classmethod
    def read(cls, folder: Path) -> "Who":
        """Reads what `write` wrote."""
        return cls(folder, frozenset(read_ids(folder / _SPEAKERS)), frozenset(read_ids(folder / _UTTS)))

    def refuse(self, other: "Who") -> None:
        """Raises:
        DataError: OTHER has a speaker or an utterance of this list, which something was trained on
        """
        for what, mine, theirs in (
            ("speakers", self.speakers, other.speakers),
            ("utterances", self.utts, other.utts),
        ):
            if shared := mine & theirs:
                raise DataError(
                    f"{len(shared)} of its {len(theirs)} {what} are in what {self.path} was trained on "
                    f"({_some(shared)}): scores of people whom it knows would look better than they are",
                    other.path,
                )


def _some(names: Set[str]) -> str:
    chosen = sorted(names)[:3]
    return ", ".join(chosen) + (", ..." if len(names) > len(chosen) else "")
