"""The recipes of published systems in conf/run/: what is planned, what it takes, what is refused at once."""

from pathlib import Path

import pytest
import yaml
from plans import BACKEND, GIVEN, MakeSet, plan, rows, variables

from timbre.nnet.objectives import AamSoftmax, SphereFace2, build_objective
from timbre.recipe import rehearsal
from timbre.recipe.cost import costs
from timbre.recipe.fine_tuning import FineTuneOptions
from timbre.recipe.rehearsal import rehearsed
from timbre.training.options import TrainOptions
from timbre.training.schedule import learning_rate
from timbre.utils.errors import DataError

PUBLISHED = ("voxceleb_resnet34", "voxceleb_ecapa1024", "voxceleb_campplus", "voxceleb_redimnet_b2", "cnceleb_resnet34")
UTTS = {"voxceleb": 1_092_009, "cnceleb": 107_953 + 524_787}
EPOCHS = {"voxceleb_redimnet_b2": 120, "cnceleb_resnet34": 165}  # of WeSpeaker; else 150


def settings_of(root: Path, name: str) -> dict[str, str]:
    lines = [line.partition("#")[0].strip() for line in (root / "conf" / "run" / f"{name}.conf").open()]
    return {key: value for key, _, value in (line.partition("=") for line in lines if line)}


def train_options(path: str) -> TrainOptions:
    return TrainOptions(**yaml.safe_load(Path(path).read_text()))


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_sees_as_many_crops_as_published_at_the_published_rates(root: Path, place: Path, name: str) -> None:
    """WeSpeaker: epochs of one crop an utterance; a rate of 0.1 for a batch of 64, in proportion to the batch, falling
    exponentially to 5e-5 over all epochs, times a warm-up over the first six; margin from epoch 20 on."""
    given = settings_of(root, name)
    train, tuning = train_options(given["train-conf"]), FineTuneOptions.read(Path(given["fine-tune-conf"]))
    epochs, utts = EPOCHS.get(name, 150), UTTS[given["corpus"]]
    assert train.num_steps * train.batch_size == pytest.approx(epochs * utts, rel=1e-5)
    assert tuning.train.num_steps * tuning.train.batch_size == pytest.approx(5 * utts, rel=1e-4)
    for epoch in (6, 50, 100, epochs):
        step = min(round(epoch / epochs * train.num_steps), train.num_steps - 1)
        theirs = 0.1 * train.batch_size / 64 * (5e-5 / 0.1) ** (epoch / epochs)
        assert learning_rate(step, train.num_steps, train) == pytest.approx(theirs, rel=5e-3)
    assert train.min_frames == train.max_frames == 200 and tuning.train.max_frames == 600
    objective = build_objective(yaml.safe_load(Path(given["objective"]).read_text()), 8, 10)
    assert isinstance(objective, AamSoftmax | SphereFace2)
    margins = []
    for epoch in (18.9, 19.5, 39.1):
        objective.update(round(epoch / epochs * train.num_steps), train.num_steps)
        margins.append(objective.current_margin)
    assert margins[0] == 0 and margins[2] == pytest.approx(0.2)
    assert margins[1] == pytest.approx(
        0.2 if given["corpus"] == "cnceleb" else 0.2 * (1 - 1e-3 ** (0.5 / 20)), rel=0.05
    )


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_it_takes_is_said_before(root: Path, place: Path, name: str) -> None:
    given = {"corpus-dir": str(place), "vad-conf": "conf/feats/vad.yaml", **settings_of(root, name)}
    train, tuning, disk = costs(given)
    assert f"{train_options(given['train-conf']).num_steps:,} updates" in train and "crops of 2 s" in train
    assert "crops of 6 s" in tuning
    hours, dim = (2366, 72 if "redimnet" in name else 80) if "vox" in name else (1364, 80)
    audio, an_hour = 3600 * 16000 * 2, 3600 * 100 * dim * 2
    total = hours * (2 * audio + 3 * an_hour + 3 * audio + audio) / 1e9
    assert f"= {total:,.0f} GB" in disk and f"{hours:,} h" in disk


