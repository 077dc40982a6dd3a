"""run.sh with other corpora than the one that it makes, with damaged ones, and with what follows the network."""

import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from stages_ran import FEW, ran

import timbre
from timbre.datadir.ark import read_vectors
from timbre.embedding.embedder import Embedder, Front

Run = Callable[..., subprocess.CompletedProcess[str]]
BRIEF = (*FEW, "--train-conf", "brief.yaml")


@pytest.fixture(scope="module")
def finished(run: Run, place: Path) -> Path:
    """exp/smoke with its model and its scores of few systems."""
    run(*BRIEF, "--stop-stage", "8")
    return place / "exp" / "smoke"


@pytest.fixture
def other_corpus(finished: Path, place: Path) -> Path:
    """A corpus of Kaldi data directories without a training set."""
    source, target = place / "data" / "synth_smoke" / "eval", place / "other" / "data" / "eval_calls"
    shutil.copytree(source, target, dirs_exist_ok=True)
    (target / "wav.scp").write_text((target / "wav.scp").read_text().replace(" data/", f" {place}/data/"))
    (target / "trials_all").unlink()
    return place / "other"


def test_other_corpora_are_tested_beside_with_one_back_end_and_identification(
    finished: Path, run: Run, place: Path, other_corpus: Path
) -> None:
    train = {path: path.stat().st_mtime_ns for path in (place / "data" / "synth_smoke" / "train").iterdir()}
    options = ["--name", "beside", "--eval-corpora", f"kaldi='{other_corpus}'", "--model", "exp/smoke/model"]
    options += ["--backend-conf", "conf/backend/cosine.yaml", "--identify"]
    stages = ran(run(*options))
    assert stages[:2] == ["data_kaldi", "features_kaldi"] and not {"egs", "train"} & set(stages)
    records = json.loads((place / "exp" / "beside" / "results.json").read_text())
    eers = {(record["trials"], record["backend"]): record["eer"] for record in records}
    systems = ("statistics", "cosine", "cosine_asnorm", "cosine_llr")
    assert set(eers) == {(name, system) for name in ("eval", "eval_all", "eval_calls") for system in systems}
    assert all(eers["eval", system] == eers["eval_calls", system] for system in systems), "they are the same speech"
    page = (place / "exp" / "beside" / "TEST_SETS.md").read_text().replace("\\", "")
    rows = [line.split(" | ") for line in page.partition("## cosine\n")[2].partition("##")[0].splitlines()]
    found = {row[0].removeprefix("| "): row[1] for row in rows if len(row) > 5 and row[1] != "EER %"}
    assert {name: found[name] for name in ("eval", "eval_all", "eval_calls")} == {
        name: f"{100 * eers[name, 'cosine']:.2f}" for name in ("eval", "eval_all", "eval_calls")
    }
    scores = "scores/eval.cosine_asnorm"
    assert (place / "exp" / "beside" / scores).read_bytes() == (finished / scores).read_bytes()
    for name in ("eval", "eval_calls"):
        found = json.loads((place / "exp" / "beside" / "identification" / name / "identification.json").read_text())
        assert found["gallery"] > 0
    assert {path: path.stat().st_mtime_ns for path in (place / "data" / "synth_smoke" / "train").iterdir()} == train
    assert ran(run(*options)) == [] and ran(run(*BRIEF, "--stop-stage", "8")) == [], "the other run is untouched"


