"""TEST_SETS.md: EER, threshold, minDCF and date, a row a test set."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from steps.make_results import make_results


def test_a_row_a_test_set_a_table_a_back_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    scores = tmp_path / "exp" / "scores"
    scores.mkdir(parents=True)
    days = {"eval_calls.cosine": 1, "eval_sitw.cosine": 2, "eval_sitw.plda": 3}
    for name in ("eval_calls", "eval_sitw"):
        folder = tmp_path / "data" / name
        folder.mkdir(parents=True)
        utts = [f"{speaker}-{utt}" for speaker in range(8) for utt in "ab"]
        pairs = [(a, b) for a in utts for b in utts if a < b]
        (folder / "utt2spk").write_text("".join(f"{utt} {utt[0]}\n" for utt in utts))
        kinds = ["target" if a[0] == b[0] else "nontarget" for a, b in pairs]
        (folder / "trials").write_text("".join(f"{a} {b} {k}\n" for (a, b), k in zip(pairs, kinds, strict=True)))
        for path in (scores / file for file in days if file.startswith(name)):
            lines = [f"{a} {b} {rng.normal(a[0] == b[0], 1):.4f}\n" for a, b in pairs]
            path.write_text("".join(lines))
            written = datetime(2026, 3, days[path.name], 23, 59, tzinfo=UTC).timestamp()
            os.utime(path, (written, written))
    make_results(tmp_path / "exp", tmp_path / "data", draws=0, nj=1, priors=[0.01, 0.001])
    page = (tmp_path / "exp" / "TEST_SETS.md").read_text().replace("\\", "").splitlines()
    found = {(row["trials"], row["backend"]): row for row in json.loads((tmp_path / "exp/results.json").read_text())}
    assert [line for line in page if line.startswith(("## ", "| ")) and "---" not in line] == [
        "## cosine",
        "| test set | EER % | threshold | minDCF 0.01 | minDCF 0.001 | date |",
        _row(found["eval_calls", "cosine"], "2026-03-01"),
        _row(found["eval_sitw", "cosine"], "2026-03-02"),
        "## plda",
        "| test set | EER % | threshold | minDCF 0.01 | minDCF 0.001 | date |",
        _row(found["eval_sitw", "plda"], "2026-03-03"),
    ]


def _row(record: dict[str, float], date: str) -> str:
    costs = record["min_dcf"]
    cells = [f"{100 * record['eer']:.2f}", f"{record['eer_threshold']:.4f}", *(f"{costs[p]:.3f}" for p in costs)]
    return f"| {' | '.join([record['trials'], *cells, date])} |"
