"""The embeddings that a back-end is trained on where there are augmented copies of the training set beside it.

Called by combine_embeddings.py.
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

from timbre.datadir.contents import ORIGINALS
from timbre.datadir.tables import read_ids, read_table
from timbre.utils.errors import DataError


@dataclass(frozen=True)
class SpokenVectors:
    """Embeddings and their speakers: utterance -> place of its vector, utterance -> speaker."""

    places: Mapping[str, str]
    utt2spk: Mapping[str, str]

    @classmethod
    def read(cls, scp: Path, utt2spk: Path) -> "SpokenVectors":
        """Those of SCP, with their speakers.

        Raises:
            DataError: UTT2SPK does not name one
        """
        places, speakers = read_table(scp), read_table(utt2spk)
        if missing := sorted(places.keys() - speakers.keys()):
            raise DataError(f"no speaker for '{missing[0]}' ({len(missing)} of {len(places)} ids of {scp})", utt2spk)
        return cls(places, {utt: speakers[utt] for utt in places})

    def without(self, utts: Set[str]) -> "SpokenVectors":
        """All but UTTS."""
        return SpokenVectors(_without(self.places, utts), _without(self.utt2spk, utts))


def combine_embeddings(
    train: SpokenVectors, copies: SpokenVectors, originals: Mapping[str, str], held_out: Iterable[str]
) -> SpokenVectors:
    """TRAIN and COPIES without the utterances HELD_OUT, their copies, and any copy of a speaker of theirs.

    Args:
        train: of the training set, which may have copies of its own, those of changed speed with speakers of their own
        copies: of its augmented copies
        originals: utterance -> the one that it is a copy of, of both (utt2uniq); what it does not name is an original
        held_out: utterances that the back-end must not know

    Raises:
        DataError: an utterance is in both, a copy's speaker is none of TRAIN's, or nothing is left
    """
    if both := sorted(train.places.keys() & copies.places.keys()):
        raise DataError(f"'{both[0]}' is in the training set and among its copies")
    speakers = set(train.utt2spk.values())
    if strange := sorted(utt for utt, spk in copies.utt2spk.items() if spk not in speakers):
        raise DataError(f"the copy '{strange[0]}' is of '{copies.utt2spk[strange[0]]}', no speaker of the training set")
    held = set(held_out)
    takes = {originals.get(utt, utt) for utt in held}
    whose = {train.utt2spk[utt] for utt in held if utt in train.utt2spk}
    left_out = {
        utt for utt, spk in copies.utt2spk.items() if spk in whose or utt in held or originals.get(utt, utt) in takes
    }
    kept = train.without(held), copies.without(left_out)
    if not all(part.places for part in kept):
        raise DataError("no utterance, or no copy, is left without those held out")
    return SpokenVectors(
        {**kept[0].places, **kept[1].places},
        {**kept[0].utt2spk, **kept[1].utt2spk},
    )


def read_originals(data_dir: Path) -> dict[str, str]:
    """The table utt2uniq of DATA_DIR; empty where it has none."""
    return read_table(data_dir / ORIGINALS) if (data_dir / ORIGINALS).exists() else {}


def read_held_out(path: Path | None) -> list[str]:
    """The ids listed in PATH; none where there is no such list."""
    return [] if path is None else read_ids(path)


def _without(table: Mapping[str, str], keys: Set[str]) -> dict[str, str]:
    return {key: value for key, value in table.items() if key not in keys}
