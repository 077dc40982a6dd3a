"""Trial lists and score files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from timbre.datadir import trial_text
from timbre.datadir import trials as module
from timbre.datadir.trials import Trials, join_trials, read_scores, read_trials, write_scores, write_trials
from timbre.utils.errors import DataError

LISTS = {
    "kaldi": "a b target\na c nontarget\nb c nontarget\na b target\n",
    "voxceleb": "1 a b\n0 a c\n0 b c\n1 a b\n",
    "blanks": "a  b\ttarget\n a c nontarget \nb c  nontarget\na b target",
}


def lines(trials: Trials) -> list[tuple[str, str, bool]]:
    return [
        (trials.enroll_ids[enroll], trials.test_ids[test], bool(target))
        for enroll, test, target in zip(trials.enroll, trials.test, trials.target, strict=True)
    ]


@pytest.fixture
def random_trials() -> Trials:
    """Every pair of some Unicode ids once, in random order."""
    generator = np.random.default_rng(0)
    enroll, test = np.divmod(generator.permutation(120 * 90), 90)
    names = [f"id{index:03d}-é;$(x)-{'z' * (index % 7)}" for index in range(210)]
    target = generator.random(len(enroll)) < 0.2
    return Trials(names[:120], names[120:], enroll.astype(np.int32), test.astype(np.int32), target)


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many blocks, some of them cutting lines."""
    monkeypatch.setattr(trial_text, "_BLOCK", 1000)
    monkeypatch.setattr(module, "_LINES", 7)


@pytest.mark.parametrize("form", LISTS)
def test_both_forms_read_alike(form: str, tmp_path: Path) -> None:
    (tmp_path / "trials").write_text(LISTS[form])
    trials = read_trials(tmp_path / "trials")
    assert lines(trials) == [("a", "b", True), ("a", "c", False), ("b", "c", False), ("a", "b", True)]
    assert (trials.enroll_ids, trials.test_ids) == (["a", "b"], ["b", "c"])
    assert (trials.enroll.dtype, trials.test.dtype, trials.target.dtype) == (np.int32, np.int32, bool)
    assert trials.count_duplicates() == 1
    assert len(trials) == 4


def test_lists_of_the_reference_read_as_plain_splitting_does(kaldi_full: Path) -> None:
    paths = [*(kaldi_full / "backend").glob("*.trials"), *(kaldi_full / "backend").glob("*.utt_trials")]
    assert len(paths) == 4
    for path in paths:
        plain = [line.split() for line in path.read_text().splitlines()]
        assert lines(read_trials(path)) == [(enroll, test, label == "target") for enroll, test, label in plain]


@pytest.mark.usefixtures("small_blocks")
def test_trials_survive_in_blocks(random_trials: Trials, tmp_path: Path) -> None:
    write_trials(tmp_path / "trials", random_trials)
    read = read_trials(tmp_path / "trials")
    assert lines(read) == lines(random_trials)
    halves = [read_trials(tmp_path / "trials"), random_trials]
    write_trials(tmp_path / "twice", halves)
    assert lines(read_trials(tmp_path / "twice")) == lines(random_trials) * 2
    assert lines(join_trials(halves)) == lines(random_trials) * 2


@pytest.mark.usefixtures("small_blocks")
def test_scores_survive_in_any_order(random_trials: Trials, tmp_path: Path) -> None:
    generator = np.random.default_rng(1)
    scores = generator.normal(0, 1e3, len(random_trials)).astype(np.float32)
    write_scores(tmp_path / "scores", random_trials, scores)
    np.testing.assert_array_equal(read_scores(tmp_path / "scores", random_trials).astype(np.float32), scores)
    text = (tmp_path / "scores").read_text().splitlines()
    generator.shuffle(text)
    others = ["nobody id000 1.0", "id000-é;$(x)- nobody 2.0"]
    (tmp_path / "scores").write_text("\n".join([others[0], *text, others[1]]) + "\n")
    np.testing.assert_array_equal(read_scores(tmp_path / "scores", random_trials).astype(np.float32), scores)
    subset = Trials(
        random_trials.enroll_ids,
        random_trials.test_ids,
        random_trials.enroll[::7],
        random_trials.test[::7],
        random_trials.target[::7],
    )
    np.testing.assert_array_equal(read_scores(tmp_path / "scores", subset).astype(np.float32), scores[::7])


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("swapped", [0, 5000, 10_798])
def test_scores_of_which_two_are_out_of_order(swapped: int, random_trials: Trials, tmp_path: Path) -> None:
    scores = np.arange(len(random_trials), dtype=float)
    write_scores(tmp_path / "scores", random_trials, scores)
    text = (tmp_path / "scores").read_text().splitlines()
    text[swapped : swapped + 2] = reversed(text[swapped : swapped + 2])
    (tmp_path / "scores").write_text("\n".join([*text, "nobody id000 1.0"]) + "\n")
    np.testing.assert_array_equal(read_scores(tmp_path / "scores", random_trials), scores)


