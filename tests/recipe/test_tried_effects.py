"""Effects that cannot be used are refused by the plan, in one line that names the option and the file."""

from pathlib import Path

import pytest
from plans import MakeSet, plan, rows, said, variables

from timbre.utils.errors import DataError

WAVES = {"egs-conf": "conf/egs/waveform_cpu.yaml", "egs_conf": "conf/egs/waveform_cpu.yaml"}
SHIPPED = sorted(path.name for path in (Path(__file__).parents[2] / "conf" / "condition").iterdir())


@pytest.mark.parametrize(
    "features", ["conf/feats/fbank40_8k.yaml", "conf/feats/fbank80.yaml", "conf/feats/melspec64.yaml"]
)
def test_shipped_effects_follow_the_rate_that_they_meet(features: str, place: Path) -> None:
    for name in ("noise", "music"):
        (place / name).mkdir()
    options = {"feats-conf": features, "noise-dir": "noise", "music-dir": "music", **WAVES}
    for path in sorted(Path("conf/augment").iterdir()):
        if not path.name.startswith("spec_augment"):
            copies = "copies:" in path.read_text()
            plan(**options, **{"augment-conf" if copies else "train-augment": str(path)})
    plan(**options, **{"dev-conf": " ".join(f"conf/condition/{name}" for name in SHIPPED)})
    for path in sorted(Path("conf/audio").iterdir()):
        plan(**options, **{"audio-conf": str(path)})


EFFECTS = {
    "high": "effects: [{class_path: BandPass, init_args: {low: 5000, high: 6000}}]",
    "inside": "effects: [{class_path: Sometimes, init_args: {probability: 0, effects: [{class_path: RandomBandPass,"
    " init_args: {lows: [300, 7000], highs: [7500]}}]}}]",
    "unknown": "effects: [{class_path: BandPas}]",
    "noisy": "effects: [{class_path: AddNoise}]",
    "text": "effects: none",
    "fast": "rate: 1.0e+15\neffects: []",
    "worded": "rate: quick\neffects: []",
    "nothing": "sound: [1]",
    "few": "effects: [{class_path: Audiomentations, init_args: {transform: Shift, arguments: {min_shift: 9}}}]",
}


@pytest.mark.parametrize(
    ("option", "name", "text"),
    [
        ("train-augment", "high", "band-pass: low is 5000 Hz; at 8000 Hz it must be below 4000"),
        ("test-conf", "inside", "band-pass: low is 7000 Hz; at 8000 Hz"),
        ("dev-conf", "unknown", "BandPas"),
        ("train-augment", "noisy", "an effect needs noise: give its data directory with --noise-dir"),
        ("audio-conf", "noisy", "an effect needs noise"),
        ("audio-conf", "fast", "rate is 1000000000000000.0; 100 to 1,000,000 Hz is wanted"),
        ("audio-conf", "worded", "rate is 'quick'"),
        ("test-conf", "text", "effects must be a list"),
        ("train-augment", "nothing", "must hold `effects:`, a list"),
        ("dev-conf", "few", "Shift"),
    ],
)
def test_an_effect_that_fails_is_one_line(option: str, name: str, text: str) -> None:
    Path(f"{name}.yaml").write_text(EFFECTS[name] + "\n")
    with pytest.raises(DataError) as caught:
        plan(**{option: f"{name}.yaml", "feats-conf": "conf/feats/fbank40_8k.yaml", **WAVES})
    assert str(caught.value).startswith(f"--{option} {name}.yaml: ") and text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_rate_is_that_of_the_audio_after_its_preparation() -> None:
    Path("high.yaml").write_text(EFFECTS["high"])
    plan(**{"train-augment": "high.yaml", **WAVES})
    with pytest.raises(DataError, match="at 8000 Hz"):
        plan(**{"train-augment": "high.yaml", "audio-conf": "conf/audio/telephone.yaml", **WAVES})


def test_training_augments_waveforms_alone() -> None:
    with pytest.raises(DataError, match=r"--train-augment is for egs of waveforms, such as conf/egs/waveform_cpu.yaml"):
        plan(**{"train-augment": "conf/augment/reverb.yaml"})


