"""The plan of a run: where things go, what follows from what is there, what is refused before anything runs."""

import subprocess
import sys
from pathlib import Path

import pytest
from plans import BACKEND, GIVEN, MakeSet, plan, rows, said, variables

from timbre.egs.options import EgsOptions
from timbre.explain.methods import METHODS
from timbre.recipe.last_lines import summarize
from timbre.recipe.settings import EXPLAIN_METHODS
from timbre.utils.errors import DataError


def test_nothing_is_known_of_a_corpus_that_is_not_there_but_its_folders() -> None:
    made = plan()
    assert [row.set for row in made.rows() if row.stage == 2] == ["train"]
    found = variables(made)
    assert found["exp"] == "exp/synth_ecapa128" and found["egs"] == "data/synth/fbank80/egs_cpu"
    assert found["calibrate"] == found["has_train"] == found["has_trials"] == "true"
    assert found["rir_dir"] == "" and said(made) == []


def test_every_list_is_scored_by_every_system_once(make_set: MakeSet) -> None:
    make_set("synth/train")
    make_set("synth/eval", trials=("trials", "trials_all"))
    made = plan(protocols="len2s tta10x400")
    outputs = [row.output for row in rows(made, "score") if row.set == "eval"]
    systems = ["statistics", "cosine", "cosine_asnorm", "plda", "plda_asnorm", "cosine_llr", "plda_llr", "fusion"]
    for protocol in ("len2s", "tta10x400"):
        systems += [f"{system}@{protocol}" for system in ("cosine", "cosine_asnorm", "plda", "plda_asnorm")]
    systems.append("euclidean@tta10x400")
    stem = "exp/synth_ecapa128/scores/eval"
    assert outputs == [f"{stem}{kind}.{system}" for kind in ("", "_all") for system in systems]
    made_before: set[str] = set()
    for row in rows(made, "score"):  # what is normalised or calibrated has been scored by then
        for source in row.source.strip("[]").split(","):
            assert source in made_before | {"-"}
        made_before.add(row.output)
    vectors = {row.vectors for row in rows(made, "score")}
    assert vectors - {"-"} <= {f"{row.output}.scp" for row in made.rows() if row.stage == 6}
    assert variables(made)["llr"] == "cosine_llr,plda_llr,fusion,plda"
    assert variables(made)["protocol_list"] == "len2s,tta10x400"
    for row in rows(made, "score"):  # with the embeddings of the protocol on both sides, and the cohort's of the whole
        assert row.output.partition("@")[2] in row.vectors


@pytest.mark.parametrize(
    ("protocols", "text"),
    [
        ("len2s len0s", "--protocols: protocol 'len0s': crops must be one or more"),
        ("len-1s", "--protocols: protocol 'len-1s' is none of full, len2s"),
        ("lenXs", "--protocols: protocol 'lenXs' is none of full, len2s"),
        (
            "len99999999999s",
            "--protocols: protocol 'len99999999999s': at most 1,000 crops, of 3,600 s or 360,000 frames",
        ),
        ("len2s full", "--protocols: 'full' is always there"),
        ("len2s tta2x50 len2s", "--protocols: 'len2s' comes twice"),
    ],
)
def test_protocols_are_refused_before_anything_runs(protocols: str, text: str) -> None:
    with pytest.raises(DataError) as info:
        plan(protocols=protocols)
    assert str(info.value).startswith(text)


