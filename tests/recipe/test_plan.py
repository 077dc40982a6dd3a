"""The plan of a run: where things go, what follows from what is there, what is refused before anything runs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from timbre.egs.options import EgsOptions
from timbre.recipe.last_lines import summarize
from timbre.recipe.plan import Plan
from timbre.recipe.scoring_rows import Row
from timbre.recipe.settings import Settings
from timbre.utils.errors import DataError

GIVEN = {"network": "conf/network/ecapa128.yaml", "egs_conf": "conf/egs/cpu.yaml"}
MakeSet = Callable[..., Path]


@pytest.fixture(autouse=True)
def place(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with nothing in data/."""
    (tmp_path / "conf").symlink_to(root / "conf")
    (tmp_path / "local").symlink_to(root / "local")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def make_set(place: Path) -> MakeSet:
    """Writes the tables of a set that the plan looks at."""

    def make(path: str, tables: str = "wav.scp", trials: tuple[str, ...] = (), speakers: int = 100) -> Path:
        folder = place / "data" / path
        folder.mkdir(parents=True)
        for name in (*tables.split(), "utt2spk", *trials):
            (folder / name).write_text("")
        (folder / "spk2utt").write_text("".join(f"s{number} u{number}\n" for number in range(speakers)))
        return folder

    return make


def plan(**options: str) -> Plan:
    return Plan.of(Settings.read([f"{name}={value}" for name, value in (BACKEND | GIVEN | options).items()]))


BACKEND = {"backend-conf": "conf/backend/plda.yaml"}


def rows(made: Plan, unit: str) -> list[Row]:
    return [row for row in made.rows() if row.unit == unit]


def variables(made: Plan) -> dict[str, str]:
    return dict(made.variables())


def said(made: Plan) -> list[str]:
    return [value for name, value in made.variables() if name == "say"]


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
    systems += ["cosine@len2s", "euclidean@tta10x400", "cosine@tta10x400"]
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


def test_conditions_and_other_corpora_have_units_of_their_own(make_set: MakeSet, place: Path) -> None:
    make_set("folder_voices/train")
    make_set("folder_voices/eval", trials=("trials",))
    make_set("kaldi_calls/train")
    make_set("kaldi_calls/eval_calls", trials=("trials",))
    (place / "voices").mkdir()
    (place / "my calls" / "calls").mkdir(parents=True)
    options = {"corpus": "folder", "corpus-dir": "voices", "eval-corpora": "kaldi='my calls/calls'"}
    made = plan(**options, **{"test-conf": "conf/condition/noise10.yaml conf/condition/telephone.yaml"})
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
    assert variables(made)["rir_dir"] == "data/folder_voices/rooms"
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
        ({"eval-corpora": "sitw='x"}, "--eval-corpora sitw='x: No closing quotation"),
        ({"eval-corpora": "sitw=absent"}, "--eval-corpora: absent: no such directory"),
        ({"corpus": "kaldi"}, "--corpus kaldi needs --corpus-dir DIR"),
        ({"corpus": "kaldi", "corpus-dir": "absent"}, "--corpus-dir absent: no such directory"),
        ({"download-dir": "."}, "the corpus synth has no archives"),
        ({"features": "plp"}, "not fbank, mfcc, spectrogram or melspec"),
        ({"name": "../x"}, "--name ../x: a name, not a path"),
        ({"test-conf": "a,b.yaml"}, "its name is to be part of others"),
        ({"model": "data"}, "--model data: no finished model"),
        ({"diarize-method": "kmeans"}, "not ahc, spectral or vbx"),
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
    assert said(plan()) == ["no baseline of statistics: 100,001 training utterances (--baseline makes it)"]
