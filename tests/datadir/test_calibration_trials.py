"""Trials to calibrate on: only held-out speakers, no length that tells targets, both sides of one label."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from steps.filter_scp import filter_scp
from steps.make_calibration_trials import make_calibration_trials
from timbre.datadir.calibration_trials import CalibrationDraw, calibration_trials, without_copies
from timbre.datadir.tables import read_numbers, read_table, write_table
from timbre.datadir.trials import Trials, read_trials
from timbre.utils.errors import DataError

LENGTHS = (2.0, 4.0)


@pytest.fixture
def corpus() -> tuple[dict[str, str], dict[str, float], dict[str, str]]:
    """utt2spk, seconds, sex of 12 speakers: some talk long, others are short."""
    random = np.random.default_rng(0)
    utt2spk = {f"{spk}-{number:02d}": spk for spk in "abcdefghijkl" for number in range(20)}
    seconds = {utt: float(random.uniform(1, 3 if spk < "g" else 6)) for utt, spk in utt2spk.items()}
    return utt2spk, seconds, {utt: "fm"[ord(spk) % 2] for utt, spk in utt2spk.items()}


def cells(trials: Trials, seconds: dict[str, float]) -> Counter[tuple[bool, int, int]]:
    """How many trials there are by label and pair of lengths."""
    result: Counter[tuple[bool, int, int]] = Counter()
    for enroll, test, target in zip(trials.enroll, trials.test, trials.target, strict=True):
        pair = (trials.enroll_ids[enroll], trials.test_ids[test])
        low, high = sorted(sum(seconds[utt] >= edge for edge in LENGTHS) for utt in pair)
        result[bool(target), low, high] += 1
    return result


def test_lengths_do_not_tell_targets(corpus: tuple[dict[str, str], dict[str, float], dict[str, str]]) -> None:
    utt2spk, seconds, sex = corpus
    options = CalibrationDraw(nontargets=5, max_targets=600, lengths=LENGTHS)
    trials = calibration_trials(utt2spk, seconds, [], options)
    assert trials.target.sum() == 600 and len(trials) == 6 * 600
    counts = cells(trials, seconds)
    for target, low, high in counts:
        if target:
            assert counts[False, low, high] == 5 * counts[True, low, high]
    assert len(counts) == 12  # all six pairs of lengths, in both classes
    speakers = Counter(trials.enroll_ids[row].split("-")[0] for row in trials.enroll[trials.target])
    assert len(speakers) == 12 and max(speakers.values()) < 2.5 * min(speakers.values())
    names = {trials.name(row) for row in range(len(trials))}
    assert len(names) == len(trials) and all(one < two for one, two in map(str.split, names))
    again = calibration_trials(utt2spk, seconds, [], options)
    assert names == {again.name(row) for row in range(len(again))}
    within = calibration_trials(utt2spk, seconds, [sex], options)
    assert {sex[one] == sex[two] for one, two in (within.name(row).split() for row in range(len(within)))} == {True}


def test_one_of_an_utterance_and_its_copies() -> None:
    utt2spk = {"a1": "a", "a1-babble": "a", "a0-noise": "a", "a0-rev": "a", "b1": "b", "sp-a1": "sp-a"}
    originals = {"a1-babble": "a1", "a0-noise": "a0", "a0-rev": "a0", "b1": "b1", "sp-a1": "a1"}
    assert without_copies(utt2spk, originals) == {"a1": "a", "a0-noise": "a", "b1": "b", "sp-a1": "sp-a"}


def test_what_cannot_be_drawn_is_refused(corpus: tuple[dict[str, str], dict[str, float], dict[str, str]]) -> None:
    utt2spk, seconds, _ = corpus
    with pytest.raises(DataError, match="no nontarget trial between 240 utterances of 12 speakers"):
        calibration_trials(utt2spk, seconds, [utt2spk])
    with pytest.raises(DataError, match="no target trial between 240"):
        calibration_trials(utt2spk, seconds, [{utt: utt for utt in utt2spk} | {"a-00": "x", "b-00": "x"}])
    with pytest.raises(DataError, match="max_utts is 1"):
        CalibrationDraw(max_utts=1)


@pytest.fixture
def train(corpus: tuple[dict[str, str], dict[str, float], dict[str, str]], tmp_path: Path) -> Path:
    utt2spk, seconds, _ = corpus
    path = tmp_path / "train"
    write_table(path / "utt2spk", utt2spk)
    write_table(path / "feats.scp", dict.fromkeys(utt2spk, "x.ark:1"))
    write_table(path / "utt2dur", {utt: f"{value:.3f}" for utt, value in seconds.items()})
    write_table(path / "spk2gender", {spk: "fm"[ord(spk) % 2] for spk in "abcdefghij"})
    return path


def test_the_scripts(train: Path, tmp_path: Path) -> None:
    (tmp_path / "held").write_text("b\nd\ng\nl\n")
    make_calibration_trials(train, tmp_path / "cal", spk_list=tmp_path / "held")
    trials = read_trials(tmp_path / "cal" / "trials")
    held = read_table(tmp_path / "cal" / "utt2spk")
    assert set(held.values()) == set("bdgl") and {*trials.enroll_ids, *trials.test_ids} <= held.keys()
    filter_scp(tmp_path / "cal" / "utt2spk", train / "utt2spk", tmp_path / "others", exclude=True)
    filter_scp(tmp_path / "cal" / "utt2spk", train / "utt2spk", tmp_path / "same")
    others, everyone = read_table(tmp_path / "others"), read_table(train / "utt2spk")
    assert others.keys() | held.keys() == everyone.keys() and not others.keys() & held.keys()
    assert read_table(tmp_path / "same") == held
    write_table(train / "utt2uniq", {utt: utt[:-1] + "0" for utt in everyone})  # of each speaker 2 are left
    make_calibration_trials(train, tmp_path / "cal", spk_list=tmp_path / "held")
    trials = read_trials(tmp_path / "cal" / "trials")
    assert {*trials.enroll_ids, *trials.test_ids} == {f"{spk}-{number}0" for spk in "bdgl" for number in (0, 1)}
    assert read_table(tmp_path / "cal" / "utt2spk") == held  # what the back-end must not know has the copies too
    make_calibration_trials(train, tmp_path / "few", spk_list=tmp_path / "held", whole=False)
    assert set(read_table(tmp_path / "few" / "utt2spk")) == {*trials.enroll_ids, *trials.test_ids}
    assert read_trials(tmp_path / "few" / "trials").digest() == trials.digest()
    (train / "utt2uniq").unlink()
    make_calibration_trials(train, tmp_path / "cal", spk_list=tmp_path / "held", within=["spk2gender"])
    trials = read_trials(tmp_path / "cal" / "trials")
    assert {key[0] for key in trials.enroll_ids + trials.test_ids} == set("bdg")  # of l nothing is known
    labels = [(trials.name(row).split(), trials.target[row]) for row in range(len(trials))]
    assert {one[0] + two[0] for (one, two), target in labels if not target} == {"bd"}  # g is the only one of her sex


def test_copies_that_count_as_others_are_held_out_with_their_speaker(train: Path, tmp_path: Path) -> None:
    """A voice of changed speed is not in the trials, and may not be in the cohort that normalises them either."""
    utt2spk = read_table(train / "utt2spk")
    copies = {f"sp0.9-{utt}": f"sp0.9-{spk}" for utt, spk in utt2spk.items() if spk in "ab"}
    write_table(train / "utt2uniq", {utt: utt.removeprefix("sp0.9-") for utt in utt2spk | copies})
    for name, extra in (("utt2spk", copies), ("feats.scp", dict.fromkeys(copies, "x.ark:1"))):
        write_table(train / name, read_table(train / name) | extra)
    write_table(train / "utt2dur", read_table(train / "utt2dur") | dict.fromkeys(copies, "5.0"))
    write_table(train / "spk2gender", read_table(train / "spk2gender") | {"sp0.9-a": "f", "sp0.9-b": "m"})
    (tmp_path / "held").write_text("b\nd\ng\n")
    make_calibration_trials(train, tmp_path / "cal", spk_list=tmp_path / "held")
    assert set(read_table(tmp_path / "cal" / "utt2spk").values()) == set("bdg")
    filter_scp(tmp_path / "cal" / "held_out", train / "utt2spk", tmp_path / "others", exclude=True)
    assert set(read_table(tmp_path / "others").values()) == {*utt2spk.values(), "sp0.9-a"} - set("bdg")


@pytest.mark.parametrize(
    ("lengths", "speakers", "within", "message"),
    [
        ("a-00 long\n", "b\nd\n", [], "train/utt2dur:1: 'a-00' has the value 'long', which is not a number"),
        ("a-00 1\n", "b\nd\n", [], r"train/utt2dur: no length of 'b-00' \(40 of 40 utterances\)"),
        (None, "b\n", [], "held: 1 speakers cannot make trials"),
        (None, "b\nx\n", [], r"train/utt2spk: no speaker 'x' \(1 of 2\)"),
        (None, "b\nd\n", ["utt2x"], "train/utt2x: cannot read"),
    ],
)
def test_bad_input(
    train: Path, tmp_path: Path, lengths: str | None, speakers: str, within: list[str], message: str
) -> None:
    (tmp_path / "held").write_text(speakers)
    if lengths:
        (train / "utt2dur").write_text(lengths)
    with pytest.raises(DataError, match=message):
        make_calibration_trials(train, tmp_path / "out", spk_list=tmp_path / "held", within=within)
    with pytest.raises(DataError, match="give one of --egs-dir, --spk-list and --model-dir"):
        make_calibration_trials(train, tmp_path / "out")
    with pytest.raises(DataError, match="not an egs directory"):
        make_calibration_trials(train, tmp_path / "out", egs_dir=train)
    assert not (tmp_path / "out").exists()


def test_numbers_of_a_table_are_checked(tmp_path: Path) -> None:
    (tmp_path / "utt2dur").write_text("a 1.5\nb inf\n")
    with pytest.raises(DataError, match=r"utt2dur:2: the value of 'b' is not finite"):
        read_numbers(tmp_path / "utt2dur")
    (tmp_path / "utt2dur").write_text("a 1.5\nb 2\n")
    assert read_numbers(tmp_path / "utt2dur") == json.loads('{"a": 1.5, "b": 2}')
