"""Long lists: killed at any moment and gone on with; the same scores in text and in binary."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from timbre.backend import score_list, scoring
from timbre.backend.score_list import write_list_scores, write_matrix
from timbre.backend.scoring import matrix_blocks, score_blocks, score_pairs
from timbre.backend.vectors import Side
from timbre.datadir.trials import Trials, read_scores
from timbre.runtime.factors import Factors
from timbre.utils.errors import DataError

SLOW = """
import sys, time
from pathlib import Path
sys.path.insert(0, "tests/backend")
import test_score_list as test
from timbre.backend import score_list

def slowly(*arguments):
    for block in test.score_blocks(*arguments):
        yield block
        print("block", flush=True)
        time.sleep(0.02)

score_list.score_blocks = slowly
trials, factors = test.make_list()
score_list.write_list_scores(Path(sys.argv[1]), trials, factors, 1, test.BLOCK)
"""
BLOCK = 100
ROOT = Path(__file__).parent.parent.parent


def make_list(seed: int = 0, count: int = 5050) -> tuple[Trials, Factors]:
    rng = np.random.default_rng(seed)
    ids = [f"id{number:03d}" for number in range(300)]
    enroll, test = rng.integers(0, 300, (2, count)).astype(np.int32)
    vectors = rng.standard_normal((300, 8), dtype=np.float32)
    return Trials(ids, ids, enroll, test, enroll % 10 == test % 10), Factors.dot(vectors, vectors)


@pytest.mark.parametrize("name", ["eval.cosine", "eval.cosine.npy"])
def test_killed_twice_and_gone_on_with(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trials, factors = make_list()
    write_list_scores(tmp_path / "whole" / name, trials, factors, 1, BLOCK)
    path = tmp_path / name
    for stop in (7, 9):
        command = [sys.executable, "-c", SLOW, str(path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            for _ in range(stop):
                assert process.stdout.readline() == b"block\n"
            process.send_signal(signal.SIGKILL)
        assert not path.exists()
        with (tmp_path / f".{name}.part").open("ab") as file:
            file.write(b"half of a block")
    starts = []

    def watched(factors: Factors, enroll: np.ndarray, test: np.ndarray, nj: int, start: int, size: int) -> object:
        starts.append(start)
        return score_blocks(factors, enroll, test, nj, start, size)

    monkeypatch.setattr(score_list, "score_blocks", watched)
    write_list_scores(path, trials, factors, 1, BLOCK)
    assert 14 * BLOCK <= starts[0] <= 20 * BLOCK
    assert path.read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert sorted(os.listdir(tmp_path)) == [name, "whole"]


def test_other_work_is_not_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> object:
        yield from list(score_blocks(*arguments))[:3]
        raise KeyboardInterrupt

    for seed, path in enumerate([tmp_path / "a", tmp_path / "b"]):
        trials, factors = make_list()
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(score_list, "score_blocks", interrupted)
            write_list_scores(path, trials, factors, 1, BLOCK)
        assert (tmp_path / f".{path.name}.part").stat().st_size > 3 * BLOCK
        trials, factors = make_list(seed)
        write_list_scores(path, trials, factors, 1, BLOCK)
        expected = score_pairs(factors, trials.enroll, trials.test)
        assert np.allclose(read_scores(path, trials), expected, atol=1e-5)


@pytest.mark.parametrize("biased", [False, True])
def test_a_matrix_is_gone_on_with(biased: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, factors = make_list()
    monkeypatch.setattr(scoring, "_STRIPE", 300 * 140)
    if biased:
        factors.left_bias[:] = np.linspace(-3, 3, 300)
        factors.right_bias[0] = np.linspace(2, 5, 300)
    side = Side.single([f"id{number:03d}" for number in range(300)], factors.left)
    blocks = matrix_blocks

    def interrupted(*arguments: object) -> object:
        for count, block in enumerate(blocks(*arguments)):
            if count == 1:
                raise KeyboardInterrupt
            yield block

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(score_list, "matrix_blocks", interrupted)
        write_matrix(tmp_path / "all.npy", side, side, factors)
    starts = []

    def watched(factors: Factors, nj: int, start: int) -> object:
        starts.append(start)
        return blocks(factors, nj, start)

    monkeypatch.setattr(score_list, "matrix_blocks", watched)
    write_matrix(tmp_path / "all.npy", side, side, factors)
    assert starts == [140]
    expected = factors.left @ factors.right.T + factors.left_bias[:, None] + factors.right_bias[0]
    assert np.allclose(np.load(tmp_path / "all.npy"), expected, atol=1e-5)
    assert sorted(os.listdir(tmp_path)) == ["all.npy", "all.npy.columns", "all.npy.rows"]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    trials, factors = make_list()
    factors.left_bias[trials.enroll[1234]] = np.nan
    first = int(np.flatnonzero(np.isnan(score_pairs(factors, trials.enroll, trials.test)))[0])
    with pytest.raises(DataError, match=rf"the score of '{trials.name(first)}' is NaN \(trial {first + 1}\)"):
        write_list_scores(tmp_path / "scores", trials, factors, 1, BLOCK)
    assert not os.listdir(tmp_path)


def test_two_writers_are_told(tmp_path: Path) -> None:
    trials, factors = make_list()
    command = [sys.executable, "-c", SLOW, str(tmp_path / "scores")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(DataError, match="another process is writing it"):
            write_list_scores(tmp_path / "scores", trials, factors, 1, BLOCK)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            process.stdout.readline()
    assert np.allclose(
        read_scores(tmp_path / "scores", trials), score_pairs(factors, trials.enroll, trials.test), atol=1e-5
    )
