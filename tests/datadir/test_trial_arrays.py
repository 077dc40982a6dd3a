"""Binary lists and scores say the same as the text ones, and refuse what they were not made for."""

from pathlib import Path

import numpy as np
import pytest

from timbre.datadir.trials import Trials, read_scores, read_trials, write_scores, write_trials
from timbre.utils.errors import DataError


@pytest.fixture
def trials(tmp_path: Path) -> Trials:
    rng = np.random.default_rng(0)
    names = [f"é-{number}" for number in range(70)]
    (tmp_path / "trials").write_text(
        "".join(
            f"{names[e]} {names[t]} {'target' if e == t else 'nontarget'}\n" for e, t in rng.integers(0, 70, (500, 2))
        )
    )
    return read_trials(tmp_path / "trials")


def test_lists_and_scores_go_there_and_back(trials: Trials, tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.npz", trials)
    binary = read_trials(tmp_path / "trials.npz")
    assert (binary.enroll_ids, binary.test_ids) == (sorted(trials.enroll_ids), sorted(trials.test_ids))
    assert [binary.name(row) for row in range(500)] == [trials.name(row) for row in range(500)]
    assert [getattr(binary, name).dtype for name in ("enroll", "test", "target")] == [np.int32, np.int32, bool]
    assert binary.digest() == trials.digest()
    write_trials(tmp_path / "again", binary)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "trials").read_bytes()

    scores = np.random.default_rng(1).normal(size=500)
    write_scores(tmp_path / "scores.npy", trials, scores)
    assert np.array_equal(read_scores(tmp_path / "scores.npy", binary), scores.astype(np.float32))
    assert np.array_equal(np.load(tmp_path / "scores.npy"), scores.astype(np.float32))


def test_the_digest_is_of_ordered_pairs_not_of_numbering(trials: Trials) -> None:
    order = np.argsort(trials.enroll_ids)
    place = np.argsort(order).astype(np.int32)
    sorted_ids = [trials.enroll_ids[index] for index in order]
    same = Trials(sorted_ids, trials.test_ids, place[trials.enroll], trials.test, ~trials.target)
    assert same.digest() == trials.digest()
    other = Trials(trials.enroll_ids, trials.test_ids, trials.enroll[::-1], trials.test[::-1], trials.target)
    swapped = Trials(trials.test_ids, trials.enroll_ids, trials.test, trials.enroll, trials.target)
    assert len({trials.digest(), other.digest(), swapped.digest()}) == 3


def test_scores_of_another_order_are_refused(trials: Trials, tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.npy", trials, np.arange(500.0))
    other = Trials(trials.enroll_ids, trials.test_ids, trials.enroll[::-1], trials.test[::-1], trials.target[::-1])
    with pytest.raises(DataError, match=r"scores\.npy: these are scores of another trial list"):
        read_scores(tmp_path / "scores.npy", other)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(499, np.float32), "499 scores for 500 trials"),
        (np.zeros((500, 1), np.float32), r"not of shape \(500, 1\)"),
        (np.zeros(500, np.int64), "type int64"),
        (np.array([None] * 500), "not a .npy file"),
        (np.append(np.zeros(499), np.nan), r"the score of '.*' is NaN \(trial 500\)"),
    ],
)
def test_bad_arrays_of_scores(array: np.ndarray, message: str, trials: Trials, tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", array)
    with pytest.raises(DataError, match=message):
        read_scores(tmp_path / "scores.npy", trials)


def test_arrays_of_other_programs_are_read(trials: Trials, tmp_path: Path) -> None:
    np.save(tmp_path / "scores.npy", np.arange(500.0))
    assert read_scores(tmp_path / "scores.npy", trials).tolist() == list(range(500))


def test_cut_short_or_missing(trials: Trials, tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.npy", trials, np.arange(500.0))
    write_trials(tmp_path / "trials.npz", trials)
    for name in ("scores.npy", "trials.npz"):
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:1000])
    with pytest.raises(DataError, match=r"scores\.npy: not a .npy file, or cut short"):
        read_scores(tmp_path / "scores.npy", trials)
    with pytest.raises(DataError, match=r"trials\.npz: not a trial list, or damaged"):
        read_trials(tmp_path / "trials.npz")
    with pytest.raises(DataError, match="cannot read: No such file"):
        read_trials(tmp_path / "none.npz")
    with pytest.raises(DataError, match="cannot read: No such file"):
        read_scores(tmp_path / "none.npy", trials)


def test_a_compressed_list_is_read(trials: Trials, tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.npz", trials)
    with np.load(tmp_path / "trials.npz") as file:
        np.savez_compressed(tmp_path / "small.npz", **file)
    assert read_trials(tmp_path / "small.npz").digest() == trials.digest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"enroll": np.zeros(499, np.int32)}, "arrays of different length"),
        ({"test": np.full(500, 70, np.int32)}, "an index of test is beyond the 70 ids"),
        ({"test": np.full(500, -1, np.int32)}, "an index of test is beyond"),
        ({"target": np.zeros(500)}, "an array of another type"),
        ({"enroll_ids": None}, "not a trial list: .*no item named 'enroll_ids.npy"),
        ({"enroll_ids": np.full(10, 255, np.uint8)}, "enroll_ids are not UTF-8"),
    ],
)
def test_bad_lists(change: dict[str, np.ndarray | None], message: str, trials: Trials, tmp_path: Path) -> None:
    write_trials(tmp_path / "trials.npz", trials)
    with np.load(tmp_path / "trials.npz") as file:
        arrays = {name: change.get(name, file[name]) for name in file}
    np.savez(tmp_path / "trials.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=message):
        read_trials(tmp_path / "trials.npz")
