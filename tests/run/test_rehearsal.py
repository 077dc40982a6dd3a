"""Dress rehearsals of the published recipes: one of them whole, and it is no result; of all of them the plan."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from stages_ran import ran

from timbre.training.train_log import read_log

CONFS = ("voxceleb_resnet34", "voxceleb_ecapa1024", "voxceleb_campplus", "voxceleb_redimnet_b2", "cnceleb_resnet34")


def rehearse(place: Path, name: str, *args: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["./run.sh", "--config", f"conf/run/{name}.conf", *args]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=500)
    assert not ok or done.returncode == 0, done.stdout + done.stderr
    return done


def test_one_of_them_goes_through_to_the_report_and_is_no_result(place: Path) -> None:
    """With a small network; all other options are those of the recipe."""
    options = ["--dress-rehearsal", "--network", "conf/network/xvector_smoke.yaml", "--nj", "1", "--ngpu", "0"]
    done = rehearse(place, "cnceleb_resnet34", *options)
    exp = place / "exp" / "cnceleb_resnet34_rehearsal"
    stages = ["data", "augment", "features", "egs", "train", "tuning-data", "tuning-egs", "fine-tune", "embed"]
    assert ran(done) == [*stages, "held-out", "back-end", "score", "results", "decision"]
    assert "6 updates of 8 examples instead of those of conf/train/cnceleb.yaml" in done.stdout
    assert "no figure of it is a result" in done.stdout.splitlines()[-1]
    assert "NOT A RESULT but a dress rehearsal" in (exp / "RESULTS.md").read_text()
    assert {path.name for path in (place / "exp").iterdir()} == {exp.name}
    assert all(path.name.startswith("rehearsal_") for path in (place / "data").iterdir())
    for name in ("report.html", "decision/pack.yaml"):
        assert (exp / name).is_file()
    systems = {record["backend"] for record in json.loads((exp / "results.json").read_text())}
    assert systems == {"cosine", "cosine_asnorm", "cosine_llr", "cosine_quality"}
    lines = read_log(exp / "model" / "log.jsonl")
    assert [line["margin"] for line in lines] == pytest.approx([0, 0.2, 0.2, 0.2, 0.2, 0.2])
    assert len({round(line["margin"], 6) for line in read_log(exp / "fine_tuned" / "log.jsonl")} ^ {0.5}) == 0
    cohort = (exp / "calibration" / "others.scp").read_text()
    held = {line.split()[1] for line in (exp / "calibration" / "utt2spk").open()}
    assert held and not [spk for spk in held if f"{spk}-" in cohort], "nor at another speed"
    repeated = rehearse(place, "cnceleb_resnet34", "--config", f"{exp}/settings.conf")
    assert ran(repeated) == [], "its settings repeat it"


@pytest.mark.parametrize("name", CONFS)
def test_the_plan_of_each_in_the_layout_of_its_corpus(place: Path, name: str) -> None:
    for folder in (*(f"data/musan/{kind}" for kind in ("noise", "music", "speech")), "data/rirs/rir", "Published"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    done = rehearse(place, name, "--corpus-dir", "Published", "--plan").stdout
    assert "h at 1,000 examples a second" in done and "disk, at most: " in done
    assert "stage 4 train: would run" in done and "stage 5 fine-tune: would run" in done
    shutil.rmtree(place / "data" / "musan")
    missing = rehearse(place, name, "--corpus-dir", "Published", "--plan", ok=False)
    assert "data/musan/noise: no such directory: local/prepare_musan.py makes it" in missing.stderr


def test_what_has_no_small_corpus_is_refused(place: Path) -> None:
    refused = rehearse(place, "smoke", "--dress-rehearsal", ok=False)
    assert "small corpora are made for voxceleb and cnceleb, not for synth" in refused.stderr
    assert not (place / "exp" / "smoke_rehearsal").exists()