def test_conditions_and_other_corpora_have_units_of_their_own(make_set: MakeSet, place: Path) -> None:
    make_set("folder_voices/train")
    make_set("folder_voices/eval", trials=("trials",))
    make_set("kaldi_calls/train")
    make_set("kaldi_calls/eval_calls", trials=("trials",))
    (place / "voices").mkdir()
    (place / "my calls" / "calls").mkdir(parents=True)
    options = {"corpus": "folder", "corpus-dir": "voices", "eval-corpora": "kaldi='my calls/calls'"}
    conditions = "conf/condition/noise10.yaml conf/condition/telephone.yaml"
    made = plan(**options, **{"test-conf": conditions, "test-noise-dir": "voices"})
    assert [(row.unit, row.output) for row in made.rows() if row.stage == 1] == [
        ("condition_noise10", "data/folder_voices/conditions/noise10/eval_noise10"),
        ("condition_noise10_kaldi", "data/kaldi_calls/conditions/noise10/eval_calls_noise10"),
        ("condition_telephone", "data/folder_voices/conditions/telephone/eval_telephone"),
        ("condition_telephone_kaldi", "data/kaldi_calls/conditions/telephone/eval_calls_telephone"),
    ]
    assert [row.set for row in rows(made, "features")] == ["train", "eval"], "only the first corpus is trained on"
    assert [row.set for row in rows(made, "features_kaldi")] == ["eval_calls"]
    lists = {row.trials for row in rows(made, "score") if row.set == "eval_noise10"}
    assert lists == {"data/folder_voices/conditions/noise10/eval_noise10/trials"}, "known before the copy is made"
    assert [value for name, value in made.variables() if name == "root"] == ["data/folder_voices", "data/kaldi_calls"]
    assert variables(made)["rir_dir"] == variables(made)["test_rir_dir"] == "", "neither has a room"
    waves = {"egs-conf": "conf/egs/waveform_cpu.yaml", "noise-dir": "voices"}
    for conf, rooms in (("noise", ""), ("reverb", "data/folder_voices/rooms")):
        training = plan(**options, **waves, **{"train-augment": f"conf/augment/{conf}.yaml"})
        assert variables(training)["rir_dir"] == rooms, "rooms are simulated where something reverberates"
    assert "data/kaldi_calls/conditions/telephone" in variables(made)["trial_dirs"].split(",")


def test_two_sets_of_one_name_are_refused(make_set: MakeSet, place: Path) -> None:
    make_set("synth/eval")
    make_set("kaldi_x/eval")
    (place / "x").mkdir()
    with pytest.raises(DataError, match="data/synth and data/kaldi_x both have a set eval"):
        plan(**{"eval-corpora": "kaldi=x"})


def test_features_that_a_corpus_brings_are_kept(make_set: MakeSet, place: Path) -> None:
    make_set("hw4_ntu/train", "feats.scp")
    make_set("hw4_ntu/eval_hw4", "feats.scp")
    (place / "ntu").mkdir()
    made = plan(**{"corpus": "hw4", "corpus-dir": "ntu", "audio-conf": "conf/audio/telephone.yaml"})
    assert not [row for row in made.rows() if row.stage == 1]
    assert [(row.kind, row.source) for row in rows(made, "given")] == [
        ("given", "data/hw4_ntu/train/feats.scp"),
        ("given", "data/hw4_ntu/eval_hw4/feats.scp"),
    ]
    found = variables(made)
    assert (found["feats"], found["given"]) == ("data/hw4_ntu/given", "true")
    assert found["normalize"] == "conf/normalize/no_vad.yaml"
    assert found["has_trials"] == "false" and "brings its own features" in said(made)[0]


@pytest.mark.parametrize(
    ("network", "features", "file"),
    [
        ("ecapa128", "", "fbank80"),
        ("resnet_se34l", "", "fbank40"),
        ("tdy_resnet34_05", "", "fbank64"),
        ("redimnet_b2", "", "fbank72"),
        ("redimnet_b0", "", "fbank60"),
        ("dtdnn", "", "mfcc30"),
        ("thin_resnet34_vlad", "", "spectrogram257"),
        ("resnet_se34l", "mfcc", "mfcc40"),
        ("ecapa128", "mfcc", "mfcc30"),
        ("convmixer", "", "fbank80"),
    ],
)
def test_features_follow_the_network(network: str, features: str, file: str) -> None:
    made = plan(network=f"conf/network/{network}.yaml", features=features)
    assert variables(made)["feats_conf"] == f"conf/feats/{file}.yaml"
    other = not file.endswith(str({"ecapa128": 80, "resnet_se34l": 40}.get(network, file)))
    assert bool(said(made)) == (other or network == "convmixer")


