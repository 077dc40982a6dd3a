"""What results say of the protocol of a score file, which its name tells, and of operating points with costs."""

import json
from pathlib import Path

import numpy as np
import pytest

from steps.analyze_trials import analyze_trials
from steps.compute_metrics import compute_metrics
from steps.make_results import make_results

NAMES = ("eval.cosine", "eval.cosine@len1.5s", "eval.plda@full-tta10x400")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """All pairs of 12 speakers with two utterances each, and three score files in exp/scores/."""
    folder, scores = tmp_path / "data" / "eval", tmp_path / "exp" / "scores"
    folder.mkdir(parents=True)
    scores.mkdir(parents=True)
    utts = [f"{speaker:02d}-{utt}" for speaker in range(12) for utt in "ab"]
    pairs = [(a, b) for a in utts for b in utts if a < b]
    (folder / "utt2spk").write_text("".join(f"{utt} {utt[:2]}\n" for utt in utts))
    lines = [f"{a} {b} {'target' if a[:2] == b[:2] else 'nontarget'}\n" for a, b in pairs]
    (folder / "trials").write_text("".join(lines))
    rng = np.random.default_rng(0)
    for name in NAMES:
        values = [rng.normal(2.0 * (a[:2] == b[:2]), 1) for a, b in pairs]
        lines = [f"{a} {b} {value:.4f}\n" for (a, b), value in zip(pairs, values, strict=True)]
        (scores / name).write_text("".join(lines))
    return folder


def test_the_protocol_is_told_by_the_name_of_a_score_file(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exp = tmp_path / "exp"
    analyze_trials(data / "trials", exp / "scores" / "eval.cosine@len1.5s", exp, draws=0)
    make_results(exp, data, draws=0, nj=1, priors=[0.05, "0.01:10:1"])
    records = {record["backend"]: record for record in json.loads((exp / "results.json").read_text())}
    assert records["cosine"]["protocol"] == "whole utterance"
    assert records["cosine@len1.5s"]["protocol"] == "1.5 s of the recording from the middle, normalised by itself"
    assert records["plda@full-tta10x400"]["protocol"] == "enrolment: whole utterance, test: 10 crops of 400 frames"
    assert "cllr" in records["plda@full-tta10x400"] and "cllr" not in records["cosine"]
    assert {record["trials"] for record in records.values()} == {"eval"}
    assert list(records["cosine"]["min_dcf"]) == ["0.05", "0.01:10:1"]
    page = (exp / "RESULTS.md").read_text()
    assert "| 1.5 s of the recording from the middle, normalised by itself |" in page
    assert "trials: [cosine@len1.5s](analysis/eval.cosine@len1.5s.md)." in page
    assert (exp / "analysis" / "eval.cosine@len1.5s.md").exists()


def test_a_line_a_measure(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = tmp_path / "exp" / "scores" / "eval.plda@full-tta10x400"
    compute_metrics(data / "trials", scores, llr=True, two_way=True, draws=40, json=tmp_path / "json")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("eval.plda@full-tta10x400: 12 target and 264 nontarget trials of 12 speakers")
    names = [line.split()[0] for line in lines[1:]]
    costs = [f"{kind}({prior})" for kind in ("minDCF", "actDCF") for prior in ("0.05", "0.01", "0.001")]
    assert names == ["EER", "ROCCH-EER", *costs, "minCllr", "Cllr"]
    assert all("[" in line for line in lines[1:])  # an interval each
    record = json.loads((tmp_path / "json").read_text())
    assert record["bootstrap"] == "40 draws of enrolment speakers and, apart, test speakers, seed 0"
    assert record["min_cllr"] <= record["cllr"] and record["rocch_eer"] <= record["eer"]
    for key in ("eer", "rocch_eer", "min_cllr", "cllr"):
        low, high = record[f"{key}_ci"]
        assert low <= high