def test_a_model_of_another_toolkit_goes_from_its_own_features_to_decisions(
    finished: Path, run: Run, place: Path, root: Path
) -> None:
    weights = root / "tests" / "data" / "imports" / "resemblyzer_lstm.pt"
    words = [weights, "exp/lstm", "--from", "resemblyzer", "--licence", "mine", "--non-commercial"]
    subprocess.run([sys.executable, root / "steps" / "import_model.py", *words], cwd=place, check=True)
    robust = ["--train-augment", "conf/augment/codec.yaml", "--quality-conditions", "true"]  # as conf/run/robust.conf
    robust += ["--dev-conf", "conf/condition/telephone_wide.yaml"]
    done = run("--model", "exp/lstm", "--name", "lstm_run", *FEW, "--export", *robust)
    condition = [f"dev_{what}_telephone_wide" for what in ("audio", "features")]
    made = ["features", "dev_held_out", *condition, "embed", "held-out", "pool", "back-end", "score", "results"]
    assert ran(done) == [*made, "decision", "export"]
    assert "the weights are not for commercial use" in done.stdout
    assert "--train-augment is for training, and with --model nothing is trained" in done.stdout
    exp = place / "exp" / "lstm_run"
    assert "model exp/lstm, features exp/lstm/melspec40_resemblyzer.yaml" in (exp / "RESULTS.md").read_text()
    assert "Not for commercial use" in (exp / "decision" / "README.md").read_text()
    assert "mine" in (exp / "decision" / "model" / "ORIGIN.md").read_text()

    table = place / "data" / "synth_smoke" / "eval" / "wav.scp"
    utt, wav = table.read_text().splitlines()[0].split()
    front = Front.read(exp / "decision" / "front.yaml")
    embedded = Embedder(exp / "decision" / "model", front, min_speech=0)(str(place / wav))
    vectors = dict(zip(*read_vectors(exp / "embeddings" / "eval" / "xvector.ark"), strict=True))
    assert np.abs(embedded.vector - vectors[utt]).max() < 1e-5, "a pack hears what the run heard"
    voice = timbre.load(exp / "lstm_run.timbre")
    assert voice.scorer.measures == ("logdur", "snr", "magnitude") and voice.scorer.calibration.least_slope
    assert np.abs(voice.encoder(voice.read(place / wav), 0.0).vector - vectors[utt]).max() < 1e-4
    sounds = [soundfile.read(place / line.split()[1])[0] for line in table.read_text().splitlines()[:6]]
    verdict = voice.verify(*((np.concatenate(sounds[take : take + 3]), 16000) for take in (0, 3)))
    assert verdict.llr is not None and np.isfinite(verdict.llr) and verdict.expected_errors is not None


def test_a_corpus_without_training_set_is_tested_with_a_model_that_exists(
    finished: Path, run: Run, place: Path, other_corpus: Path
) -> None:
    options = ["--name", "only", "--corpus", "kaldi", "--corpus-conf", "", "--corpus-dir", str(other_corpus)]
    options += ["--calibrate", "false"]
    assert "no train set to train on; --model DIR" in run(*options, ok=False).stderr
    done = run(*options, "--model", "exp/smoke/model", "--stop-stage", "8")
    assert ran(done) == ["data", "features", "embed", "score"], "the data are made again: the corpus was copied anew"
    assert "cosine alone, without mean, AS-norm or calibration" in done.stdout
    scores = place / "exp" / "only" / "scores"
    assert {path.name for path in scores.iterdir() if path.is_file()} == {"eval_calls.cosine"}
    assert len((scores / "eval_calls.cosine").read_text().splitlines()) == 2112


def test_a_corpus_of_features_keeps_them(finished: Path, run: Run, place: Path) -> None:
    for name in ("train", "eval"):
        source, target = place / "data" / "synth_smoke" / "fbank80" / name, place / "bare" / "data" / name
        target.mkdir(parents=True)
        for table in ("utt2spk", "spk2utt", "utt2num_frames", "feats.scp"):
            (target / table).write_text((source / table).read_text().replace(" data/", f" {place}/data/"))
    shutil.copy(place / "data" / "synth_smoke" / "eval" / "trials", place / "bare" / "data" / "eval")
    options = ["--name", "bare", "--corpus", "kaldi", "--corpus-conf", "", "--corpus-dir", str(place / "bare")]
    done = run(*options, "--audio-conf", "conf/audio/telephone.yaml", "--stop-stage", "3")
    assert ran(done) == ["data", "given", "egs"] and "brings its own features, and no audio" in done.stdout
    given = place / "data" / "kaldi_bare" / "given"
    assert (given / "train" / "feats.scp").read_text() == (place / "bare" / "data" / "train" / "feats.scp").read_text()
    assert not json.loads((given / "egs_cpu_no_vad" / "manifest.json").read_text())["normalize"]["vad"]


