"""run.sh from the corpus that it makes to results: it runs, skips, resumes, and follows changed options."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml
from served_pack import check_served
from stages_ran import FEW, ran

from timbre.datadir.datadir import DataDir
from timbre.datadir.tables import read_table
from timbre.people.stream import last_said
from timbre.people.voice import load
from timbre.runtime.pack_file import PackFile
from timbre.utils.documents import read_yaml

Run = Callable[..., subprocess.CompletedProcess[str]]
PLAIN = {"statistics", "cosine", "cosine_asnorm", "plda", "plda_asnorm"}
BACKENDS = PLAIN | {"cosine_llr", "plda_llr", "fusion"}


def test_results_are_those_of_a_recogniser(finished: Path) -> None:
    records = json.loads((finished / "results.json").read_text())
    assert {(record["trials"], record["backend"]) for record in records} == {
        (trials, backend) for trials in ("eval", "eval_all") for backend in BACKENDS
    }
    for record in records:
        low, high = record["eer_ci"]
        assert 0 <= low <= record["eer"] <= high <= 1
        assert set(record["min_dcf"]) == {"0.05", "0.01", "0.001"} and max(record["min_dcf"].values()) <= 1
    numbers = {(record["trials"], record["backend"]): record for record in records}
    assert numbers["eval", "cosine"]["num_target"] == 192 and numbers["eval", "cosine"]["num_nontarget"] == 1920
    assert numbers["eval", "cosine_asnorm"]["eer"] < 0.15
    assert numbers["eval", "statistics"]["eer"] < 0.30
    assert "act_dcf" not in numbers["eval", "cosine"] and "cllr" in numbers["eval", "plda"]


def test_files_a_person_looks_at(finished: Path) -> None:
    table = (finished / "RESULTS.md").read_text()
    assert all(backend in table for backend in BACKENDS) and "EER" in table
    for name in ("det_eval.png", "det_eval.svg", "det_eval_all.png"):
        assert (finished / "plots" / name).stat().st_size > 5000
    assert "run.sh --config conf/run/smoke.conf" in (finished / "command").read_text()
    assert "wolves" in (finished / "analysis" / "eval.plda_asnorm.md").read_text().lower()
    page = (finished / "report.html").read_text()
    assert "plda_asnorm" in page and "eval_all" in page and (finished / "plots" / "tsne_eval_spk.png").exists()
    assert "network=conf/network/xvector_smoke.yaml" in (finished / "settings.conf").read_text()
    lines = (finished / "log" / "run.log").read_text().splitlines()
    assert sum(": done in " in line for line in lines) == 10


def test_last_lines_say_how_good_and_where(finished: Path, run: Run) -> None:
    lines = run().stdout.splitlines()[-4:]
    lowest = min(
        (record for record in json.loads((finished / "results.json").read_text()) if record["trials"] == "eval"),
        key=lambda record: record["eer"],
    )
    low, high = (f"{100 * edge:.1f}" for edge in lowest["eer_ci"])
    assert lines[0].startswith("eval:      EER ") and f"{100 * lowest['eer']:.2f} % [{low}, {high}] by " in lines[0]
    assert lines[2] == "Report: exp/smoke/report.html    scores: exp/smoke/scores/    plan: exp/smoke/plan.tsv"
    assert lines[3].endswith("--pack exp/smoke/decision")


def test_every_score_file_is_in_the_plan(finished: Path, run: Run) -> None:
    rows = [line.split("\t") for line in (finished / "plan.tsv").read_text().splitlines()]
    titles, made = rows[0], {row[-1] for row in rows[1:] if row[1] == "score"}
    assert titles[-1] == "output" and all(len(row) == len(titles) for row in rows)
    on_disk = {f"exp/smoke/scores/{path.name}" for path in (finished / "scores").iterdir() if path.is_file()}
    assert on_disk == {path for path in made if "/scores/eval" in path}
    inputs = {row[titles.index("from")] for row in rows[1:] if row[2] == "normalize"}
    assert inputs <= made, "what is normalised is scored before"


def test_second_run_has_nothing_to_do(finished: Path, run: Run) -> None:
    began = time.monotonic()
    done = run()
    assert ran(done) == [] and done.stdout.count("up to date") == 10
    assert time.monotonic() - began < 15


def test_changed_option_reruns_what_depends_on_it(altered: Path, run: Run) -> None:
    planned = run("--plan", "--top-n", "10").stdout
    assert "stage 7 back-end: up to date" in planned
    assert "stage 8 score: would run (options changed: top-n 10, top-n 20)" in planned
    assert "stage 9 results: would run (exp/smoke/scores would be made again)" in planned
    assert ran(run("--top-n", "10", "--stop-stage", "8")) == ["score"]
    assert "stage 8 score: would run (options changed: top-n 10, top-n 20)" in run("--plan").stdout, "and back"


def test_deleted_output_is_made_again_the_same(altered: Path, run: Run) -> None:
    (altered / "scores" / "eval.plda").rename(altered / "kept")
    assert "stage 9 results: would run (exp/smoke/scores would be made again)" in run("--plan").stdout
    assert ran(run("--stop-stage", "8")) == ["score"]
    assert (altered / "scores" / "eval.plda").read_bytes() == (altered / "kept").read_bytes()


def test_audit_is_made_where_it_is_asked_for(finished: Path, run: Run, place: Path) -> None:
    assert ran(run("--audit", "--audit-strict")) == ["audit"]
    (page,) = place.glob("data/*/audit/AUDIT.md")
    assert "**0 serious findings," in page.read_text() and "| eval_all |" in page.read_text()
    assert ran(run("--audit", "--audit-strict")) == []


def test_features_may_be_mfcc_and_objective_softmax(finished: Path, run: Run, place: Path) -> None:
    options = ["--features", "mfcc", "--objective", "conf/objective/softmax.yaml", "--train-conf", "brief.yaml"]
    run("--name", "mfcc", *options, "--stop-stage", "4")
    config = (place / "exp" / "mfcc" / "model" / "config.yaml").read_text()
    assert "feat_dim: 30" in config and "Softmax" in config
    assert ran(run()) == []  # the other run's features are untouched


def test_a_model_is_trained_further(finished: Path, run: Run, place: Path) -> None:
    """With longer crops and a larger margin; results say what they are of, and a comparison pairs before and after."""
    conf = place / "further.yaml"
    conf.write_text(
        "{objective_args: {margin: 0.3}, altered_speakers: false, lr_scale: {trunk: 0.1}, egs: {min_frames: 100, "
        "max_frames: 200, short: repeat}, train: {num_steps: 12, lr: 1.0e-4, warmup_steps: 0}}"
    )
    options = ["--name", "further", "--init-model", str(finished / "model"), "--fine-tune-conf", str(conf)]
    options += ["--calibrate", "false", *FEW]
    stages = ran(run(*options))
    assert stages[:3] == ["tuning-data", "tuning-egs", "fine-tune"] and stages[-1] == "results"
    exp = place / "exp" / "further"
    assert not (exp / "model").exists()
    config = (exp / "fine_tuned" / "config.yaml").read_text()
    assert "margin: 0.3" in config and f"init_model: {finished / 'model'}" in config
    kept = [
        json.loads((path / "manifest.json").read_text()) for path in (_stage_3_egs(place), exp / "fine_tune" / "egs")
    ]
    assert kept[0]["valid_speakers"] == kept[1]["valid_speakers"] != []
    assert f"fine-tuned from {finished / 'model'} by {conf}" in (exp / "RESULTS.md").read_text()
    assert "fine-tuned from" in (exp / "report.html").read_text()
    assert ran(run(*options)) == []
    conf.write_text(conf.read_text().replace("1.0e-4", "2.0e-4"))
    planned = run("--plan", *options).stdout
    assert "stage 5 tuning-egs: up to date" in planned and "stage 5 fine-tune: would run" in planned
    command = [place / "steps" / "compare_runs.py", finished, exp, "--backends", "[cosine]", "--draws", "50"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert done.returncode == 0 and "further" in done.stdout and "eval_all" in done.stdout, done.stderr


def _stage_3_egs(place: Path) -> Path:
    return place / "data" / "synth_smoke" / "fbank80" / "egs_cpu"


def test_further_training_that_cannot_be_is_refused(finished: Path, run: Run, place: Path) -> None:
    (place / "wrong.yaml").write_text("freze: [trunk]")
    (place / "mixed.yaml").write_text("mix_share: 0.5")
    model, good = ["--init-model", str(finished / "model")], ["--fine-tune-conf", "conf/fine_tune/durations.yaml"]
    for options, text in (
        (model, "--init-model needs --fine-tune-conf"),
        ([*model, "--fine-tune-conf", str(place / "wrong.yaml")], "freze"),
        ([*model, "--fine-tune-conf", str(place / "mixed.yaml")], "--mix-dir"),
        ([*model, *good, "--mix-dir", str(finished)], "has no mix_share"),
        (["--init-model", str(finished), *good], "no finished model"),
        (["--model", str(finished / "model"), *good], "--model evaluates a model as it is"),
        (["--fine-tune-conf", "conf/fine_tune/large_margn.yaml"], "did you mean conf/fine_tune/large_margin.yaml?"),
    ):
        done = run("--name", "refused", *options, ok=False)
        assert done.returncode == 1 and text in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert not (place / "exp" / "refused").exists()


def test_augmented_copies_are_trained_on(run: Run, place: Path) -> None:
    run("--name", "plain", "--stop-stage", "3")
    sounds = place / "sounds"
    for name, decay in (("noise", 1e9), ("rir", 400.0)):
        (sounds / name).mkdir(parents=True)
        wave = np.random.default_rng(0).standard_normal(4000) * np.exp(-np.arange(4000) / decay)
        soundfile.write(sounds / name / f"{name}.wav", wave / np.abs(wave).max(), 16000)
    options = ["--name", "copies", "--augment-conf", "conf/augment/offline_no_music.yaml", "--stop-stage", "3"]
    options += ["--noise-dir", str(sounds / "noise"), "--rir-dir", str(sounds / "rir")]
    assert ran(run(*options)) == ["augment", "features", "egs"]
    assert ran(run(*options)) == []
    before, after = (
        json.loads((place / "data" / "synth_smoke" / folder / "egs_cpu" / "manifest.json").read_text())
        for folder in ("fbank80", "offline_no_music/fbank80")
    )
    assert after["num_utterances"] == 4 * before["num_utterances"]
    assert after["num_speakers"] == before["num_speakers"] and after["valid_utts"]
    assert not [utt for utt in after["valid_utts"] if utt.endswith(("-noise", "-reverb", "-babble"))]
    assert "music" in run(*options, "--augment-conf", "conf/augment/offline.yaml", ok=False).stderr


def test_conditions_are_tested_under(altered: Path, run: Run, place: Path) -> None:
    hum = place / "hum"
    hum.mkdir()
    soundfile.write(hum / "hum.wav", 0.5 * np.sin(np.arange(16000) * 0.2), 16000)
    conditions = "conf/condition/telephone_band.yaml conf/condition/noise0.yaml"
    options = ["--test-conf", conditions, "--test-noise-dir", str(hum)]
    options += ["--calibrate", "false", *FEW]
    ran_first = ran(run(*options))
    assert "train" not in ran_first and "features" not in ran_first and ran_first[-2:] == ["score", "results"]
    records = json.loads((altered / "results.json").read_text())
    copies = ("", "_telephone_band", "_noise0")
    assert {record["trials"] for record in records} == {f"eval{copy}{kind}" for kind in ("", "_all") for copy in copies}
    (noisy,) = place.glob("data/*/conditions/noise0/eval_noise0/wav.scp")
    (clean,) = place.glob("data/*/eval/wav.scp")
    powers = [
        np.array([np.mean(soundfile.read(place / line.split()[1])[0] ** 2) for line in table.read_text().splitlines()])
        for table in (noisy, clean)
    ]
    assert np.median(powers[0] / powers[1]) == pytest.approx(2, rel=0.1), "noise as loud as the voice"
    assert ran(run(*options)) == []
    refused = run("--test-conf", conditions, "--name", "lacking", ok=False)
    assert "an effect needs noise: give its data directory with --noise-dir" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert not (place / "exp" / "lacking").exists(), "before anything runs"


def test_speakers_held_out_are_tested_under_draws_of_their_own(altered: Path, run: Run, place: Path) -> None:
    rooms = place / "rooms"
    rooms.mkdir()
    for number in range(8):
        response = np.random.default_rng(number).standard_normal(1600) * np.exp(-np.arange(1600) / 200)
        soundfile.write(rooms / f"room{number}.wav", 0.2 * response, 16000)
    conditions = "conf/condition/all_drawn.yaml conf/condition/as_recorded.yaml"
    options = ["--dev-conf", conditions, "--test-rir-dir", str(rooms), "--quality-conditions", "true"]
    options += ["--baseline", "false"]
    made = ran(run(*options))
    assert made[:2] == ["dev_held_out", "dev_audio_all_drawn"] and made[-3:] == ["score", "results", "decision"]
    assert "pool" in made and ran(run(*options)) == []
    pack = (altered / "decision" / "README.md").read_text().replace("\\", "")
    assert "## By condition" in pack and "| dev_all_drawn | " in pack and "| dev_as_recorded | " in pack
    records = json.loads((altered / "results.json").read_text())
    systems = {name: {one["backend"] for one in records if one["trials"] == name} for name in ("eval", "dev_all_drawn")}
    assert systems["dev_all_drawn"] == PLAIN - {"statistics"} < systems["eval"], "those that do not know them"
    (folder,) = place.glob("data/*/fbank80/dev_cpu")
    held_out = json.loads((folder.parent / "egs_cpu" / "manifest.json").read_text())["valid_speakers"]
    assert {path.name for path in folder.iterdir()} >= {"dev_all_drawn", "dev_as_recorded"}
    drawn = folder / "dev_all_drawn"
    assert {line.split()[1] for line in (drawn / "utt2spk").read_text().splitlines()} == set(held_out)
    room = dict(line.split() for line in (drawn / "utt2room").read_text().splitlines())
    trials = [line.split()[:2] for line in (drawn / "trials").read_text().splitlines()]
    assert trials and all(room[one] != room[other] for one, other in trials)
    recorded = (folder / "dev_as_recorded" / "trials").read_text().splitlines()
    assert len(recorded) > len(trials)
    page = (altered / "analysis" / "dev_all_drawn.plda_asnorm.md").read_text()
    assert all(f"| {name}: " in page for name in ("band", "codec", "snr", "rate", "pitch", "handset_low", "loss"))
    pooled = altered / "calibration" / "pooled"
    names = {line.split()[0].rsplit("-so", 1)[0] for line in (pooled / "utt2spk").read_text().splitlines()}
    assert any(name.startswith("dev_all_drawn-") for name in names)
    learnt = yaml.safe_load((altered / "calibration" / "fusion_quality" / "calibration.yaml").read_text())
    assert learnt["trained_on"]["trials"] == str((pooled / "trials").relative_to(place))
    kinds = [term["kind"] for term in learnt["terms"]]
    assert kinds.count("score") == 2 and kinds.count("scaled_mean") == 2 * kinds.count("mean") == 10
    assert systems["eval"] >= {"plda_quality", "fusion_quality"}
    pack = yaml.safe_load((altered / "decision" / "pack.yaml").read_text())
    assert pack["measures"] == ["logdur", "snr", "band", "magnitude"]
    refused = run(*options, "--calibrate", "false", ok=False)
    assert "--dev-conf needs --calibrate" in refused.stderr and refused.stderr.count("\n") == 1


def test_short_tests_and_crops_are_scored_beside(altered: Path, run: Run) -> None:
    options = ["--protocols", "len1s  tta2x50", "--calibrate", "false"]
    assert ran(run(*options)) == ["embed_protocols", "back-end", "score", "results"]
    records = json.loads((altered / "results.json").read_text())
    protocols = {record["backend"]: record["protocol"] for record in records if record["trials"] == "eval"}
    scored = {f"{system}@{name}" for system in sorted(PLAIN - {"statistics"}) for name in ("len1s", "tta2x50")}
    assert set(protocols) == {*PLAIN, *scored, "euclidean@tta2x50"}
    assert protocols["cosine"] == "whole utterance" != protocols["cosine@len1s"] == protocols["plda_asnorm@len1s"]
    assert ran(run(*options)) == []
    refused = run("--protocols", "len1s lenXs", ok=False)
    assert refused.returncode == 1 and refused.stderr.count("\n") == 1, refused.stderr
    assert "run.sh: error: --protocols: protocol 'lenXs' is none of full" in refused.stderr


def test_scores_are_calibrated_and_a_decision_is_made(altered: Path, run: Run, place: Path) -> None:
    assert ran(run("--calibrate", "false", "--stop-stage", "8")) == ["back-end", "score"]
    assert {path.suffix[1:] for path in (altered / "scores").iterdir() if path.is_file()} == PLAIN
    assert ran(run("--calibrate")) == ["back-end", "score", "results"], "the back-end in the pack is the same again"
    records = json.loads((altered / "results.json").read_text())
    costs = {record["backend"]: record["cllr"] for record in records if record["trials"] == "eval" and "cllr" in record}
    assert set(costs) == {"plda", "cosine_llr", "plda_llr", "fusion"} and costs["fusion"] < 1
    table = next(place.glob("data/*/eval/wav.scp")).read_text().splitlines()
    sounds = [soundfile.read(place / line.split()[1])[0] for line in table]
    for name, pair in {"one": sounds[:2], "same": sounds[2:4], "other": sounds[-2:]}.items():
        soundfile.write(place / f"{name}.wav", np.concatenate(pair), 16000)  # enough speech for any pack
    answers = []
    for other in ("same.wav", "other.wav"):
        command = ["steps/verify.py", "one.wav", other, "--pack", "exp/smoke/decision", "--json"]
        done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
        answers.append(json.loads(done.stdout))
    assert answers[0]["llr"] > answers[1]["llr"], "the first four are of one speaker, the last of another"


def test_conversations_are_diarized(finished: Path, run: Run, place: Path) -> None:
    conf = place / "conversations.yaml"
    conf.write_text("num_recordings: 2\nseconds: 30\nmax_speakers: 3\n")
    assert ran(run("--diarize", "--conversations-conf", conf.name, "--diarize-method", "vbx")) == ["diarize"]
    score = json.loads((finished / "diarization" / "eval" / "vbx" / "der.json").read_text())
    assert (finished / "diarization" / "tuned" / "vbx.yaml").is_file()
    assert 0 < score["all"]["der"] < 0.9
    assert (finished / "diarization" / "eval" / "rttm").read_text().count("SPEAKER") > 4

    conf.write_text("num_recordings: 1\nseconds: 20\nmax_speakers: 2\n")
    assert ran(run("--diarize", "--conversations-conf", conf.name, "--diarize-method", "ahc")) == ["diarize"]
    found = finished / "diarization" / "eval" / "ahc"
    threshold = read_yaml(finished / "diarization" / "tuned" / "ahc.yaml")["threshold"]
    assert threshold in (-20, -10, -5, 0, 5), "of stage 10's grid"
    assert 0 < json.loads((found / "der.json").read_text())["all"]["der"] < 0.9
    assert (found / "rttm").read_text().startswith("SPEAKER eval-")
    assert not (finished / "diarization" / "eval" / "vbx").exists(), "of other conversations"


def test_killed_training_goes_on_to_the_same_model(finished: Path, run: Run, place: Path) -> None:
    command = ["./run.sh", "--config", "conf/run/smoke.conf", "--nj", "1", "--name", "killed", "--stop-stage", "4"]
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, start_new_session=True)
    log = place / "exp" / "killed" / "model" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not log.exists() or log.read_text().count("\n") < 3:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (place / "exp" / "killed" / "model" / "final.pt").exists()
    assert ran(run("--name", "killed", "--stop-stage", "4")) == ["train"]
    finals = [(path / "model" / "final.pt") for path in (finished, place / "exp" / "killed")]
    assert _weights(finals[0]) == _weights(finals[1])


def _weights(path: Path) -> dict[str, bytes]:
    import torch

    content = torch.load(path, weights_only=True)
    return {name: tensor.numpy().tobytes() for name, tensor in content["network"].items()}


READ_ONLY = 'mount --bind data data && mount -o remount,ro,bind data && exec "$@"'


def test_prepared_data_may_be_read_only(finished: Path, run: Run, place: Path) -> None:
    under = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh"]
    if subprocess.run([*under, "true"], cwd=place, capture_output=True).returncode:
        pytest.skip("this user may not mount")
    command = [*under, "./run.sh", "--config", "conf/run/smoke.conf", "--nj", "1", "--name", "reader"]
    command += FEW
    done = subprocess.run(command, cwd=place, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert ran(done) == ["train", "embed", "held-out", "back-end", "score", "results", "decision"]
    assert _weights(finished / "model" / "final.pt") == _weights(place / "exp" / "reader" / "model" / "final.pt")
    done = subprocess.run([*command, "--egs-compression", "none"], cwd=place, capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == (
        "run.sh: error: stage 3 egs has to run (options changed: compression none), and "
        "data/synth_smoke/fbank80/egs_cpu cannot be written to\n"
    )


def test_failing_step_names_its_log_and_leaves_nothing_half_done(run: Run, place: Path) -> None:
    bad = place / "bad.yaml"
    bad.write_text("num_mel_bin: 80\n")
    done = run("--name", "bad", "--feats-conf", "bad.yaml", ok=False)
    assert done.returncode != 0
    assert "stage 2 features failed" in done.stderr and "num_mel_bin" in done.stderr
    assert not list(place.glob("data/*/bad/train/feats.scp"))


@pytest.mark.parametrize(
    "args, message",
    [
        (["--corpus", "klingon"], "there is no local/prepare_klingon.py"),
        (["--corpus", "kaldi"], "needs --corpus-dir DIR"),
        (["--network", "conf/network/absent.yaml"], "conf/network/absent.yaml: no such file"),
        (["--features", "plp"], "not fbank, mfcc, spectrogram or melspec"),
        (["--augment-conf", "conf/augment/absent.yaml"], "conf/augment/absent.yaml: no such file"),
        (["--noise-dir", "absent"], "absent: no such directory"),
        (["--systems", "teacher"], "--systems teacher: no --config has sections"),
        (["--corpus", "voxcelb"], "there is no local/prepare_voxcelb.py; did you mean voxceleb?"),
        (["--corpus", "folder", "--corpus-dir", "absent"], "--corpus-dir absent: no such directory"),
        (["--corpus", "folder", "--corpus-dir", "absent", "--plan"], "--corpus-dir absent: no such directory"),
        (["--export", "--calibrate", "false"], "--export takes the decision pack of a run"),
    ],
)
def test_wrong_settings_are_refused_before_anything_runs(run: Run, place: Path, args: list[str], message: str) -> None:
    before = set(place.glob("data/*"))
    done = run(*args, ok=False)
    assert set(place.glob("data/*")) == before
    assert done.returncode == 1 and message in done.stderr and "stage" not in done.stdout


def test_relative_paths_are_those_of_the_caller(place: Path, tmp_path: Path) -> None:
    (tmp_path / "voices").mkdir()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mine.yaml").write_text((place / "conf" / "egs" / "cpu.yaml").read_text())
    command = [place / "run.sh", "--corpus", "folder", "--corpus-dir", "voices", "--plan"]
    command += ["--egs-conf", "conf/mine.yaml", "--train-conf", "conf/train/smoke.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "stage 0 data: would run" in done.stdout and "/egs_mine/" in done.stdout
    done = subprocess.run([*command, "--corpus-dir", "conf/network"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, "what only the clone has of conf/"
    done = subprocess.run([*command, "--corpus-dir", "steps"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.endswith(f"--corpus-dir {tmp_path}/steps: no such directory\n")


def test_a_pack_is_exported(finished: Path, run: Run, place: Path, tmp_path: Path) -> None:
    """Beside its run, whose error rates its card has; asked for again nothing is done. And it is served."""
    assert "stage 12 export: would run" in run("--plan", "--export").stdout
    assert ran(run("--export", "--licence", "CC0-1.0")) == ["export"]
    card = PackFile.open(finished / "smoke.timbre").settings["card"]
    assert card["licence"] == "CC0-1.0" and {one["trials"] for one in card["results"]} == {"eval", "eval_all"}
    assert ran(run("--export", "--licence", "CC0-1.0")) == []
    table = [line.split() for line in (place / "data" / "synth_smoke" / "eval" / "wav.scp").read_text().splitlines()]
    names = sorted({utt.split("-")[0] for utt, _ in table})
    takes = {
        name: [soundfile.read(place / wav)[0] for utt, wav in table if utt.startswith(f"{name}-")]
        for name in (names[0], names[-1])
    }
    check_served(finished / "smoke.timbre", takes, tmp_path / "people.db")


def test_its_pack_tells_two_people_apart_in_a_stream_and_offline(finished: Path, place: Path, tmp_path: Path) -> None:
    """Voices that training did not hear, enrolled by other utterances, two each time in turns; needs the pack above."""
    voice = load(finished / "smoke.timbre")
    data = place / "data" / "synth_smoke" / "eval"
    wavs, people = read_table(data / "wav.scp"), [*DataDir.read(data).spk2utt().items()][:2]
    gallery = voice.gallery(tmp_path / "people.db")
    parts, truth, at = [np.zeros(8000, np.float32)], [], 0.5
    for name, utts in people:
        heard = [soundfile.read(place / wavs[utt], dtype="float32")[0] for utt in (*utts[:2], *utts[4:6])]
        gallery.enroll(name, [(np.concatenate(heard), 16000)])
    for pair in ((2, 3), (6, 7)):  # of either session
        for name, utts in people:
            turn = np.concatenate([soundfile.read(place / wavs[utts[one]], dtype="float32")[0] for one in pair])
            parts += [turn, np.zeros(9600, np.float32)]
            truth.append((at, at + len(turn) / 16000, name))
            at += len(turn) / 16000 + 0.6
    wave = np.concatenate(parts)
    wave += 3e-4 * np.random.default_rng(0).standard_normal(len(wave)).astype(np.float32)
    said = last_said(gallery.stream(np.array_split(wave, 200), 16000))
    for turns in (said, voice.diarize((wave, 16000), gallery)):
        for start, end, name in truth:  # nearly all of each turn has its name
            right = sum(
                min(one.end, end) - max(one.start, start)
                for one in turns
                if one.name == name and one.end > start and one.start < end
            )
            assert right > 0.85 * (end - start), turns


def test_worst_trials_are_explained(finished: Path, run: Run) -> None:
    """In pictures and on the page, which is then made by stage 11; asked for again nothing is done. The last here."""
    options = ["--explain", "--explain-method", "gradient"]
    planned = run("--plan", *options).stdout
    assert "stage 11 explain: would run" in planned and not (finished / "explain").exists()
    assert ran(run(*options)) == ["results", "explain"]
    for name in ("eval", "eval_all"):
        analysis = json.loads((finished / "analysis" / f"{name}.plda_asnorm.json").read_text())
        told = json.loads((finished / "explain" / name / "miss.json").read_text())
        worst = analysis["worst"]["targets"][0]
        assert [told[key] for key in ("enroll", "test", "score")] == [worst[key] for key in ("enroll", "test", "score")]
        listed = (line.split() for line in (finished / "scores" / f"{name}.plda").read_text().splitlines())
        (score,) = (float(line[2]) for line in listed if line[:2] == [told["enroll"], told["test"]])
        assert told["value"] == pytest.approx(score, rel=1e-4, abs=1e-4)
    page = (finished / "report.html").read_text()
    assert page.count("The worst false alarm, and what") == page.count("The worst miss, and what") == 2 * 2
    assert ran(run(*options)) == []
    (finished / "report.html").unlink()
    assert "stage 11 explain: would run (exp/smoke/report.html does not exist)" in run("--plan", *options).stdout
