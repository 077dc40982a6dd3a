"""Accuracy and F1 at a threshold, against counting and against draws made by repeating trials."""

import json
from pathlib import Path

import numpy as np
import pytest

from steps.make_results import make_results
from timbre.evaluation.decided import decide, held_out_threshold


def test_rates_are_those_of_counting_and_ties_are_accepted() -> None:
    scores = np.array([0.9, 0.5, 0.2, 0.5, 0.1])
    target = np.array([True, True, True, False, False])
    speakers = np.array([0, 1, 2, 0, 1]), np.array([0, 1, 2, 1, 2])
    found = decide(scores, target, 0.5, *speakers, num_draws=0)
    assert (found.accuracy, found.f1) == (pytest.approx(3 / 5), pytest.approx(2 / 3))  # 2 hits, 1 miss, 1 false alarm
    nothing = decide(scores, target, 2.0, *speakers, num_draws=0)
    assert (nothing.accuracy, nothing.f1, nothing.accuracy_ci) == (pytest.approx(2 / 5), 0, None)


def test_intervals_are_those_of_trials_repeated_as_often_as_their_speakers_are_drawn() -> None:
    rng = np.random.default_rng(0)
    enroll, test = rng.integers(0, 8, (2, 300))
    target = enroll == test
    scores = rng.normal(size=300) + 2 * target
    found = decide(scores, target, 1.0, enroll, test, num_draws=50, seed=3)
    drawn = []
    for index in range(50):
        counts = np.bincount(np.random.default_rng([3, index]).integers(0, 8, 8), minlength=8)
        rows = np.repeat(np.arange(300), np.where(target, counts[enroll], counts[enroll] * counts[test]))
        accepted, same = scores[rows] >= 1, target[rows]
        hits = (accepted & same).sum()
        drawn.append(((accepted == same).mean(), 2 * hits / (same.sum() + accepted.sum())))
    for ends, values in zip((found.accuracy_ci, found.f1_ci), np.array(drawn).T, strict=True):
        assert ends == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])))


def test_results_have_them_only_where_asked_for_and_by_the_threshold_of_others(tmp_path: Path) -> None:
    data, exp = tmp_path / "data" / "eval", tmp_path / "exp"
    held = exp / "calibration"
    for folder in (data, exp / "scores", held / "scores"):
        folder.mkdir(parents=True)
    (data / "trials").write_text("a b target\na c nontarget\nb c nontarget\nc d target\n")
    (held / "trials").write_text("w x target\nw y nontarget\n")
    for name in ("cosine", "other"):
        (exp / "scores" / f"eval.{name}").write_text("a b 3\na c 2\nb c 1\nc d 4\n")
    (held / "scores" / "dev.cosine").write_text("w x 1.5\nw y 0\n")
    make_results(exp, data.parent, draws=5, nj=1)
    assert "decided" not in (exp / "results.json").read_text() and "F1" not in (exp / "RESULTS.md").read_text()
    assert held_out_threshold(held / "trials", held / "scores" / "dev.cosine") == 1.5
    make_results(exp, data.parent, draws=5, nj=1, held_out=held)
    records = {record["backend"]: record for record in json.loads((exp / "results.json").read_text())}
    assert records["cosine"]["decided"]["accuracy"] == 0.75, "at 1.5, though 3 would make no error"
    assert records["cosine"]["decided"]["f1"] == pytest.approx(0.8) and "decided" not in records["other"]
    assert "| minCllr | accuracy % | F1 |" in (exp / "RESULTS.md").read_text()
