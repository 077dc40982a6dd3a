"""A data directory in the making: what the corpus fronts put utterances, columns and trials into."""

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field
from types import MappingProxyType

from timbre.datadir.contents import Contents
from timbre.datadir.datadir import Segment
from timbre.datadir.pairs import Pairing
from timbre.datadir.phones import Phones
from timbre.datadir.trials import Trials
from timbre.utils.errors import DataError

logger = logging.getLogger(__name__)


@dataclass
class UttSet:
    """A data directory in the making.

    Args:
        tables: file name -> table, as in `Contents`
        trials: file name -> trial list
        verbatim: file name -> bytes of other files
        phones: utterance -> its phones, where the corpus has them
    """

    tables: dict[str, dict[str, str]] = field(default_factory=lambda: {"wav.scp": {}, "utt2spk": {}})
    trials: dict[str, Trials] = field(default_factory=dict)
    verbatim: dict[str, bytes] = field(default_factory=dict)
    phones: Phones = field(default_factory=dict)

    def add(
        self,
        utt: str,
        spk: str,
        place: str,
        columns: Mapping[str, str | None] = MappingProxyType({}),
        segment: Segment | None = None,
    ) -> None:
        """One utterance. COLUMNS {"session": "x"} goes to utt2session, and so on; what is None or empty is left out.

        PLACE is a path or "cmd |"; with a SEGMENT it is that of the recording.

        Raises:
            DataError: an utterance of this id is there already
        """
        utt2spk = self.tables["utt2spk"]
        if utt in utt2spk:
            raise DataError(f"two files would be utterance '{utt}'", place)
        utt2spk[utt] = spk
        self.tables["wav.scp"][segment.recording if segment else utt] = place
        if segment:
            self.tables.setdefault("segments", {})[utt] = str(segment)
        for name, value in columns.items():
            if value:
                self.tables.setdefault(f"utt2{name}", {})[utt] = value

    @classmethod
    def join(cls, sets: Iterable["UttSet"]) -> "UttSet":
        """One set of several that have no utterance in common."""
        joined = cls()
        for utts in sets:
            joined.update(utts)
        return joined

    def update(self, other: "UttSet") -> None:
        """Takes over the tables of OTHER, which has no utterance in common with this."""
        for name, table in other.tables.items():
            self.tables.setdefault(name, {}).update(table)
        self.phones.update(other.phones)

    @property
    def utt2spk(self) -> dict[str, str]:
        return self.tables["utt2spk"]

    @property
    def num_speakers(self) -> int:
        return len(set(self.utt2spk.values()))

    def describe(self, **columns: Mapping[str, str]) -> None:
        """Of speakers: gender={...} goes to spk2gender, as far as it is of speakers of this set; and so on."""
        speakers = set(self.utt2spk.values())
        for name, table in columns.items():
            if found := {spk: value for spk, value in table.items() if spk in speakers}:
                self.tables[f"spk2{name}"] = found

    def label(self, **columns: str) -> None:
        """Of every utterance: lang="zh" fills utt2lang; and so on."""
        for name, value in columns.items():
            self.tables[f"utt2{name}"] = dict.fromkeys(self.utt2spk, value)

    def select(self, utts: Set[str]) -> "UttSet":
        """The utterances of this set that are in UTTS."""
        if not self.utt2spk:
            return UttSet()
        chosen = Contents(self.tables, {}, {}, self.phones).select(utts)
        return UttSet(chosen.tables, phones=chosen.phones)

    def without(self, speakers: Collection[str]) -> "UttSet":
        """This set without SPEAKERS."""
        return self.select({utt for utt, spk in self.utt2spk.items() if spk not in speakers})

    def only(self, speakers: Collection[str] | None, min_utts: int = 1) -> "UttSet":
        """Those of SPEAKERS (None: of all) who have MIN_UTTS utterances or more."""
        counts = Counter(self.utt2spk.values())
        chosen = {spk for spk, count in counts.items() if count >= min_utts and (speakers is None or spk in speakers)}
        return self.select({utt for utt, spk in self.utt2spk.items() if spk in chosen})

    def draw_trials(self, across_only: bool = False, max_targets: int = 20000, seed: int = 0) -> None:
        """For a corpus without official trials: `trials`, as many target as non-target ones, the latter of one sex
        where it is known, and `trials_cross_session`, with target trials across sessions, where a speaker has several.
        ACROSS_ONLY: the latter alone, as `trials`. A list without any target trial is not made, which is logged.
        """
        sessions = self.tables.get("utt2session", {})
        genders = self.tables.get("spk2gender")
        if genders and len(genders) < self.num_speakers:
            genders = None
        spk2sessions = {(self.utt2spk[utt], session) for utt, session in sessions.items()}
        lists = {} if across_only else {"trials": Pairing(self.utt2spk, genders)}
        if across_only or len(spk2sessions) > len({spk for spk, _ in spk2sessions}):
            lists["trials" if across_only else "trials_cross_session"] = Pairing(self.utt2spk, genders, sessions)
        for name, pairing in lists.items():
            try:
                self.trials[name] = pairing.sample(1, max_targets, seed)
            except DataError as error:
                logger.warning("no %s: %s", name, error)
