"""run.sh on a corpus in the layout of Dacon 2021: pairs to train on, a list of pairs that is answered row by row."""

import csv
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from stages_ran import ran

from timbre.corpora.small_trees import hum
from timbre.datadir.trials import read_trials
from timbre.evaluation.metrics import roc
from timbre.evaluation.results import read_classes

Study = Callable[..., subprocess.CompletedProcess[str]]
SMALL = {
    "train.yaml": "{batch_size: 16, num_steps: 4, optimizer: radam, warmup_steps: 0, min_frames: 40, max_frames: 50}",
    "egs.yaml": "{kind: waveform, min_frames: 60, max_frames: 60, short: repeat, num_repeats: 1}",
}
TRAINED, TESTED = range(20), range(20, 24)


@pytest.fixture(scope="module")
def corpus(place: Path) -> Path:
    """Twenty speakers of three files each, and six pairs of others, one of them twice."""
    path = place / "competition"
    (path / "wav").mkdir(parents=True)
    for speaker in (*TRAINED, *TESTED):
        for number in range(3):
            sound = hum(speaker, 10 * speaker + number, 0.6, 16000)
            soundfile.write(path / "wav" / f"{speaker}_{number}.wav", sound, 16000)
    rows = [f"wav/{speaker}_{number}.wav,speaker {speaker}" for speaker in TRAINED for number in range(3)]
    (path / "train_info.csv").write_text("\n".join(["file_name,speaker", *rows]) + "\n")
    write_list(path, labelled=False)
    return path


def write_list(path: Path, labelled: bool) -> list[tuple[str, str]]:
    pairs = [(20, 20), (22, 21), (21, 21), (23, 20), (23, 23), (22, 21), (20, 22)]
    names = [(f"wav/{one}_0.wav", f"wav/{other}_1.wav") for one, other in pairs]
    rows = [",".join([*row, *(["0" if a == b else "1"] * labelled)]) for row, (a, b) in zip(names, pairs, strict=True)]
    header = "file_name,file_name_" + ",label" * labelled
    (path / "test_data.csv").write_text("\n".join([header, *rows]) + "\n")
    return names


@pytest.fixture(scope="module")
def study(place: Path, corpus: Path) -> Study:
    for name, text in SMALL.items():
        (place / name).write_text(text)

    def call(name: str, *args: str) -> subprocess.CompletedProcess[str]:
        command = ["./run.sh", "--config", f"conf/study/{name}.conf", "--corpus-dir", str(corpus), "--nj", "1"]
        command += ["--network", "conf/network/xvector_smoke.yaml", "--train-conf", "train.yaml"]
        command += ["--egs-conf", "egs.yaml", "--top-n", "5", *args]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return call


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_pairs_without_labels_are_answered_by_the_siamese_head(study: Study, place: Path, corpus: Path) -> None:
    done = study("dacon_siamese", "--systems", "thin_resnet34_se")
    assert "no table: no system has results" in done.stdout
    exp = place / "exp" / "dacon_siamese" / "thin_resnet34_se"
    assert not (exp / "results.json").exists(), "without labels there are no error rates"
    given = read_csv(corpus / "test_data.csv")
    header, *rows = read_csv(exp / "submission.csv")
    assert header == ["file_name", "file_name_", "label"] and [row[:2] for row in rows] == given[1:]
    scores = np.array([float(line.split()[2]) for line in (exp / "pairs" / "eval_dacon.siamese").open()])
    calibration = exp / "calibration"
    threshold = roc(*read_classes(calibration / "trials", calibration / "scores" / "dev.siamese")).eer_threshold()
    assert [row[2] for row in rows] == ["0" if score >= threshold else "1" for score in scores]
    assert scores[1] == scores[5] and len(np.unique(scores)) == 6
    cosines = [line.split()[:2] for line in (exp / "pairs" / "eval_dacon.cosine_asnorm").open()]
    assert cosines == [line.split() for line in (place / "data/dacon_competition/eval_dacon/pairs").open()]
    table = read_csv(place / "data" / "dacon_competition" / "train" / "pairs.csv")
    spk = dict(line.split() for line in (place / "data/dacon_competition/train/utt2spk").open())
    same = [spk[row[4]] == spk[row[5]] for row in table[1:]]
    assert table[0][:4] == ["idx", "left", "right", "label"] and 2 * sum(same) == len(same) == 60
    assert [row[3] for row in table[1:]] == ["0" if one else "1" for one in same]
    config = (exp / "model" / "config.yaml").read_text()
    assert "pairs_sha256" in config and "AddGaussianNoise" in config and "optimizer: radam" in config

    again = study("dacon_siamese", "--systems", "thin_resnet34_se", "--fill", "score", "--stage", "9")
    assert ran(again) == ["submission"]
    header, *filled = read_csv(exp / "submission.csv")
    assert header[2] == "score" and np.allclose([float(row[2]) for row in filled], scores, rtol=1e-6)


@pytest.mark.parametrize("name", ["dacon_siamese", "dacon_speaker"])
def test_the_studies_as_they_are_have_a_plan(name: str, place: Path, corpus: Path) -> None:
    command = [
        "./run.sh",
        "--config",
        f"conf/study/{name}.conf",
        "--corpus-dir",
        str(corpus),
        "--plan",
        "--name",
        "new",
    ]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0 and done.stdout.count("stage 4 train: would run") == 3, done.stdout + done.stderr
    assert "warning" not in done.stdout + done.stderr


def test_a_list_with_labels_compares_the_head_with_the_cosine(study: Study, place: Path, corpus: Path) -> None:
    write_list(corpus, labelled=True)
    model = place / "exp" / "dacon_siamese" / "thin_resnet34_se" / "model"
    assert model.is_dir(), "of the test before"
    evaluate = ["--model", str(model), "--train-augment", "", "--train-pairs", "false"]
    study("dacon_siamese", "--systems", "convmixer", "--name", "labelled", *evaluate)
    exp = place / "exp" / "labelled"
    trials = read_trials(place / "data" / "dacon_competition" / "eval_dacon" / "trials")
    assert trials.target.tolist() == [True, False, True, False, True, False, False]
    records = {row["backend"]: row for row in json.loads((exp / "convmixer" / "results.json").read_text())}
    assert {"siamese", "cosine", "cosine_asnorm"} <= set(records)
    decided = records["siamese"]["decided"]
    answers = read_csv(exp / "convmixer" / "submission.csv")[1:]
    right = [answer[2] == "01"[not target] for answer, target in zip(answers, trials.target, strict=True)]
    assert decided["accuracy"] == pytest.approx(np.mean(right)), "the submission decides as the results say"
    assert "| accuracy % | F1 |" in (exp / "convmixer" / "RESULTS.md").read_text()
    page = (exp / "TABLE.md").read_text()
    assert "| convmixer, siamese |" in page and "| convmixer, cosine |" in page
    assert not (place / "data" / "dacon_competition" / "eval_dacon" / "pairs").exists()
