"""Embeddings of augmented copies beside those of the training set: whose they are, and nobody who is held out."""

from pathlib import Path

import numpy as np
import pytest

from steps.combine_embeddings import combine_embeddings
from timbre.datadir.ark import write_vectors
from timbre.datadir.tables import read_table, write_table
from timbre.utils.errors import DataError

TRAIN = {"a-1": "a", "a-2": "a", "b-1": "b", "b-2": "b", "sp-a-1": "sp-a", "sp-b-1": "sp-b", "c-1": "c"}
SLOW = {"sp-a-1": "a-1", "sp-b-1": "b-1"}
COPIES = {f"{utt}-hiss": spk for utt, spk in TRAIN.items()}


def write(folder: Path, utt2spk: dict[str, str], originals: dict[str, str]) -> tuple[Path, Path]:
    write_table(folder / "utt2spk", utt2spk)
    write_table(folder / "utt2uniq", {utt: utt for utt in utt2spk} | originals)
    write_vectors(folder / "xvector", sorted(utt2spk), np.eye(len(utt2spk), dtype=np.float32))
    return folder / "xvector.scp", folder


@pytest.fixture
def train(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "train", TRAIN, SLOW)


@pytest.fixture
def copies(tmp_path: Path) -> tuple[Path, Path]:
    return write(tmp_path / "copies", COPIES, {f"{utt}-hiss": SLOW.get(utt, utt) for utt in TRAIN})


def test_copies_are_of_the_speakers_of_their_originals(
    train: tuple[Path, Path], copies: tuple[Path, Path], tmp_path: Path
) -> None:
    combine_embeddings(*train, *copies, tmp_path / "both")
    assert read_table(tmp_path / "both" / "utt2spk") == TRAIN | COPIES
    assert read_table(tmp_path / "both" / "xvector.scp") == read_table(train[0]) | read_table(copies[0])


def test_no_copy_of_a_speaker_held_out_is_left(
    train: tuple[Path, Path], copies: tuple[Path, Path], tmp_path: Path
) -> None:
    """Nor of one whose utterances, made faster or slower, count as another's; of what is held out one may be enough."""
    write_table(tmp_path / "held_out", {"a-1": "a", "sp-a-1": "sp-a"})
    combine_embeddings(*train, *copies, tmp_path / "both", tmp_path / "held_out")
    left = {"a-2", "b-1", "b-2", "sp-b-1", "c-1", "b-1-hiss", "b-2-hiss", "sp-b-1-hiss", "c-1-hiss"}
    for name in ("utt2spk", "xvector.scp"):
        assert read_table(tmp_path / "both" / name).keys() == left
    write_table(tmp_path / "held_out", {"b-1": "b"})
    combine_embeddings(*train, *copies, tmp_path / "both", tmp_path / "held_out")
    assert "sp-b-1-hiss" not in read_table(tmp_path / "both" / "utt2spk"), "it is a copy of what is held out"


def test_what_does_not_belong_together_is_refused(
    train: tuple[Path, Path], copies: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="'a-1' is in the training set and among its copies"):
        combine_embeddings(*train, *train, tmp_path / "both")
    strange = write(tmp_path / "strange", {"x-1-hiss": "x"}, {})
    with pytest.raises(DataError, match="the copy 'x-1-hiss' is of 'x', no speaker of the training set"):
        combine_embeddings(*train, *strange, tmp_path / "both")
    write_table(tmp_path / "held_out", TRAIN)
    with pytest.raises(DataError, match="no utterance, or no copy, is left without those held out"):
        combine_embeddings(*train, *copies, tmp_path / "both", tmp_path / "held_out")
    assert not (tmp_path / "both").exists()