def test_speakers_held_out_are_sets_of_their_own(make_set: MakeSet) -> None:
    make_set("synth/train")
    make_set("synth/eval", trials=("trials",))
    conditions = {"dev-conf": "conf/condition/other_day.yaml conf/condition/as_recorded.yaml"}
    made = plan(**conditions)
    folder = "data/synth/fbank80/dev_cpu"
    assert [(row.unit, row.output) for row in made.rows() if row.unit.startswith("dev_")] == [
        ("dev_held_out", f"{folder}/audio/held_out"),
        ("dev_audio_other_day", f"{folder}/audio/dev_other_day"),
        ("dev_features_other_day", f"{folder}/dev_other_day"),
        ("dev_audio_as_recorded", f"{folder}/audio/dev_as_recorded"),
        ("dev_features_as_recorded", f"{folder}/dev_as_recorded"),
    ]
    systems = ["cosine", "cosine_asnorm", "plda", "plda_asnorm"]  # those that do not know these speakers
    for name in ("other_day", "as_recorded"):
        scored = [Path(row.output).suffix[1:] for row in rows(made, "score") if row.set == f"dev_{name}"]
        assert scored == systems
    assert variables(made)["trial_dirs"] == f"data/synth,{folder}"
    assert variables(made)["test_rir_dir"] == "data/synth/rooms_test" and variables(made)["rir_dir"] == ""
    assert variables(plan(**conditions, **WAVES))["dev"] == "data/synth/fbank80/dev_waveform_cpu"


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"calibrate": "false"}, "--dev-conf needs --calibrate"),
        ({"dev-conf": "conf/condition/as_recorded.yaml copy/as_recorded.yaml"}, "two files are called as_recorded"),
        ({"dev-conf": "a,b.yaml"}, "--dev-conf a,b.yaml: its name is to be part of others"),
    ],
)
def test_what_cannot_be_tested_is_refused(options: dict[str, str], text: str, place: Path) -> None:
    (place / "copy").mkdir()
    (place / "copy" / "as_recorded.yaml").write_text("effects: []\n")
    with pytest.raises(DataError, match=text):
        plan(**({"dev-conf": "conf/condition/as_recorded.yaml"} | options))


def test_too_few_speakers_to_hold_out_are_refused(make_set: MakeSet) -> None:
    make_set("synth/train", speakers=12)
    with pytest.raises(DataError, match=r"--dev-conf: no speakers held out of training.*of 12 training speakers 1"):
        plan(**{"dev-conf": "conf/condition/as_recorded.yaml"})


def test_recipes_that_calibrate_under_conditions_do_without_where_speakers_are_few(make_set: MakeSet) -> None:
    robust = {"dev-conf": "conf/condition/as_recorded.yaml", "quality-conditions": "true"}
    make_set("synth/train", speakers=12)
    made = plan(**robust)
    assert variables(made)["calibrate"] == "false" and not rows(made, "pool") and not rows(made, "dev_held_out")
    assert "no calibration: of 12 training speakers 1 can be held out" in said(made)[0]
    make_set("folder/train", speakers=60)
    robust |= {"corpus": "folder", "corpus-dir": "conf"}
    assert {row.set for row in rows(plan(**robust), "pool")} == {"train", "dev_as_recorded"}
    with pytest.raises(DataError, match="--dev-conf names their files"):
        plan(**{"quality-conditions": "true"})


def test_a_recipe_that_trains_on_effects_evaluates_a_model_of_elsewhere_too(make_set: MakeSet, place: Path) -> None:
    """conf/run/robust.conf with --model: what is of training alone is left out, and said."""
    make_set("synth/train", speakers=60)
    (place / "exp" / "theirs").mkdir(parents=True)
    (place / "exp" / "theirs" / "final.pt").touch()
    (place / "exp" / "theirs" / "config.yaml").write_text("feat_dim: 80\n")
    robust = {"dev-conf": "conf/condition/as_recorded.yaml", "quality-conditions": "true"}
    robust |= {"train-augment": "conf/augment/robust.yaml", "model": "exp/theirs"}
    made = plan(**robust)
    assert said(made) == ["--train-augment is for training, and with --model nothing is trained"]
    assert {row.set for row in rows(made, "pool")} == {"train", "dev_as_recorded"}
    assert variables(made)["rir_dir"] == ""