def test_normalisation_and_compression_reach_the_steps(finished: Path, run: Run, place: Path) -> None:
    options = ["--name", "small", "--normalize-conf", "conf/normalize/utterance_no_vad.yaml", "--stop-stage", "3"]
    options += ["--compression", "CM2", "--egs-compression", "none", "--feats-conf", "conf/feats/fbank40.yaml"]
    assert ran(run(*options)) == ["features", "egs"]
    feats = place / "data" / "synth_smoke" / "fbank40"
    manifest = json.loads((feats / "egs_cpu_utterance_no_vad" / "manifest.json").read_text())
    assert (manifest["normalize"]["cmn"], manifest["normalize"]["vad"]) == ("utterance", False)
    assert manifest["options"]["compression"] == "none"
    ark = Path(str(place / (feats / "eval" / "feats.scp").read_text().split()[1].rpartition(":")[0]))
    assert b" BCM2 " in ark.read_bytes()[:60].replace(b"\x00", b" ")


def test_features_follow_the_network(run: Run) -> None:
    plan = run("--name", "own", "--network", "conf/network/resnet_se34v2.yaml", "--plan").stdout
    assert "/fbank64/" in plan
    plan = run("--name", "own", "--network", "conf/network/convmixer.yaml", "--plan").stdout
    assert "warning: conf/network/convmixer.yaml is for features of 128" in plan and "gets conf/feats/fbank80" in plan


def test_back_ends_hear_noisy_copies_and_are_adapted_to_another_domain(finished: Path, run: Run, place: Path) -> None:
    """Nobody who is held out is among the copies, and systems that are adapted stand beside the others."""
    (place / "hiss.yaml").write_text("effects: [{class_path: GaussianNoise}]")
    (place / "calls").mkdir()
    for number, line in enumerate((place / "data/synth_smoke/train/wav.scp").read_text().splitlines()[::8]):
        shutil.copy(place / line.split()[1], place / "calls" / f"{number}.flac")
    options = ["--name", "domain", "--model", "exp/smoke/model", "--stop-stage", "8", "--backend-copies", "25%"]
    options += ["--backend-augment", "hiss.yaml", "--adapt-dir", "calls", "--adapt-cohort-utts", "30"]
    options += ["--baseline", "false"]
    stages = ran(run(*options, "--adapt-covar-utts", "30"))
    made = ["data_unlabelled", "backend_hiss_25pc", "features_backend_hiss_25pc", "features_unlabelled"]
    assert stages[:4] == made and stages[4:7] == ["embed", "embed_backend", "embed_adapt"]
    assert stages[7:] == ["held-out", "back-end-data", "back-end", "adapt", "score"]
    exp = place / "exp" / "domain"
    held = {line.split()[1] for line in (exp / "calibration" / "held_out").read_text().splitlines()}
    used = dict(line.split() for line in (exp / "backend_train" / "utt2spk").read_text().splitlines())
    copies = [utt for utt in used if utt.endswith("-hiss")]
    assert held and not held & set(used.values()) and 40 < len(copies) <= 72
    adapted = {f"{name}_adapted{kind}" for name in ("cosine", "plda") for kind in ("", "_asnorm", "_llr")}
    assert adapted | {"plda_llr", "cosine_asnorm", "fusion"} <= {path.suffix[1:] for path in (exp / "scores").iterdir()}
    assert (exp / "calibration" / "adapted" / "plda_asnorm" / "calibration.yaml").is_file()
    log = (exp / "log" / "8-score.log").read_text()
    assert "eval.plda_adapted_asnorm: as-norm, 20 of a cohort of 36" in log
    assert "eval.plda_asnorm: as-norm, 20 of a cohort of 33" in log
    assert "the mean of 36 utterances has weight 0.78" in (exp / "log" / "7-adapt.log").read_text()
    options += ["--adapt-covar-utts", "37"]
    done = run(*options, "--plan")
    assert "36 utterances, fewer than 37: means are adapted, and covariances are not" in done.stdout
    assert "stage 7 adapt: would run" in done.stdout and "stage 7 back-end: up to date" in done.stdout


def test_archives_are_unpacked_first(run: Run, place: Path) -> None:
    for spk in "abcd":
        (place / "voices" / spk).mkdir(parents=True)
        for part in "12":
            soundfile.write(place / "voices" / spk / f"{part}.wav", np.zeros(160), 16000)
    (place / "archives").mkdir()
    with tarfile.open(place / "archives" / "voices.tar.gz", "w:gz") as archive:
        for spk in "abcd":
            archive.add(place / "voices" / spk, spk)
    options = ["--corpus", "folder", "--corpus-conf", "", "--corpus-dir", "unpacked", "--stop-stage", "0"]
    options += ["--calibrate", "false"]
    assert ran(run(*options, "--name", "archived", "--download-dir", "archives")) == ["data"]
    assert ran(run(*options, "--name", "archived", "--download-dir", "archives")) == []
    assert (place / "data" / "folder_unpacked" / "train" / "wav.scp").read_text().count("unpacked/") == 4
    assert "has no archives" in run("--download-dir", "archives", ok=False).stderr
    assert "nowhere: no such directory" in run(*options, "--download-dir", "nowhere", ok=False).stderr