def test_what_a_corpus_takes_is_measured_where_it_is_there(root: Path, place: Path, make_set: MakeSet) -> None:
    folder = make_set("voxceleb_VoxCeleb/train")
    (folder / "utt2dur").write_text("a 3600\nb 1800\n")
    (place / "VoxCeleb").mkdir()
    *_, disk = costs({**settings_of(root, "voxceleb_resnet34"), "corpus-dir": "VoxCeleb"})
    assert "for 2 h of training speech" in disk
    assert list(costs({"corpus": "synth", "train-conf": "conf/train/cpu.yaml", **BACKEND, **GIVEN})) == []


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_rehearsal_changes_the_corpus_and_the_size_alone(root: Path, place: Path, name: str) -> None:
    given = settings_of(root, name)
    changed = [pair for pair in rehearsed(given, keep_batches=False) if pair[0] != "say"]
    found = dict(changed)
    sources = {"noise-dir", "music-dir", "speech-dir", "rir-dir"}
    assert set(found) == {"name", "corpus-dir", "train-conf", "fine-tune-conf", *sources}
    assert found["name"] == f"{name}_rehearsal"
    size = {"num_steps", "batch_size", "accumulation", "log_interval", "valid_interval", "checkpoint_interval"}
    before, after = (yaml.safe_load(Path(path).read_text()) for path in (given["train-conf"], found["train-conf"]))
    assert {key for key in after if after[key] != before.get(key)} <= size and before.keys() <= after.keys()
    assert (after["num_steps"], after["batch_size"]) == (6, 8)
    before, after = (
        yaml.safe_load(Path(path).read_text()) for path in (given["fine-tune-conf"], found["fine-tune-conf"])
    )
    assert {key for key in after if after[key] != before.get(key)} == {"train"}
    FineTuneOptions.read(Path(found["fine-tune-conf"]))
    again = dict(rehearsed(given | found, keep_batches=False))
    assert found.items() >= again.items(), "the settings of a rehearsal repeat it"
    kept = dict(rehearsed(given, keep_batches=True))
    assert train_options(kept["train-conf"]).batch_size == train_options(given["train-conf"]).batch_size


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"corpus": "timit"}, "small corpora are made for voxceleb and cnceleb, not for timit"),
        ({"corpus": "cnceleb", "model": "exp/x"}, "without --model and --init-model"),
        ({"corpus": "cnceleb", "train-conf": "list.yaml"}, "list.yaml: not a mapping of options"),
    ],
)
def test_what_cannot_be_rehearsed_is_refused(place: Path, options: dict[str, str], text: str) -> None:
    (place / "list.yaml").write_text("[1, 2]\n")
    with pytest.raises(DataError, match=text):
        list(rehearsed(options, keep_batches=False))
    assert not (place / rehearsal.TREES).exists()


def test_quality_measures_are_made_of_the_held_out_and_of_every_test_set(make_set: MakeSet) -> None:
    make_set("synth/train")
    make_set("synth/eval", trials=("trials", "trials_all"))
    made = plan(quality="true")
    scored = rows(made, "score")
    measured = {row.set: row for row in scored if row.task == "measure"}
    assert set(measured) == {"train", "eval"}
    assert measured["train"].source == "exp/synth_ecapa128/calibration/utt2spk"
    learnt = {row.kind: row for row in scored if row.task == "learn"}
    by_quality = [row for row in scored if row.kind.endswith("_quality") and row.task == "calibrate"]
    assert {row.output for row in by_quality} == {
        f"exp/synth_ecapa128/scores/eval{kind}.{name}_quality"
        for kind in ("", "_all")
        for name in ("cosine", "plda", "fusion")
    }
    for row in by_quality:
        assert row.using == learnt[row.kind].output and row.data == measured["eval"].output
        assert learnt[row.kind].data == measured["train"].output
    assert variables(made)["llr"].startswith("cosine_quality,plda_quality,fusion_quality,cosine_llr")
    assert "quality" not in " ".join(row.kind for row in rows(plan(), "score"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"quality": "true", "calibrate": "false"}, "--quality is a calibration, and --calibrate is false"),
        ({"train-augment": "conf/augment/online_musan_rirs.yaml"}, "online_musan_rirs.yaml: .*--noise-dir"),
        (
            {"train-augment": "conf/augment/online_musan_rirs.yaml", "noise-dir": "x"},
            "online_musan_rirs.yaml: .*--music-dir",
        ),
        ({"augment-conf": "conf/augment/offline.yaml", "noise-dir": "x"}, "offline.yaml: .*--music-dir"),
        ({"test-conf": "conf/condition/noise10.yaml"}, "--test-conf conf/condition/noise10.yaml: .*--noise-dir"),
        ({"train-augment": "conf/augment/reverb.yaml"}, "--egs-conf conf/egs/cpu.yaml is not"),
        (
            {
                "train-augment": "conf/augment/reverb.yaml",
                "egs-conf": "conf/egs/waveform.yaml",
                "fine-tune-conf": "conf/fine_tune/large_margin.yaml",
            },
            "--fine-tune-conf conf/fine_tune/large_margin.yaml is not",
        ),
        ({"train-augment": "odd.yaml", "egs-conf": "conf/egs/waveform.yaml"}, "Echo"),
    ],
)
def test_what_would_fail_after_hours_is_refused_at_once(place: Path, options: dict[str, str], text: str) -> None:
    (place / "odd.yaml").write_text("effects: [{class_path: Echo}]\n")
    with pytest.raises(DataError, match=text):
        plan(**options)


def test_test_noises_are_enough_for_conditions() -> None:
    plan(**{"test-conf": "conf/condition/noise10.yaml", "test-noise-dir": "x"})
