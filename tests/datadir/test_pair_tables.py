"""Lists of pairs without labels, and tables of pairs to train on."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from timbre.datadir.pair_tables import draw_pairs, read_pairs, read_training_pairs
from timbre.utils.errors import DataError


def test_a_list_is_read_with_labels_or_without(tmp_path: Path) -> None:
    (tmp_path / "pairs").write_text("a b\nc a\na b\n")
    listed = read_pairs(tmp_path / "pairs")
    assert [listed.name(row) for row in range(3)] == ["a b", "c a", "a b"] and not listed.target.any()
    (tmp_path / "trials").write_text("a b target\nc a nontarget\n")
    assert read_pairs(tmp_path / "trials").target.tolist() == [True, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a b\nc\n", "list:2: two fields are wanted"),
        (b"a b\n\nc d\n", "list:2: two fields are wanted"),
        (b"a b\nc d target\n", "list:2: two fields are wanted"),
        (b"a b\nc \xff\n", "list:2: not UTF-8"),
        (b"a b maybe\n", "list:1: neither 'enroll test target"),
        (b"", "list: no trials in it"),
        (b"a" * 100_000 + b"\n", "list:1: three fields are wanted"),
    ],
)
def test_bad_lists_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_pairs(tmp_path / "list")
    with pytest.raises(DataError, match="nowhere: cannot read"):
        read_pairs(tmp_path / "nowhere")


@pytest.mark.parametrize("seed", range(12))
def test_drawn_pairs_are_exactly_half_of_one_speaker_and_no_pair_comes_twice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 8, int(rng.integers(2, 9)))
    sizes[0] = 3
    utt2spk = {f"s{spk}-{utt}": f"s{spk}" for spk, size in enumerate(sizes) for utt in range(size)}
    drawn = draw_pairs(utt2spk, None, seed)
    pairs = [tuple(drawn.name(row).split()) for row in range(len(drawn))]
    same = [utt2spk[one] == utt2spk[other] for one, other in pairs]
    assert same == drawn.target.tolist() and 2 * sum(same) == len(same) > 0
    assert len({frozenset(pair) for pair in pairs}) == len(pairs) and all(one != other for one, other in pairs)
    assert [drawn.name(row) for row in range(len(drawn))] == [" ".join(pair) for pair in pairs]
    again = draw_pairs(utt2spk, None, seed)
    assert [again.name(row) for row in range(len(again))] == [" ".join(pair) for pair in pairs]
    two = draw_pairs(utt2spk, 2, seed)
    assert sorted(two.target.tolist()) == [False, True]


def test_speakers_have_as_equal_shares_as_they_can() -> None:
    utt2spk = {f"s{spk}-{utt}": f"s{spk}" for spk, size in enumerate((4, 40, 40)) for utt in range(size)}
    drawn = draw_pairs(utt2spk, 60, 0)
    of = Counter(utt2spk[drawn.name(row).split()[0]] for row in np.flatnonzero(drawn.target))
    assert of == {"s0": 6, "s1": 12, "s2": 12}, "s0 has six pairs in all"


@pytest.mark.parametrize(
    ("utt2spk", "number", "message"),
    [
        ({"a": "s", "b": "s", "c": "t"}, 3, "3 pairs: the number must be even"),
        ({"a": "s", "b": "s", "c": "t"}, -2, "-2 pairs: the number must be even"),
        ({"a": "s", "b": "s", "c": "t"}, 4, "4 balanced pairs are wanted, and there are 2"),
        ({"a": "s", "b": "s"}, None, "no pair of two speakers: there is one speaker"),
        ({"a": "s", "b": "t"}, None, "no two utterances make a target trial"),
        ({}, None, "no two utterances make a target trial"),
    ],
)
def test_what_makes_no_balanced_pairs_is_refused(utt2spk: dict[str, str], number: int | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        draw_pairs(utt2spk, number, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("idx,left_utt\n0,a\n", "pairs.csv:1: no column right_utt in its header"),
        ("", "pairs.csv:1: no column left_utt nor right_utt"),
        ("left_utt,right_utt\n", "pairs.csv: no pairs in it"),
        ("left_utt,right_utt\na,b\nc,c\n", "pairs.csv:3: utterance c is paired with itself"),
        ("left_utt,right_utt\na,b\nc\n", "pairs.csv:3: 2 fields are wanted, not 1"),
    ],
)
def test_bad_tables_of_training_pairs_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "pairs.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_training_pairs(tmp_path / "pairs.csv")