def test_damaged_recordings_stop_a_run_or_are_left_out_of_all_of_it(run: Run, place: Path) -> None:
    """One recording is empty, one is not there, one is none: by number or share that may be so."""
    shutil.copy(place / "conf" / "synth" / "smoke.yaml", place / "damaged.yaml")
    options = ["--name", "damaged", "--corpus-conf", "damaged.yaml", *BRIEF]
    run(*options, "--stop-stage", "0")
    data = place / "data" / "synth_damaged"
    sounds = {line.split()[0]: place / line.split()[1] for line in (data / "eval" / "wav.scp").read_text().splitlines()}
    empty, absent, broken = list(sounds)[1:4]
    sounds[empty].write_bytes(b"")
    sounds[absent].unlink()
    sounds[broken].write_bytes(b"fLaC, it says")
    (train, *_) = (line.split()[1] for line in (data / "train" / "wav.scp").read_text().splitlines())
    (place / train).write_bytes(b"")

    stopped = run(*options, "--stage", "1", ok=False)
    assert "1 of 288 utterances have no features" in stopped.stderr and "--allow-missing 1" in stopped.stderr
    stopped = run(*options, "--stage", "1", "--allow-missing", "2", ok=False)
    assert "3 of 96 utterances have no features" in stopped.stderr

    done = run(*options, "--stage", "1", "--allow-missing", "4%", "--identify")
    exp = place / "exp" / "damaged"
    assert (
        "what is said of utterances without an embedding is left out: exp/damaged/embedded has the rest" in done.stdout
    )
    missing = {empty, absent, broken}
    for name in ("trials", "trials_all"):
        before = [line.split() for line in (data / "eval" / name).read_text().splitlines()]
        left = [line for line in before if not missing & set(line)]
        assert 0 < len(left) < len(before)
        scored = (exp / "scores" / f"eval{name.removeprefix('trials')}.cosine_llr").read_text().splitlines()
        assert [line.split()[:2] for line in scored] == [line[:2] for line in left]
    assert "without utterances that lack an embedding (--allow-missing 4%)" in (exp / "RESULTS.md").read_text()
    assert (exp / "decision" / "pack.yaml").is_file() and (exp / "identification" / "eval").is_dir()
    assert ran(run(*options, "--stage", "1", "--allow-missing", "4%", "--identify")) == []
    stopped = run(*options, "--stage", "1", ok=False)
    assert "1 of 288 utterances have no features" in stopped.stderr, "what was allowed is so no more"


def test_a_study_is_one_command(run: Run, place: Path) -> None:
    """Two systems, the second of which begins with the model of the first, and their table by test length."""
    tuned, study = place / "tuned.yaml", place / "study.conf"
    tuned.write_text("{freeze: [objective], train: {num_steps: 4, lr: 1.0e-4, warmup_steps: 0}}")
    study.write_text(
        "name=study\ncalibrate=false\nbaseline=false\nbackend-conf=conf/backend/cosine.yaml\nprotocols=len0.5s\n"
        "train-conf=brief.yaml\n"
        f"[long]\n[short]\ninit-model={{long}}/model\nfine-tune-conf={tuned}\n"
    )
    run("--config", str(study))
    exp = place / "exp" / "study"
    table = (exp / "TABLE.md").read_text()
    assert all(f"| {system}, cosine_asnorm |" in table for system in ("long", "short")) and "0.5 s" in table
    assert {path.name for path in exp.iterdir()} >= {"long", "short", "TABLE.md", "TABLE.tsv", "TABLE_eval.png"}
    assert "fine-tuned from exp/study/long/model" in (exp / "short" / "RESULTS.md").read_text()
    again = run("--config", str(study), "--systems", "short")
    assert ran(again) == [] and "system long" not in again.stdout
