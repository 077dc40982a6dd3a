"""The studies of the toolkit's baselines: planned for VoxCeleb as it is published, and one in small."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from timbre.training.train_log import read_log

Run = Callable[..., subprocess.CompletedProcess[str]]
SYSTEMS = {
    "convolutional": ("resnet10", "resnet34"),
    "tdnn": ("tdnn", "etdnn", "ftdnn", "dtdnn", "aret", "lstm"),
    "spectrogram": ("tdnn_v5",),
}
SMALL = {
    "corpus.yaml": "{train_speakers: 20, eval_speakers: 4, utts_per_speaker: 6, sessions_per_speaker: 2}",
    "egs.yaml": "{min_frames: 60, max_frames: 60, short: repeat, num_valid_speakers: 2, num_valid_utts: 9}",
    "net.yaml": """trunk: {class_path: ResCnn, init_args: {channels: [4, 4, 8, 8], blocks: [1, 1, 1, 1], num_bins: 4}}
pooling: {class_path: MeanPooling}
embedding_dim: 16
""",
    "train.yaml": "{batch_size: 16, num_epochs: 1, valid_interval: 0}",
    "tune.yaml": """init_parts: [network]
objective: conf/objective/triplet.yaml
train: {batch_size: 16, batches: speakers, utts_per_speaker: 2, num_steps: 4, lr: 1.0e-3, warmup_steps: 0}
""",
}


@pytest.mark.parametrize("group", SYSTEMS)
def test_the_study_is_planned_for_the_true_layout(group: str, place: Path, tmp_path: Path) -> None:
    """The first and the last system: the others differ in the network alone, whose file is there."""
    conf = Path("conf") / "study" / f"toolkit_{group}.conf"
    networks = re.findall("^network=(.*)", (place / conf).read_text(), re.M)
    assert len(networks) >= len(SYSTEMS[group]) and all((place / network).is_file() for network in networks)
    planned = SYSTEMS[group][0], SYSTEMS[group][-1]
    chosen = [*dict.fromkeys(planned), *(["resnet10_triplet"] if group == "convolutional" else [])]
    options = ["--corpus", "voxceleb", "--corpus-dir", str(tmp_path), "--plan", "--systems", ",".join(chosen)]
    command = ["./run.sh", "--config", str(conf), *options]
    said = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=200, check=True)
    plan = said.stdout + said.stderr
    for system in planned:
        assert f"stage 9 results: would run (exp/toolkit_{group}/{system}/scores would be made again)" in plan
    if group == "convolutional":
        assert "system resnet10_triplet: would run after resnet10" in plan


def test_softmax_then_triplets_in_small(run: Run, place: Path) -> None:
    for name, text in SMALL.items():
        (place / name).write_text(text)
    common = {"config": "conf/study/toolkit_convolutional.conf", "corpus-conf": "corpus.yaml", "egs-conf": "egs.yaml"}
    common |= {"network": "net.yaml", "train-conf": "train.yaml", "baseline": "false", "nj": "1"}
    study = [word for option, value in common.items() for word in (f"--{option}", value)]
    run(*study, "--systems", "resnet10", "--stop-stage", "4")
    run(*study, "--systems", "resnet10_triplet", "--fine-tune-conf", "tune.yaml")
    exp = place / "exp" / "toolkit_convolutional"
    (epoch,) = read_log(exp / "resnet10" / "model" / "epochs.jsonl")
    assert epoch["epoch"] == 1 and epoch["minutes"] > 0 and epoch["peak_resident_bytes"] > 1e7
    figures = {"loss", "accuracy", "valid_accuracy", "valid_eer", "valid_eer_threshold"}
    assert {*figures, "valid_min_dcf_0.01", "valid_min_dcf_0.001"} <= epoch.keys()
    tuned = exp / "resnet10_triplet"
    assert "fine-tuned from exp/toolkit_convolutional/resnet10/model" in (tuned / "RESULTS.md").read_text()
    assert "| resnet10_triplet, cosine_asnorm |" in (exp / "TABLE.md").read_text()
    page = (tuned / "TEST_SETS.md").read_text().replace("\\", "")
    records = json.loads((tuned / "results.json").read_text())
    assert {record["trials"] for record in records} == {"eval", "eval_all"}
    for record in records:
        assert f"| {record['trials']} | {100 * record['eer']:.2f} | {record['eer_threshold']:.4f} |" in page
