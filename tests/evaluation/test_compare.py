"""Runs beside each other: what differs is told apart, what does not is not."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from steps.compare_runs import compare_runs
from steps.make_results import make_results
from timbre.evaluation.compare import Measured, System, differences
from timbre.evaluation.results import Evaluation
from timbre.utils.cli import run_step
from timbre.utils.errors import DataError

SPEAKERS, UTTS = 30, 4


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A trial list of all pairs of 30 speakers with four utterances each."""
    folder = tmp_path / "data" / "eval"
    folder.mkdir(parents=True)
    utts = [(f"s{spk:02d}-{utt}", f"s{spk:02d}") for spk in range(SPEAKERS) for utt in range(UTTS)]
    (folder / "utt2spk").write_text("".join(f"{utt} {spk}\n" for utt, spk in utts))
    pairs = [(one, other) for place, one in enumerate(utts) for other in utts[place + 1 :]]
    lines = [f"{a} {b} {'target' if i == j else 'nontarget'}\n" for (a, i), (b, j) in pairs]
    (folder / "trials").write_text("".join(lines))
    return folder


def write_run(data: Path, exp: Path, noise: float, seed: int, backends: tuple[str, ...] = ("cosine", "plda")) -> Path:
    """Scores of a target 2 above those of a nontarget, with noise of the trial (in common) and of the run."""
    (exp / "scores").mkdir(parents=True)
    lines = (data / "trials").read_text().splitlines()
    common = np.random.default_rng(0).normal(size=len(lines))
    own = np.random.default_rng(seed).normal(size=len(lines))
    for backend in backends:
        scores = [2 * line.endswith(" target") + a + noise * b for line, a, b in zip(lines, common, own, strict=True)]
        text = "".join(f"{line.rpartition(' ')[0]} {score:.6f}\n" for line, score in zip(lines, scores, strict=True))
        (exp / "scores" / f"eval.{backend}").write_text(text)
    make_results(exp, data, draws=20, nj=1)
    return exp


def test_runs_that_differ_are_told_apart_and_others_are_not(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [
        write_run(data, tmp_path / name, noise, seed)
        for name, noise, seed in (("a", 0.1, 1), ("b", 0.1, 2), ("c", 2, 3))
    ]
    capsys.readouterr()
    compare_runs(runs, tmp_path / "out", ["cosine"], draws=300, nj=1)
    page = (tmp_path / "out" / "COMPARISON.md").read_text()
    assert page.partition("\n\n")[2].partition("\n\n![")[0] in capsys.readouterr().out
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines() if line.startswith("| ")]
    order = [row[0] for row in rows[2:5]]
    assert set(order[:2]) == {"a", "b"} and order[2] == "c"
    verdicts = {frozenset(row[0].split(" - ")): row[-1] for row in rows if len(row) == 5}
    assert verdicts[frozenset("ac")] == verdicts[frozenset("bc")] == "yes" and verdicts[frozenset("ab")] == "no"
    assert "2 of 3 pairs can be told apart" in page and "## eval, cosine" in page and "plda" not in page
    (content,) = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert [record["run"] for record in content["runs"]] == ["a", "b", "c"]
    assert (content["trials"], content["backend"]) == ("eval", "cosine") and len(content["differences"]) == 3
    apart = {frozenset((pair["first"], pair["second"])) for pair in content["differences"] if pair["corrected"] < 0.05}
    assert apart == {frozenset("ac"), frozenset("bc")}
    plots = sorted(path.name for path in (tmp_path / "out" / "plots").iterdir())
    assert plots == ["det_eval_cosine.png", "det_eval_cosine.svg"]
    assert not list((tmp_path / "out").glob("heatmap*"))
    compare_runs(runs, tmp_path / "out", heat_map=True, draws=20, nj=1)
    maps = sorted(path.name for path in (tmp_path / "out").glob("heatmap*"))
    assert maps == [f"heatmap_{backend}.{end}" for backend in ("cosine", "plda") for end in ("png", "svg")]
    assert all(f"]({name})" in (tmp_path / "out" / "COMPARISON.md").read_text() for name in maps[::2])


