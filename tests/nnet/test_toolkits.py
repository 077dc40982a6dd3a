"""Imported networks against the toolkits' own code: the same audio, their front end, embeddings within 1e-4."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from timbre.embedding.extract import extract_embeddings
from timbre.feats.extractor import FeatureExtractor
from timbre.feats.options import FbankOptions, FrameOptions, MelspecOptions
from timbre.nnet.imports.toolkits import TOOLKITS, import_weights
from timbre.nnet.model import load_model
from timbre.runtime.normalize import normalize
from timbre.utils.errors import DataError
from toolkit_states import REFERENCES, Reference, make_state, make_waves

State = dict[str, Any]
NAMES = sorted(path.stem for path in REFERENCES.glob("*.npz"))
KINDS: dict[str, type[FrameOptions]] = {"fbank": FbankOptions, "melspec": MelspecOptions}


def toolkit_of(name: str) -> str:
    return next(toolkit for toolkit in TOOLKITS if name.startswith(f"{toolkit}_"))


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_are_those_of_the_toolkit(name: str, tmp_path: Path) -> None:
    reference = Reference.read(name)
    state = {"state_dict": make_state(reference.shapes), "model_config": reference.settings}
    torch.save(state, tmp_path / "model.pt")
    import_weights(str(tmp_path / "model.pt"), tmp_path / "model", toolkit_of(name), "", False)
    network, normalization = load_model(tmp_path / "model")
    feats = yaml.safe_load((tmp_path / "model" / "config.yaml").read_text())["feats"]
    options = yaml.safe_load((tmp_path / "model" / feats).read_text())
    extractor = FeatureExtractor(KINDS[feats.rstrip("0123456789").partition("_")[0].rstrip("0123456789")](**options))
    parts = [
        (str(index), normalize(found.numpy(), None, normalization))
        for index, found in enumerate(extractor(make_waves()))
    ]
    ours = extract_embeddings(network, parts).vectors
    errors = [
        np.linalg.norm(ours[str(index)] - theirs) / np.linalg.norm(theirs)
        for index, theirs in enumerate(reference.embeddings)
    ]
    print(f"{name}: {max(errors):.1e}")
    assert max(errors) <= 1e-4
    # the references tell a wrong network or front end: they depend on the audio
    first, second = reference.embeddings
    assert np.linalg.norm(first - second) >= 0.02 * np.linalg.norm(first)


def imported(tmp_path: Path, state: State, toolkit: str, settings: object = None) -> Path:
    torch.save({"state_dict": state, "model_config": settings}, tmp_path / "model.pt")
    import_weights(str(tmp_path / "model.pt"), tmp_path / "model", toolkit, "", False)
    return tmp_path / "model"


def state_of(name: str) -> State:
    return {weight: torch.ones(shape) for weight, shape in Reference.read(name).shapes.items()}


SMALL = {  # a network of each toolkit: a weight that only training needs, and one that is not known
    "wespeaker_eres2net_aug": ("projection.weight", "mask.weight"),
    "3dspeaker_eres2netv2_w24s4": ("classifier.weight", "layer5.0.conv1.weight"),
    "voxceleb_trainer_resnetse34l": ("__L__.fc.weight", "layer1.7.conv9.bias"),
    "redimnet_b0": ("cls_head.2.weight", "backbone.mfa.0.weight"),
}


@pytest.mark.parametrize("name", SMALL)
def test_classifiers_are_left_out_and_other_names_listed(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    classifier, other = SMALL[name]
    state = state_of(name) | {classifier: torch.ones(7, 3)}
    with caplog.at_level(logging.INFO):
        imported(tmp_path, state, toolkit_of(name))
    assert f"left out, for training needs them alone: {classifier}" in caplog.text
    with pytest.raises(DataError, match=f"1 unknown: {other}"):
        imported(tmp_path, state | {other: torch.ones(3)}, toolkit_of(name))
    missing = next(weight for weight in reversed(state) if weight.endswith("running_var"))
    with pytest.raises(DataError, match="1 missing: "):
        imported(tmp_path, {weight: value for weight, value in state.items() if weight != missing}, toolkit_of(name))


@pytest.mark.parametrize("toolkit", ["wespeaker", "3dspeaker", "voxceleb_trainer", "tdy", "redimnet"])
def test_a_network_of_another_toolkit_is_named_with_what_was_expected(toolkit: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one is expected: '.*' \(.*\).*; there are lstm.weight_ih_l0") as caught:
        imported(tmp_path, {"lstm.weight_ih_l0": torch.ones(4, 4)}, toolkit)
    assert "\n" not in str(caught.value)


def test_an_encoder_that_is_not_known_is_named(tmp_path: Path) -> None:
    state = state_of("voxceleb_trainer_resnetse34v2") | {"fc.weight": torch.ones(512, 2048)}
    with pytest.raises(DataError, match="encoder_type SAP of ResNetSE34V2"):
        imported(tmp_path, state, "voxceleb_trainer")


SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"spec_params": {"spec_norm": "bn"}}, "settings that are not known here: spec_norm bn"),
    ({"feat_type": "tf", "block_2d_type": "convnext_like_relu"}, "feat_type tf, block_2d_type convnext_like_relu"),
    ({"spec_params": {"f_max": 9000}}, "high_freq 9000"),
    ({"spec_params": {"f_min": "20"}}, "is not of redimnet"),
    ({"hop_length": [160]}, "is not of redimnet"),
    ({"hop_length": 0}, "frame_shift of 0.0 ms"),
]


@pytest.mark.parametrize(("settings", "message"), SETTINGS)
def test_settings_of_redimnet_that_cannot_be_followed(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        imported(tmp_path, state_of("redimnet_b0"), "redimnet", settings)
    assert "model.pt" in str(caught.value) and "\n" not in str(caught.value)


CHANGES: list[Callable[[torch.Tensor], torch.Tensor | None]] = [
    lambda weight: None,
    lambda weight: torch.tensor(1.0),
    torch.Tensor.flatten,
    lambda weight: weight.repeat(2, *[1] * (weight.dim() - 1)) if weight.dim() else weight,
    lambda weight: weight[:1] if weight.dim() else weight,
]


@pytest.mark.parametrize("name", [*SMALL, "wespeaker_ecapa_context"])
def test_changed_checkpoints_are_taken_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    state = state_of(name)
    chosen = np.random.default_rng(1).permutation(sorted(state))
    # the first weights and the last tell the sizes
    names = [*list(state)[:2], *chosen[:4], *list(state)[-2:]]
    refused = 0
    for index, weight in enumerate(names):
        for change in CHANGES[index % 2 :: 2]:
            value = change(state[weight])
            rest = {other: kept for other, kept in state.items() if other != weight}
            try:
                imported(tmp_path, rest if value is None else {**rest, weight: value}, toolkit_of(name))
            except DataError as error:
                refused += 1
                assert "\n" not in str(error) and "model.pt" in str(error)
    assert refused > len(names) / 2