def test_a_list_that_repeats_a_trial_takes_its_scores_in_order(tmp_path: Path) -> None:
    trials = Trials.of(["a", "a", "b"], ["x", "x", "x"], [True, True, False])
    write_scores(tmp_path / "scores", trials, np.array([1.0, 1.0, 3.0]))
    assert read_scores(tmp_path / "scores", trials).tolist() == [1.0, 1.0, 3.0]


def test_infinite_and_tiny_scores_survive(tmp_path: Path) -> None:
    trials = Trials.of(["a", "b", "c", "d"], ["x"] * 4, [True, False] * 2)
    scores = np.array([-np.inf, np.inf, 1e-300, 123456789.0])
    write_scores(tmp_path / "scores", trials, scores)
    np.testing.assert_array_equal(read_scores(tmp_path / "scores", trials), scores)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("form", ["kaldi", "voxceleb"])
@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ("a b", "three fields are wanted, not 2: 'a b'"),
        ("a b target c", "three fields are wanted, not 4"),
        ("", "three fields are wanted, not 0"),
        ("foo b foo", "label 'foo' is not "),
        ("2 b targets", "label '(2|targets)' is not "),
        ("1 a b\r", "Windows line end"),
        ("1 \xff target", "not UTF-8"),
        ("1 \xff target x", "not UTF-8"),
    ],
)
@pytest.mark.parametrize("line", [1, 2, 777])
def test_a_malformed_line_is_told(form: str, bad: str, problem: str, line: int, tmp_path: Path) -> None:
    good = {"kaldi": b"1 b target", "voxceleb": b"1 a target"}[form]
    text = [good] * 1000
    text[line - 1] = bad.encode("latin-1")
    (tmp_path / "trials").write_bytes(b"\n".join(text) + b"\n")
    if line == 1 and "label" in problem:
        problem = "neither 'enroll test target"
    with pytest.raises(DataError, match=rf"trials:{line}: {problem}"):
        read_trials(tmp_path / "trials")


def test_lines_that_lend_each_other_a_field_are_told(tmp_path: Path) -> None:
    (tmp_path / "trials").write_text("a b\ntarget c d nontarget\n")
    with pytest.raises(DataError, match="trials:1: three fields are wanted, not 2"):
        read_trials(tmp_path / "trials")


def test_an_empty_or_missing_list_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="trials: cannot read: No such file"):
        read_trials(tmp_path / "trials")
    (tmp_path / "trials").write_bytes(b"")
    with pytest.raises(DataError, match="trials: no trials in it"):
        read_trials(tmp_path / "trials")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: text[:2], "no score for 1 of 3 trials, the first being 'b c'"),
        (lambda text: [*text, "a c 7"], "scores:4: 'a c' is scored twice"),
        (lambda text: [text[0], "a c nan", text[2]], "scores:2: the score is NaN"),
        (lambda text: [text[0], "a c x", text[2]], "scores:2: not a number: 'x'"),
        (lambda text: [text[0], "a c", text[2]], "scores:2: three fields are wanted, not 2"),
        (lambda text: [line + "\r" for line in text], "scores:1: Windows line end"),
        (lambda text: [], "no scores in it"),
    ],
)
def test_bad_scores_are_told(change: Callable[[list[str]], list[str]], problem: str, tmp_path: Path) -> None:
    trials = Trials.of(["a", "a", "b"], ["b", "c", "c"], [True, False, False])
    text = change(["a b 1", "a c 2", "b c 3"])
    (tmp_path / "scores").write_bytes("".join(f"{line}\n" for line in text).encode())
    with pytest.raises(DataError, match=problem):
        read_scores(tmp_path / "scores", trials)


def test_scores_that_could_not_be_read_are_not_written(tmp_path: Path) -> None:
    trials = Trials.of(["a", "b"], ["x", "x"], [True, False])
    with pytest.raises(DataError, match="1 scores for 2 trials"):
        write_scores(tmp_path / "scores", trials, np.zeros(1))
    with pytest.raises(DataError, match="the score of 'b x' is NaN"):
        write_scores(tmp_path / "scores", trials, np.array([1, np.nan]))
    assert not list(tmp_path.iterdir())


def test_ids_that_become_equal_become_one() -> None:
    trials = Trials.of(["a.wav", "b", "a.flac"], ["x", "y", "y"], [True, False, True])
    renamed = trials.renamed(["a", "b", "a"], ["x", "y"])
    assert renamed.enroll_ids == ["a", "b"]
    assert lines(renamed) == [("a", "x", True), ("b", "y", False), ("a", "y", True)]