def test_features_that_are_asked_for_are_taken() -> None:
    made = plan(**{"network": "conf/network/tdy_vgg_m.yaml", "feats-conf": "conf/feats/mfcc23_8k.yaml"})
    assert (variables(made)["features"], variables(made)["feats"]) == ("mfcc", "data/synth/mfcc23_8k") and not said(
        made
    )


@pytest.mark.parametrize(
    ("speakers", "asked", "calibrates"),
    [(19, "auto", False), (39, "auto", False), (40, "auto", True), (20, "true", True), (400, "false", False)],
)
def test_calibration_needs_speakers(make_set: MakeSet, speakers: int, asked: str, calibrates: bool) -> None:
    make_set("synth/train", speakers=speakers)
    made = plan(calibrate=asked)
    assert (variables(made)["calibrate"] == "true") == calibrates
    assert bool(said(made)) == (asked == "auto" and not calibrates)
    assert ("calibration/others.scp" in variables(made)["cohort"]) == calibrates


def test_calibration_that_cannot_be_is_refused_at_once(make_set: MakeSet) -> None:
    make_set("synth/train", speakers=19)
    with pytest.raises(DataError, match="19 training speakers of which 1 are held out; it needs 2, of 20"):
        plan(calibrate="true")


@pytest.mark.parametrize(
    ("speakers", "held"), [(10, 1), (100, 10), (240, 20), (400, 20), (600, 30), (6000, 300), (100000, 300)]
)
def test_held_out_speakers_grow_with_the_corpus(speakers: int, held: int) -> None:
    assert EgsOptions().num_held_out(speakers) == held
    assert EgsOptions(num_valid_speakers=20).num_held_out(speakers) == min(20, speakers // 10)


def test_a_corpus_without_training_set_needs_a_model(make_set: MakeSet, place: Path) -> None:
    make_set("synth/eval", trials=("trials",))
    with pytest.raises(DataError, match="data/synth has no train set to train on; --model DIR"):
        plan()
    model = place / "exp" / "other" / "model"
    model.mkdir(parents=True)
    (model / "final.pt").write_text("")
    (model / "config.yaml").write_text("feat_dim: 40\n")
    made = plan(model=str(model))
    assert [row.output for row in rows(made, "score")] == ["exp/synth_other/scores/eval.cosine"]
    assert not [row for row in made.rows() if row.stage in (3, 4, 7)]
    assert variables(made)["feats_conf"] == "conf/feats/fbank40.yaml"


def test_a_model_of_another_toolkit_brings_its_features(make_set: MakeSet, place: Path) -> None:
    make_set("synth/train")
    make_set("synth/eval", trials=("trials",))
    model = place / "exp" / "theirs"
    model.mkdir(parents=True)
    (model / "final.pt").touch()
    config = "feat_dim: 64\nfeats: melspec64_vox.yaml\norigin: {non_commercial: true}\n"
    (model / "config.yaml").write_text(config)
    with pytest.raises(DataError, match=r"its features, melspec64_vox.yaml, are not there"):
        plan(model="exp/theirs")
    (model / "melspec64_vox.yaml").touch()
    made = plan(model="exp/theirs")
    assert {row.kind for row in made.rows() if row.stage == 2} == {"melspec"}
    found = variables(made)
    assert (found["feats_conf"], found["feats"]) == ("exp/theirs/melspec64_vox.yaml", "data/synth/melspec64_vox")
    assert found["exp"] == "exp/synth_theirs" and "not for commercial use" in said(made)[0]
    assert not [row for row in made.rows() if row.stage in (3, 4)]
    assert variables(plan(model="exp/theirs", features="fbank"))["feats_conf"] == "conf/feats/fbank64.yaml"
    (model / "config.yaml").write_text("feat_dim: 64\nfeats: ../../x/melspec64_vox.yaml\n")
    made = plan(model="exp/theirs")
    assert variables(made)["feats_conf"] == "exp/theirs/melspec64_vox.yaml" and said(made) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corpus": "klingon"}, "there is no local/prepare_klingon.py"),
        ({"eval-corpora": "klingon=."}, "there is no local/prepare_klingon.py"),
        ({"eval-corpora": "sitw"}, "'sitw' is not CORPUS=DIR"),
        ({"vad-conf": "conf/feats/fbank80.yaml"}, "fbank80.yaml: --vad-conf: VadOptions: Option 'sample_frequency'"),
        (
            {"train-pairs": "true", "objective": "conf/objective/aam.yaml"},
            "--train-pairs: conf/objective/aam.yaml does not compare pairs",
        ),
        ({"eval-corpora": "sitw='x"}, "--eval-corpora sitw='x: No closing quotation"),
        ({"eval-corpora": "sitw=absent"}, "--eval-corpora: absent: no such directory"),
        ({"corpus": "kaldi"}, "--corpus kaldi needs --corpus-dir DIR"),
        ({"corpus": "kaldi", "corpus-dir": "absent"}, "--corpus-dir absent: no such directory"),
        ({"download-dir": "."}, "the corpus synth has no archives"),
        ({"features": "plp"}, "not fbank, mfcc, spectrogram or melspec"),
        ({"name": "../x"}, "--name ../x: a name, not a path"),
        ({"name": "x/../y"}, "--name x/../y: a name, not a path"),
        ({"name": "x/y/z"}, "--name x/y/z: a name, not a path"),
        ({"name": "x/"}, "--name x/: a name, not a path"),
        ({"test-conf": "a,b.yaml"}, "its name is to be part of others"),
        ({"model": "data"}, "--model data: no finished model"),
        ({"diarize-method": "kmeans"}, "not ahc, spectral or vbx"),
        ({"explain-method": "gradcan"}, "--explain-method gradcan: not gradient, gradcam, "),
        ({"backend-conf": "fusion.yaml"}, "that name is taken"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(DataError) as caught:
        plan(**options)
    assert message in str(caught.value)


def test_the_command_prints_variables_then_the_table(root: Path) -> None:
    command = [sys.executable, "-m", "timbre.recipe.plan"]
    text = "".join(f"{name}={value}\n" for name, value in (BACKEND | GIVEN).items())
    done = subprocess.run(command, input=text, capture_output=True, text=True, cwd=Path.cwd())
    head, _, table = done.stdout.partition(
        "stage\tunit\ttask\tset\tkind\ttrials\tmodels\tdata\tvectors\tfrom\twith\toutput\n"
    )
    assert "exp=exp/synth_ecapa128\n" in head and table.startswith("0\tdata\tprepare\t-\tsynth\t")
    wrong = subprocess.run(command, input=text + "corpus=klingon\n", capture_output=True, text=True, cwd=Path.cwd())
    assert wrong.returncode == 1 and wrong.stderr.startswith("run.sh: error: --corpus klingon") and not wrong.stdout


def test_last_lines_of_a_run_without_results(place: Path) -> None:
    assert summarize(place) == []
    (place / "results.json").write_text("[1]")
    assert summarize(place) == []


def test_where_some_may_be_missing_lists_are_scored_of_those_that_are_there(make_set: MakeSet) -> None:
    make_set("synth/train")
    make_set("synth/eval", trials=("trials",))
    made = plan(**{"allow-missing": "2%", "identify": "true"})
    (train, test) = rows(made, "embedded")
    embedded = "exp/synth_ecapa128/embedded"
    assert (train.data, train.output) == ("data/synth/fbank80/train", f"{embedded}/train")
    assert (test.data, test.output) == ("data/synth/eval", f"{embedded}/eval")
    assert {row.trials for row in rows(made, "score") if row.set == "eval"} == {f"{embedded}/eval/trials"}
    assert variables(made)["trial_dirs"] == embedded and rows(made, "identify")[0].data == f"{embedded}/eval"
    assert rows(made, "held-out")[0].data == f"{embedded}/train"
    assert not rows(plan(), "embedded") and variables(plan())["trial_dirs"] == "data/synth"
    make_set("synth/eval_more", trials=("trials.npz",))
    with pytest.raises(DataError, match=r"eval_more/trials.npz: --allow-missing takes trials out of lists in text"):
        list(plan(**{"allow-missing": "1"}).rows())


@pytest.mark.parametrize("text", ["kind: slum\n", "", "kind: address\n", "kind: slurm\nwalltim: 1\n"])
def test_clusters_that_make_no_sense_are_refused_before_anything_runs(place: Path, text: str) -> None:
    (place / "cluster.yaml").write_text(text)
    with pytest.raises(DataError, match=r"^cluster.yaml: "):
        plan(cluster="cluster.yaml")


def test_the_baseline_is_left_out_of_large_corpora(make_set: MakeSet) -> None:
    train = make_set("synth/train")
    make_set("synth/eval", trials=("trials",))

    def has_baseline(**options: str) -> bool:
        made = plan(**options)
        kinds = {(row.stage, row.task == "statistics" or row.kind == "statistics") for row in made.rows()}
        has = {stage for stage, found in kinds if found}
        assert has in (set(), {6, 7, 8}) and variables(made)["baseline"] == str(bool(has)).lower()
        return bool(has)

    (train / "utt2spk").write_text("u s\n" * 100_000)
    assert has_baseline() and not has_baseline(baseline="false")
    (train / "utt2spk").write_text("u s\n" * 100_001)
    assert not has_baseline() and has_baseline(baseline="true")
    assert said(plan())[0] == "no baseline of statistics: 100,001 training utterances (--baseline makes it)"


def test_large_corpora_are_compressed_unless_it_is_said_otherwise(make_set: MakeSet, place: Path) -> None:
    train = make_set("synth/train")
    (place / "egs.yaml").write_text("compression: CM3\n")

    def compression(**options: str) -> tuple[str, str]:
        chosen = variables(plan(**options))
        return chosen["compression"], chosen["egs_compression"]

    (train / "utt2spk").write_text("u s\n" * 100_000)
    assert compression() == ("", "") and compression(compression="CM3") == ("CM3", "")
    assert not any("bytes a value" in line for line in said(plan()))
    (train / "utt2spk").write_text("u s\n" * 100_001)
    assert compression() == ("CM2", "")  # conf/egs/cpu.yaml has it
    default = {"egs-conf": "conf/egs/default.yaml"}
    assert compression(**default) == ("CM2", "CM2") and any("two bytes a value (CM2)" in line for line in said(plan()))
    assert compression(**{"egs-conf": "egs.yaml"}) == ("CM2", "")
    none = default | {"compression": "none", "egs-compression": "none"}
    assert compression(**none) == ("none", "none") and not any("bytes" in line for line in said(plan(**none)))


def test_decisions_of_another_vad_lie_in_a_folder_of_their_own(root: Path) -> None:
    folders = {
        variables(plan(**options))["feats"].rpartition("/")[2] for options in ({}, {"vad-conf": "conf/feats/vad.yaml"})
    }
    assert folders == {"fbank80"}
    assert variables(plan(**{"vad-conf": "conf/feats/vad_silero.yaml"}))["feats"].endswith("/fbank80_vad_silero")


def test_worst_trials_of_every_list_are_explained_by_the_back_end(make_set: MakeSet) -> None:
    make_set("synth/train")
    folder = make_set("synth/eval", trials=("trials", "trials_all"))
    assert rows(plan(), "explain") == []
    one, other = rows(plan(explain="true"), "explain")
    assert (one.stage, one.source) == (11, "exp/synth_ecapa128/analysis/eval.plda_asnorm.json")
    assert (one.data, one.using) == ("data/synth/fbank80/eval", "exp/synth_ecapa128/backend") and one.models == "-"
    assert one.output == "exp/synth_ecapa128/explain/eval" and other.output == "exp/synth_ecapa128/explain/eval_all"
    analysed = {f"analysis/{Path(row.source).name}.json" for row in rows(plan(), "results") if row.task == "analyze"}
    assert {row.source.removeprefix("exp/synth_ecapa128/") for row in (one, other)} == analysed
    (folder / "enroll.spk2utt").write_text("model a b\n")
    assert rows(plan(explain="true"), "explain")[0].models == "data/synth/eval/enroll.spk2utt"


def test_methods_of_explanation_are_those_there_are() -> None:
    assert EXPLAIN_METHODS == METHODS
