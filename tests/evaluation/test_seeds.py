"""Systems trained from several seeds: grouped by name, compared by means, told apart only beyond what seeds do."""

import json
from math import erf
from pathlib import Path

import numpy as np
import pytest
from test_compare import data, write_run

from steps.compare_runs import compare_runs
from timbre.evaluation.seeds import Seeds, seed_differences

__all__ = ["data"]


def test_runs_of_a_system_are_one_row(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [("a.seed1", 0.1), ("a.seed2", 0.2), ("a_seed10", 0.3)]
    names += [("b.seed1", 2.0), ("b.seed2", 2.1), ("seedless", 2.2)]
    runs = [write_run(data, tmp_path / name, noise, seed, ("cosine",)) for seed, (name, noise) in enumerate(names)]
    capsys.readouterr()
    compare_runs(runs, tmp_path / "out", draws=100, seeds=True, nj=1)
    page = (tmp_path / "out" / "SEEDS.md").read_text()
    assert page.partition("\n\n")[2].strip() == capsys.readouterr().out.strip()
    (content,) = json.loads((tmp_path / "out" / "seeds.json").read_text())
    systems = {entry["system"]: entry for entry in content["systems"]}
    assert {name: entry["num_seeds"] for name, entry in systems.items()} == {"a": 3, "b": 2, "seedless": 1}
    single = [json.loads((run / "results.json").read_text())[0]["eer"] for run in runs[:3]]
    assert systems["a"]["eer"] == pytest.approx(np.mean(single)) and systems["a"]["eer_of_seeds"] == single
    assert f"{100 * min(single):.2f} to {100 * max(single):.2f}" in page
    verdicts = {(pair["first"], pair["second"]): pair["corrected"] for pair in content["differences"]}
    assert verdicts["a", "b"] < 0.01 and verdicts["b", "seedless"] > 0.05 and len(verdicts) == 3


def test_what_seeds_differ_by_counts() -> None:
    """The same gap over the same speakers: certain where seeds agree, not where they are as far apart."""

    def system(name: str, *eers: float) -> Seeds:
        draws = np.random.default_rng(0).normal(np.mean(eers), 0.001, 100)
        return Seeds(name, np.array(eers), np.array(eers), draws, draws)

    (sure,) = seed_differences([system("a", 0.099, 0.1, 0.101), system("b", 0.119, 0.12, 0.121)])
    (unsure,) = seed_differences([system("a", 0.08, 0.1, 0.12), system("b", 0.1, 0.12, 0.14)])
    assert sure.eer == pytest.approx(unsure.eer) == pytest.approx(0.02)
    assert sure.p < 1e-6
    # by hand: the pooled variance of the seeds is 0.02^2, that of a mean of three a third of it; speakers add nothing
    assert unsure.p == pytest.approx(1 - erf(0.02 / (0.02 * np.sqrt(2 / 3)) / np.sqrt(2)), rel=0.01)
