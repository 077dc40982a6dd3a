"""What proves a GPU, when there is one, runs here in its small form; so it will run there."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MUST_PASS = {"features", "augmentation", "embeddings", "resume", "one_rank", "precision", "modes", "networks"}


def prove(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "tests" / "gpu" / "prove.sh"), *words]
    variables = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False)


def test_the_small_form_on_a_cpu(tmp_path: Path) -> None:
    done = prove("--device", "cpu", "--small", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    parts = json.loads((tmp_path / "prove.json").read_text())["parts"]
    assert {name for name, found in parts.items() if found.get("passed")} == MUST_PASS
    assert {*parts} == MUST_PASS | {"peak", "waiting"} and not [name for name in parts if "error" in parts[name]]
    rows = parts["networks"]["networks"]
    assert all({*row} == {"bf16", "fp16", "float32"} for row in rows.values()) and len(rows) == 2
    assert all(one["examples/s"] > 0 < one["share of peak"] for row in rows.values() for one in row.values())
    modes = parts["modes"]["modes"]
    assert [*modes] == ["none", "bf16"] and all(row["seconds_per_epoch"] > 0 < row["loss"] for row in modes.values())
    page = (tmp_path / "PROVE.md").read_text()
    assert all(f"| {name} | " in page for name in [*parts, *rows, *modes])


def test_what_is_missing_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "python").write_text('#!/bin/sh\ncase "$*" in *kaldiio*) exit 1 ;; esac\n')
    (tmp_path / "python").chmod(0o755)
    done = prove(PYTHON=str(tmp_path / "python"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "packages are missing: kaldiio" in done.stderr