def test_differences_are_of_the_same_draws(data: Path, tmp_path: Path) -> None:
    """A run compared with itself differs by nothing at all in every draw; Holm's p of three pairs, by hand."""
    runs = [
        write_run(data, tmp_path / name, noise, seed)
        for name, noise, seed in (("a", 0.3, 1), ("b", 0.3, 1), ("c", 0.6, 2))
    ]
    measured = [
        Measured(system, system.evaluation.run())
        for system in (System(run.name, Evaluation(data / "trials", run / "scores/eval.cosine")) for run in runs)
    ]
    pairs = {(pair.first, pair.second): pair for pair in differences(measured)}
    same = pairs["a", "b"]
    assert (same.eer, same.eer_ci, same.p, same.corrected) == (0.0, (0.0, 0.0), 1.0, 1.0)
    one, other = pairs["a", "c"], pairs["b", "c"]
    assert one.p == other.p and one.corrected == other.corrected == pytest.approx(min(1, 3 * one.p))
    gap = measured[2].result.draws.eer - measured[0].result.draws.eer
    assert one.eer_ci is not None and one.eer_ci == pytest.approx(tuple(np.quantile(gap, [0.025, 0.975])))


def test_bad_input_is_one_line(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = write_run(data, tmp_path / "a", 1, 1), write_run(data, tmp_path / "b", 1, 2, ("other",))

    def fails(*words: object, status: int = 1) -> str:
        monkeypatch.setattr(sys, "argv", ["compare_runs.py", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            run_step(compare_runs, takes_list=True)
        message = capsys.readouterr().err
        assert exit_info.value.code == status and message.count("\n") == 1, message
        return message

    assert "two runs at least" in fails(first)
    assert "exp_dirs" in fails(status=2)
    assert "a, b share no trial list and back-end" in fails(first, other, "--nj", 1)
    assert "--heat-map needs --out-dir" in fails(first, other, "--heat-map")
    assert "no back-end 'plda', only other" in fails(first, other, "--backends", "[plda]")
    assert "runs of the same name" in fails(first, first)
    assert f"{tmp_path}/results.json: no such file" in fails(first, tmp_path)
    (other / "results.json").write_text('[{"trials": "eval"}]')
    assert "not results of this version" in fails(first, other)
    (other / "results.json").write_text("{")
    assert f"{other}/results.json:1: not JSON" in fails(first, other)
    third = write_run(data, tmp_path / "c", 1, 3)
    lines = (data / "trials").read_text().splitlines(keepends=True)
    (tmp_path / "short" / "eval").mkdir(parents=True)
    (tmp_path / "short" / "eval" / "trials").write_text("".join(lines[:-5]))
    (tmp_path / "short" / "eval" / "utt2spk").write_text((data / "utt2spk").read_text())
    for backend in ("cosine", "plda"):
        kept = (third / "scores" / f"eval.{backend}").read_text().splitlines(keepends=True)[:-5]
        (third / "scores" / f"eval.{backend}").write_text("".join(kept))
    make_results(third, tmp_path / "short" / "eval", draws=10, nj=1)
    with pytest.raises(DataError, match="have different lists eval"):
        compare_runs([first, third], nj=1, draws=10)


def test_lists_are_told_apart_by_what_they_hold(data: Path, tmp_path: Path) -> None:
    """By neither their path, nor their order, nor their size."""
    first = write_run(data, tmp_path / "a", 1, 1, ("cosine",))
    lines = (data / "trials").read_text().splitlines(keepends=True)
    for name, changed in (
        ("order", lines[::-1]),
        ("label", [lines[0].replace(" target", " nontarget"), *lines[1:-1], lines[-1].replace("nontarget", "target")]),
        ("pair", [lines[1], *lines[1:]]),
    ):
        other = tmp_path / name / "eval"
        shutil.copytree(data, other)
        (other / "trials").write_text("".join(changed))
        second = write_run(other, tmp_path / f"run_{name}", 1, 2, ("cosine",))
        if name == "order":
            compare_runs([first, second], nj=1, draws=10)
        else:
            with pytest.raises(DataError, match="have different lists eval"):
                compare_runs([first, second], nj=1, draws=10)
