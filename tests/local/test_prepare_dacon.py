"""The front of Dacon 2021: pairs to train on, rows to answer, and lists that are not as they should be."""

import csv
import logging
from pathlib import Path
from typing import Any

import pytest

from local.prepare_dacon import prepare_dacon
from timbre.utils.errors import DataError

TRAIN = ["file_name,speaker", *(f"{spk}/{number}.wav,spk {spk}" for spk in "abc" for number in range(4))]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus"
    for spk in "abcxyz":
        (path / spk).mkdir(parents=True)
        for number in range(4):
            (path / spk / f"{number}.wav").write_bytes(b"")
    (path / "train_info.csv").write_text("\n".join(TRAIN))
    return path


def prepare(corpus: Path, test: str, **options: Any) -> Path:
    (corpus / "test_data.csv").write_text(test)
    out = corpus.parent / "out"
    prepare_dacon(corpus, out, **options)
    return out


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


PLAIN = "file_name,file_name_\nx/0.wav,y/1.wav\nx/0.wav,x/2.wav\n"


@pytest.mark.parametrize("same_label", [0, 1])
def test_the_table_of_training_pairs_says_what_the_list_does(corpus: Path, same_label: int) -> None:
    out = prepare(corpus, PLAIN, same_label=same_label, pairs=10)
    header, *rows = read_csv(out / "train" / "pairs.csv")
    assert header == ["idx", "left", "right", "label", "left_utt", "right_utt"]
    assert [row[0] for row in rows] == [str(number) for number in range(10)]
    for _, left, right, label, *utts in rows:
        assert label == str(same_label if left[0] == right[0] else 1 - same_label) and left != right
        assert utts == [f"spk_{name[0]}-{name.removesuffix('.wav').replace('/', '-')}" for name in (left, right)]
    assert sum(row[3] == "0" for row in rows) == 5
    assert not (prepare(corpus, PLAIN, pairs=0) / "train" / "pairs.csv").exists(), "no table of before"


def test_rows_come_back_as_they_were_given_with_those_that_repeat_and_those_without_audio(corpus: Path) -> None:
    text = PLAIN + "x/0.wav,gone.wav\nx/0.wav,y/1.wav\nz/3.wav,z/3.wav\n"
    with pytest.raises(DataError, match=r"1 files of the lists, such as gone\.wav\. --partial true"):
        prepare(corpus, text)
    assert not (corpus.parent / "out").exists()
    out = prepare(corpus, text, partial=True, same_label=1)
    rows = read_csv(out / "eval_dacon" / "pair_rows.csv")
    assert rows[0] == ["file_name", "file_name_", "enroll", "test", "same", "different"]
    assert [row[:2] for row in rows] == [line.split(",") for line in text.split()]
    assert rows[3] == ["x/0.wav", "gone.wav", "", "", "1", "0"]
    listed = (out / "eval_dacon" / "pairs").read_text().splitlines()
    assert listed == [" ".join(row[2:4]) for row in rows[1:] if row[2]] == ["x-0 y-1", "x-0 x-2", "x-0 y-1", "z-3 z-3"]


def test_labels_of_another_column_are_asked_for_by_name(corpus: Path) -> None:
    text = "file_name,file_name_,answer\nx/0.wav,y/1.wav,1\nx/0.wav,x/2.wav,0\n"
    with pytest.raises(DataError, match=r"test_data\.csv:1: what is the column 'answer'\? --label-column NAME"):
        prepare(corpus, text)
    out = prepare(corpus, text, label_column="answer")
    trials = (out / "eval_dacon" / "trials").read_text().splitlines()
    assert trials == ["x-0 y-1 nontarget", "x-0 x-2 target"] and not (out / "eval_dacon" / "pairs").exists()
    with pytest.raises(DataError, match="no column truth in its header"):
        prepare(corpus, text, label_column="truth")


@pytest.mark.parametrize(
    ("test", "options", "message"),
    [
        ("file_name,other\nx/0.wav,y/1.wav\n", {}, r"test_data\.csv:1: no column file_name_ in its header"),
        ("", {}, r"test_data\.csv:1: no column file_name nor file_name_"),
        (PLAIN + "x/0.wav\n", {}, r"test_data\.csv:4: 2 fields are wanted, not 1"),
        (PLAIN.replace("\n", ",label\n", 1).replace("wav\n", "wav,same\n"), {}, "label 'same' is not 0 or 1"),
        (
            "file_name,file_name_,label\nx/0.wav,y/1.wav,1\ny/1.wav,x/0.wav,0\n",
            {},
            r"test_data\.csv:3: 'y/1\.wav,x/0\.wav' has both labels",
        ),
        (PLAIN, {"pairs": 7}, "7 pairs: the number must be even"),
        (PLAIN, {"pairs": 1000}, "1000 balanced pairs are wanted, and there are 36"),
    ],
)
def test_bad_lists_are_told_in_a_line(corpus: Path, test: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(corpus, test, **options)
    assert not (corpus.parent / "out").exists()


def test_one_speaker_makes_no_pairs(corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    (corpus / "train_info.csv").write_text("\n".join(TRAIN[:5]))
    with caplog.at_level(logging.WARNING):
        out = prepare(corpus, PLAIN)
    assert "no train/pairs.csv: no pair of two speakers: there is one speaker" in caplog.text
    assert (out / "train" / "wav.scp").exists() and not (out / "train" / "pairs.csv").exists()
    with pytest.raises(DataError, match="there is one speaker"):
        prepare(corpus, PLAIN, pairs=2)
