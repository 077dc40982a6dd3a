"""Stage 5 in the plan: which model it begins with, what it trains on, what is refused."""

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from plans import plan, said, variables

from timbre.runtime.normalize import NormalizeOptions
from timbre.utils.errors import DataError


@pytest.fixture
def model(place: Path) -> Path:
    """A trained model as the plan sees it."""
    folder = place / "exp" / "old" / "model"
    folder.mkdir(parents=True)
    (folder / "final.pt").write_text("")
    options = yaml.safe_dump({"feat_dim": 40, "normalize": asdict(NormalizeOptions())})
    (folder / "config.yaml").write_text(options)
    return folder


def test_stage_5_follows_stage_4() -> None:
    found = variables(made := plan(**{"fine-tune-conf": "conf/fine_tune/large_margin.yaml"}))
    assert found["trained"] == found["tuned_from"] == "exp/synth_ecapa128/model"
    assert found["model"] == "exp/synth_ecapa128/fine_tuned" and found["egs"] == "data/synth/fbank80/egs_cpu"
    assert (
        found["tuning_egs"] == "exp/synth_ecapa128/fine_tune/egs" and '"min_frames": 600' in found["tuning_egs_options"]
    )
    assert found["tuning_data"] == "exp/synth_ecapa128/fine_tune/train" and found["tuning_altered"] == "false"
    assert found["tuning_objective_args"] == '{"margin": 0.5}' and '"lr": 0.0001' in found["tuning_train"]
    assert [row.stage for row in made.rows() if row.task == "train"][:2] == [4, 5]
    none = variables(plan())
    assert none["tuned_from"] == none["tuning_egs"] == "" and none["model"] == none["trained"]


def test_stage_5_begins_with_another_model(model: Path, place: Path) -> None:
    (place / "plain.yaml").write_text("train: {num_steps: 5}")
    options = {"init-model": "exp/old/model", "fine-tune-conf": "plain.yaml"}
    found = variables(made := plan(**options))
    assert found["trained"] == "" and found["exp"] == "exp/synth_old_plain" and "fbank40" in found["feats"]
    assert found["tuning_data"] == found["feats"] + "/train"
    assert found["tuning_egs_options"] == "conf/egs/cpu.yaml", "of stage 3, but others are held out"
    assert next(row.stage for row in made.rows() if row.task in ("egs", "train")) == 5
    same = variables(plan(**{"fine-tune-conf": "plain.yaml"}))
    assert same["tuning_egs"] == same["egs"] and same["tuning_data"] == same["feats"] + "/train"


def test_a_model_without_an_objective_gives_its_network_alone(model: Path, place: Path) -> None:
    options = {"init-model": "exp/old/model", "fine-tune-conf": "conf/fine_tune/durations.yaml"}
    made = plan(**options)
    assert variables(made)["tuning_parts"] == "network"
    assert any("exp/old/model has no objective" in text for text in said(made))
    config = yaml.safe_load((model / "config.yaml").read_text()) | {"objective": {"class_path": "AamSoftmax"}}
    (model / "config.yaml").write_text(yaml.safe_dump(config))
    made = plan(**options)
    assert variables(made)["tuning_parts"] == "network,objective" and not any(
        "no objective" in text for text in said(made)
    )


def test_stage_5_that_cannot_be_is_refused_before_anything_runs(model: Path, place: Path) -> None:
    good = {"init-model": "exp/old/model", "fine-tune-conf": "conf/fine_tune/durations.yaml"}
    (place / "bad.yaml").write_text("train: {batch_size: 0}")
    (place / "mix.yaml").write_text("mix_share: 1")
    for options, text in (
        (good | {"normalize-conf": "conf/normalize/utterance.yaml"}, "cmn sliding there, utterance here"),
        (good | {"fine-tune-conf": "bad.yaml"}, "bad.yaml: .*batch_size is 0"),
        (good | {"fine-tune-conf": "mix.yaml"}, "mix_share is 1"),
        (good | {"fine-tune-conf": "conf/train/cpu.yaml"}, "conf/train/cpu.yaml"),
        (good | {"mix-dir": "data"}, "has no mix_share, and --mix-dir is given"),
        ({"fine-tune-conf": "conf/fine_tune/own_data.yaml"}, "wants speech of --mix-dir DIR"),
        ({"init-model": "exp/old/model"}, "--init-model needs --fine-tune-conf"),
        (good | {"init-model": "exp/old"}, "no finished model"),
    ):
        with pytest.raises(DataError, match=text) as raised:
            variables(plan(**options))
        assert "\n" not in str(raised.value)
