"""What a network is made of, and what its configuration may say; the families are tested in test_*_net.py."""

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from network_checks import (
    CONF,
    changed,
    check_padding,
    check_round_trip,
    full_size,
    num_parameters,
    trained,
    utterances,
)
from timbre.nnet.layers import SqueezeExcitation, TdnnLayer, normalize_instances
from timbre.nnet.network import build_network
from timbre.utils.errors import DataError

HERE = Path(__file__).resolve().parent
XVECTOR = {"channels": [16, 16, 16, 16, 24]}


@pytest.mark.parametrize("name", CONF)
def test_parameter_counts_are_those_in_the_comment(name: str) -> None:
    counts = re.findall(r"([\d,]+) at feat_dim (\d+)", CONF[name].read_text())
    assert counts
    for count, feat_dim in counts:
        assert num_parameters(full_size(CONF[name], int(feat_dim))) == int(count.replace(",", ""))


def test_every_network_is_tested_by_its_family() -> None:
    modules = [importlib.import_module(path.stem) for path in sorted(HERE.glob("test_*_net.py"))]
    tested = [name for module in modules for name in module.SMALL]
    assert sorted(tested) == sorted(CONF)


def test_tdnn_layer_is_an_affine_map_of_spliced_frames() -> None:
    layer = TdnnLayer(6, 9, kernel=3, dilation=2).eval()
    frames = torch.randn(2, 6, 20)
    spliced = np.stack([frames.double().numpy()[:, :, start : start + 16] for start in (0, 2, 4)], 3)  # (B, F, T', k)
    weight, bias = layer.affine.weight.detach().double().numpy(), layer.affine.bias.detach().double().numpy()
    expected = np.maximum(np.einsum("bftk,ofk->bot", spliced, weight) + bias[:, None], 0) / np.sqrt(1 + layer.norm.eps)
    with torch.inference_mode():
        assert np.abs(layer(frames).numpy() - expected).max() <= 1e-6


def test_squeeze_excitation_of_planes_is_that_of_their_frames_laid_end_to_end() -> None:
    layer = SqueezeExcitation(6, 3)
    planes = torch.randn(2, 6, 5, 7)
    with torch.inference_mode():
        assert torch.allclose(layer(planes, None).flatten(2), layer(planes.flatten(2), None), atol=1e-6)
        padded = torch.cat((planes, torch.full((2, 6, 5, 2), torch.nan)), 3)
        mask = (torch.arange(9) < 7)[None, None].expand(2, 1, 9)
        assert torch.allclose(layer(padded, mask)[..., :7], layer(planes, None), atol=1e-6)


def test_instance_norm_is_that_of_the_real_frames() -> None:
    feats = utterances(2, 30, 5) * 3
    feats[1, 20:] = torch.nan
    found = normalize_instances(feats, torch.tensor([30, 20]))
    for utt, length in ((0, 30), (1, 20)):
        exact = feats[utt, :length].double().numpy()
        assert np.abs(found[utt, :length].numpy() - (exact - exact.mean(0)) / exact.std(0)).max() < 1e-4
    check_padding(changed("xvector", trunk=XVECTOR, instance_norm=True), 20)


def test_the_pooled_vector_may_be_the_embedding() -> None:
    config = changed("xvector", trunk=XVECTOR, hidden_dims=[], embedding_dim=None, embedding_norm=False)
    network = build_network(config, 20)
    assert network.embedding_dim == 48 and not list(network.segment.parameters())
    check_padding(config, 20)
    check_round_trip(config, 20)


def test_embeddings_may_have_a_length() -> None:
    network = trained(build_network(changed("xvector", trunk=XVECTOR, embedding_length=10.0), 20))
    assert torch.allclose(network(utterances(3, 30, 20)).norm(dim=1), torch.tensor(10.0))


BAD: list[tuple[dict[str, Any] | str, str]] = [
    ({"trunk": {"class_path": "XvectorTdnn", "init_args": {"chanels": [8]}}}, "XvectorTdnn: .*chanels"),
    ({"trunk": {"class_path": "XvectorTdnn", "init_args": {"channels": "wide"}}}, "XvectorTdnn: .*channels.*wide"),
    ({"trunk": {"class_path": "XvectorTdnn", "init_args": {"channels": [8]}}}, "lists of the same length"),
    ({"trunk": {"class_path": "XvectorTdnn", "init_args": {"feat_dim": 80}}}, "feat_dim"),
    ({"trunk": {"class_path": "EcapaTdnn", "init_args": {"channels": 100}}}, "100 channels"),
    ({"trunk": {"class_path": "EcapaTdnn", "arguments": {}}}, "class_path and init_args"),
    ({"trunk": "Xvector"}, "trunk 'Xvector' is unknown; there are .*EcapaTdnn, .*XvectorTdnn"),
    ({"trunk": "StatisticsPooling"}, "trunk 'StatisticsPooling' is unknown"),
    ({"trunk": {"class_path": "os.system", "init_args": {"command": "touch pwned"}}}, "'os.system' is unknown"),
    ({"pooling": {}}, "pooling must hold class_path"),
    ({"embeding_dim": 10}, "embeding_dim"),
    ({"embedding_dim": 0}, "embedding_dim is 0"),
    ({"embedding_length": -1}, "embedding_length is -1"),
    ({"pooled_stages": 2}, "pooled_stages is 2; the trunk has 1"),
    ("- a list", "settings"),
    ("a: [b", "not YAML"),
    ("embedding_dim: 3", "trunk is missing"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_configuration_is_one_line_that_names_the_file(
    wrong: dict[str, Any] | str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "network.yaml"
    config = wrong if isinstance(wrong, str) else {"trunk": "XvectorTdnn", "pooling": "StatisticsPooling"} | wrong
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config))
    with pytest.raises(DataError, match=message) as caught:
        build_network(path, 80)
    assert str(caught.value).startswith(f"{path}:") and "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["network.yaml"]


def test_missing_configuration(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.yaml: cannot read: No such file"):
        build_network(tmp_path / "nowhere.yaml", 80)
