"""Augmented copies that are drawn: as many as are asked for, evenly over utterances, and of files of effects alone."""

from collections import Counter
from pathlib import Path

import pytest

from steps.augment_data_dir import augment_data_dir
from timbre.audio.augmented_copies import draw_copies, read_drawn
from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_table
from timbre.utils.errors import DataError
from waves import Make, noise

ROOT = Path(__file__).resolve().parent.parent.parent
UTTS = [f"u{number:02d}" for number in range(40)]


@pytest.mark.parametrize(("number", "each"), [(20, {0, 1}), (40, {1}), (50, {1, 2}), (120, {3})])
def test_copies_are_even_over_utterances(number: int, each: set[int]) -> None:
    names = ["noise", "music", "babble"]
    drawn = draw_copies(UTTS, names, number, seed=0)
    counts = Counter(utt for utts in drawn.values() for utt in utts)
    assert sum(counts.values()) == number and {counts[utt] for utt in UTTS} == each
    assert all(len(utts) == len(set(utts)) and utts for utts in drawn.values())
    assert (
        draw_copies(UTTS, names, number, seed=0) == drawn != draw_copies(UTTS, names, number, seed=1) or number == 120
    )


@pytest.mark.parametrize("number", [0, 81])
def test_no_more_than_there_are(number: int) -> None:
    with pytest.raises(
        DataError, match=f"{number} copies are asked for, of 40 utterances and 2 copies of each; 1 to 80"
    ):
        draw_copies(UTTS, ["noise", "music"], number, seed=0)


def test_a_directory_of_copies_alone(make: Make, tmp_path: Path) -> None:
    data = make("train", {f"s{number // 5}-{number}": noise(0.1, number) for number in range(10)})
    (tmp_path / "hiss.yaml").write_text("cut: true\nacross: [room]\neffects: [{class_path: GaussianNoise}]\n")
    augment_data_dir(data.path, tmp_path / "out", tmp_path / "hiss.yaml", nj=1, draw="50%")
    copies, originals = DataDir.read(tmp_path / "out"), read_table(tmp_path / "out" / "utt2uniq")
    assert len(copies.utts) == 5 and all(utt == f"{originals[utt]}-hiss" for utt in copies.utts)
    assert all(copies.utt2spk[utt] == data.utt2spk[originals[utt]] for utt in copies.utts)
    with pytest.raises(DataError, match="draw is 'many'; a number, or a share such as 2%, is wanted"):
        augment_data_dir(data.path, tmp_path / "out", tmp_path / "hiss.yaml", nj=1, draw="many")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("copies: {slow: {new_speakers: true}}", "copy 'slow' is of new speakers"),
        ("{rate: 8000, effects: []}", "'rate' is not for copies, which have effects alone"),
        ("{effects: 3}", "effects"),
        ("{sound: []}", "must hold `copies:`"),
    ],
)
def test_files_that_are_not_for_copies(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        read_drawn(tmp_path / "x.yaml")


def test_shipped_effects_and_copies_can_be_drawn() -> None:
    assert list(read_drawn(ROOT / "conf" / "augment" / "offline.yaml")) == ["reverb", "noise", "music", "babble"]
    assert list(read_drawn(ROOT / "conf" / "condition" / "other_day.yaml")) == ["other_day"]
