"""What training cannot begin with is one clear line, and nothing is written."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from initial_model import Place
from timbre.nnet import checkpoint
from timbre.training.options import StartOptions, read_factors
from timbre.utils.errors import DataError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("refused"))


def refuse(place: Place, text: str, **start: object) -> None:
    """Training does not begin; its DataError is one line with TEXT in it."""
    with pytest.raises(DataError) as raised:
        place.trainer("never", **start)
    assert text in str(raised.value) and "\n" not in str(raised.value)
    assert not (place.folder / "never").exists()


@pytest.fixture
def model(place: Place, tmp_path: Path) -> Path:
    """A copy of the model, to be spoilt."""
    return shutil.copytree(place.model, tmp_path / "model")


def _payload(path: Path, owned: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(owned),)

    torch.save({"network": Payload(), "objective": Payload(), "steps": [6, 8]}, path)


@pytest.mark.parametrize("name", ["final.pt", "checkpoints/step-0000008.pt"])
def test_a_payload_is_not_run(place: Place, model: Path, name: str, tmp_path: Path) -> None:
    _payload(model / name, tmp_path / "owned")
    refuse(place, "refused: it holds more than tensors and numbers", init_model=model)
    assert not (tmp_path / "owned").exists()


def test_a_model_that_is_damaged_or_not_whole(place: Place, model: Path, tmp_path: Path) -> None:
    refuse(place, "not a model directory", init_model=tmp_path / "nowhere")
    final = model / "final.pt"
    content, state = final.read_bytes(), checkpoint.load(final)
    final.write_bytes(content[: len(content) // 2])
    refuse(place, str(final), init_model=model)
    for change, text in (
        ({"network": {}}, "holds no network"),
        ({"network": state["network"] | {"trunk.x": "y"}}, "'trunk.x' is no weight"),
        ({"network": {**state["network"], "segment.0.bias": torch.full((16,), torch.nan)}}, "are not finite"),
        ({"network": dict(list(state["network"].items())[:5])}, "missing there"),
        ({"network": state["network"] | {"more": torch.ones(1)}}, "more is of no use there"),
        ({"steps": [6, 7]}, "no such file, which has the objective: --init-parts network"),
        ({"steps": "all"}, "does not say which checkpoints"),
    ):
        checkpoint.save(state | change, final)
        refuse(place, text, init_model=model)
    checkpoint.save(state, final)
    shutil.move(model / "checkpoints", tmp_path / "aside")
    refuse(place, "--init-parts network", init_model=model)
    assert place.trainer("of_network", init_model=model, init_parts=("network",)).step == 0
    shutil.move(tmp_path / "aside", model / "checkpoints")
    for text in ("", "spk00 0\nspk00 1\n", "spk00 0\nspk01 zero\n", "spk00 0\nspk01 5\n"):
        (model / "spk2int").write_text(text)
        refuse(place, "spk2int", init_model=model)
    final.unlink()
    refuse(place, "training did not finish there", init_model=model)


def test_another_network(place: Place, model: Path) -> None:
    config = yaml.safe_load((model / "config.yaml").read_text())
    config["network"]["embedding_dim"] = 24
    (model / "config.yaml").write_text(yaml.safe_dump(config))
    refuse(place, "segment.0.bias is (16,) there and (24,) here", init_model=model)
    config["network"]["trunk"]["class_path"] = "os.system"
    (model / "config.yaml").write_text(yaml.safe_dump(config))
    refuse(place, "trunk 'os.system' is unknown", init_model=model)


def test_other_features(place: Place, tmp_path: Path) -> None:
    egs = shutil.copytree(place.egs, tmp_path / "egs")
    manifest = json.loads((egs / "manifest.json").read_text())
    manifest["normalize"]["window"] = 150
    (egs / "manifest.json").write_text(json.dumps(manifest))
    refuse(place, f"not the features that {place.model} is of: normalize.window 300 -> 150", egs=egs)
    assert place.trainer("of_objective", egs=egs, init_parts=("objective",)).step == 0
    model = shutil.copytree(place.model, tmp_path / "model")
    config = yaml.safe_load((model / "config.yaml").read_text()) | {"feat_dim": 40}
    (model / "config.yaml").write_text(yaml.safe_dump(config))
    refuse(place, "dimension 40 -> 12", init_model=model)


def test_classes_that_are_not_there_cannot_stay(place: Place) -> None:
    frozen = {"freeze": ("objective",)}
    some = place.egs_of("some", lambda spk: spk if spk > "spk03" else f"x{spk}")
    refuse(place, "of 20 speakers, such as ", egs=some, **frozen)
    none = place.egs_of("none", lambda spk: f"x{spk}")
    refuse(
        place,
        "20 of 20 speakers, such as xspk00, have no class in the model, and classes are frozen",
        egs=none,
        **frozen,
    )
    fewer = place.egs_of("fewer", lambda spk: spk if spk in list(place.numbers)[3:] else "")
    assert torch.equal(
        place.trainer("subset", egs=fewer, **frozen).objective.get_parameter("weight"), place.classes[3:]
    )
    refuse(place, "have no class in the model", objective="class_path: Softmax", **frozen)
    refuse(place, "objective.weight is not among what comes from the model", init_parts=("network",), **frozen)
    refuse(place, "is not among what comes from the model", init_parts=("objective",), freeze=("trunk",))


@pytest.mark.parametrize("word", ["freeze", "lr_scale"])
def test_unknown_parts(place: Place, word: str) -> None:
    def name(part: str) -> dict[str, object]:
        return {word: (part,) if word == "freeze" else {part: 0.1}}

    refuse(place, "the model has no part 'trunck'; did you mean trunk?", **name("trunck"))
    refuse(place, "the model has no part 'objectives'; did you mean objective?", **name("objectives"))
    refuse(place, "the model has no part ''", **name(""))
    refuse(place, "the model has no part 'trunk.nothing.norms'", **name("trunk.nothing.norms"))
    refuse(place, "there is no layer of that kind", **name("segment.norms"))
    refuse(place, "no part 'objective.terms'", **name("objective.terms"))


def test_the_model_itself_is_not_overwritten(place: Place) -> None:
    before = {path: path.stat() for path in place.model.rglob("*")}
    with pytest.raises(DataError, match="another folder is needed"):
        place.trainer("x/../model")
    assert {path: path.stat() for path in place.model.rglob("*")} == before


def test_everything_frozen_is_refused(place: Place) -> None:
    refuse(place, "nothing is left to train", freeze=("network", "objective"))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"init_parts": ("network", "objectiv")},
            "'objectiv' is not one of network, objective; did you mean objective?",
        ),
        ({"init_parts": ()}, "one or more of"),
        ({"init_model": None, "freeze": ("trunk",)}, "give --init-model DIR"),
        ({"lr_scale": {"trunk": 0.0}}, "it must be a number above 0"),
        ({"lr_scale": {"trunk": float("nan")}}, "it must be a number above 0"),
        ({"lr_scale": {"trunk": True}}, "it must be a number above 0"),
    ],
)
def test_options_that_cannot_be(options: dict[str, object], text: str) -> None:
    with pytest.raises(DataError, match=text.replace("?", r"\?")):
        StartOptions(**({"init_model": Path("model")} | options))


def test_factors_are_read_as_they_are_written() -> None:
    assert read_factors(" trunk=0.1, segment = 2e-1") == {"trunk": 0.1, "segment": 0.2} and read_factors("") == {}
    for text in ("trunk", "trunk=fast", "trunk=0.1,0.2"):
        with pytest.raises(DataError, match="is not NAME=NUMBER"):
            read_factors(text)


def test_keep_best_needs_something_to_go_by(place: Place) -> None:
    egs = place.egs_of("nothing_held", lambda spk: spk)
    for by in ("eer", "accuracy"):
        refuse(place, f"keep_best {by}: nothing that it could be measured on", egs=egs, change={"keep_best": by})
    metric = {"objective": "class_path: AngularPrototypical", "init_parts": ("network",)}
    refuse(place, "keep_best accuracy: ", change={"keep_best": "accuracy"}, **metric)
