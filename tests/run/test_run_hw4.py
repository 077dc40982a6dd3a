"""The study of HW4 (NTU ML 2023) by one command, on made features in its layout: submission, accuracy, table, plan."""

import csv
import json
import subprocess
from pathlib import Path

import pytest
from stages_ran import ran

from made_hw4 import Made, make_hw4

BASELINES = {"simple": 0.66025, "medium": 0.8175, "strong": 0.885, "boss": 0.93}
TRAIN = "{batch_size: 8, min_frames: 128, max_frames: 128, num_steps: 3, final_lr: 0.0, warmup_steps: 1, "
TRAIN += "valid_interval: 1, checkpoint_interval: 1, keep_best: accuracy, amp: none, decay_all: true}"


@pytest.fixture(scope="module")
def corpus(place: Path) -> Path:
    make_hw4(place / "ntu", Made(speakers=5, utts=8, tests=7, frames=(40, 150)))
    (place / "partial.yaml").write_text("partial: true")
    (place / "train.yaml").write_text(TRAIN)
    return place / "ntu"


def run_study(place: Path, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["./run.sh", "--config", f"conf/study/{name}.conf", "--corpus-dir", "ntu", "--train-conf", "train.yaml"]
    command += ["--corpus-conf", "partial.yaml", "--ngpu", "0", "--nj", "1", *options]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_one_command_from_the_layout_to_submissions_and_table(place: Path, corpus: Path) -> None:
    done = run_study(place, "hw4", "--systems", "simple,boss")
    stages = ["given", "egs", "train", "embed", "back-end", "classify"]
    assert ran(done) == ["data", *stages, "train", "embed", "back-end", "classify"]
    assert "brings its own features, and no audio" in done.stdout
    study = place / "exp" / "hw4"
    for system in ("simple", "boss"):
        check_submission(study / system, corpus)
    rates = json.loads((study / "boss" / "classification" / "train" / "closed_set.json").read_text())
    assert (rates["utterances"], rates["classes"], rates["published"], rates["method"]) == (4, 5, 0.93, "wilson")
    table = (study / "CLASSIFICATION.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    assert [(row[0], row[3]) for row in rows[1:]] == [("simple", "66.03"), ("boss", "93.00")]
    planned = run_study(place, "hw4_boss", "--plan")
    assert not (place / "exp" / "hw4_boss" / "model").exists() and "stage 4 train: would run" in planned.stdout
    assert "stage 3 egs: up to date" in planned.stdout, "the baselines share them"


def check_submission(exp: Path, corpus: Path) -> None:
    """Every row is there, in order, with a speaker of the mapping, the likeliest one."""
    lines = (exp / "submission.csv").read_text().splitlines()
    assert lines[0] == "Id,Category"
    rows = list(csv.reader(lines[1:]))
    listed = json.loads((corpus / "testdata.json").read_text())["utterances"]
    assert [row[0] for row in rows] == [entry["feature_path"] for entry in listed]
    assert {row[1] for row in rows} <= json.loads((corpus / "mapping.json").read_text())["speaker2id"].keys()
    tables = (exp / "classification" / "eval_hw4" / "predictions.tsv").read_text().splitlines()
    best = {line.split("\t")[0]: line.split("\t")[2] for line in tables[1:] if line.split("\t")[1] == "1"}
    assert all(best[file.removesuffix(".pt")] == speaker for file, speaker in rows)


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_section_of_the_study_is_the_file_of_that_name(root: Path, baseline: str) -> None:
    def options(text: str) -> dict[str, str]:
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        return dict(line.split("=", 1) for line in lines)

    before, *sections = (root / "conf" / "study" / "hw4.conf").read_text().split("\n[")
    own = {name: text for name, _, text in (section.partition("]") for section in sections)}
    alone = options((root / "conf" / "study" / f"hw4_{baseline}.conf").read_text())
    assert options(before) | options(own[baseline]) | {"name": f"hw4_{baseline}"} == alone
    assert float(alone["published-accuracy"]) == BASELINES[baseline]
