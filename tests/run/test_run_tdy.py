"""The study of TDY-CNN and its baseline: planned for VoxCeleb as it is published."""

import subprocess
from pathlib import Path


def test_the_study_is_planned_for_the_true_layout(place: Path, tmp_path: Path) -> None:
    options = ["--corpus", "voxceleb", "--corpus-dir", str(tmp_path), "--plan"]
    command = ["./run.sh", "--config", "conf/study/tdy_resnet34_025.conf", *options]
    said = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=200, check=True)
    plan = said.stdout + said.stderr
    for system in ("baseline", "tdy"):
        assert f"system {system}: exp/tdy_resnet34_025/{system}" in plan
        assert f"stage 9 results: would run (exp/tdy_resnet34_025/{system}/scores would be made again)" in plan
    assert "melspec64/egs_four_seconds_utterance_no_vad/manifest.json would be made again" in plan
