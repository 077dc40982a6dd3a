"""Networks: sizes that are published, padding that changes nothing, context, configuration."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from steps.nnet.layers import TdnnLayer
from steps.nnet.models import ResNet, Trunk, XvectorTdnn
from steps.nnet.models.ecapa import EcapaTdnn, SqueezeExcitation
from steps.nnet.network import SpeakerNetwork, build_network
from steps.nnet.objectives import build_objective
from steps.utils.errors import DataError

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "conf" / "network").glob("*.yaml"))
CONF = {path.stem: path for path in CONFIGS}

SMALL = [path for path in CONFIGS if path.stem not in ("resnet34", "ecapa512", "ecapa1024")]  # the same code, quicker

by_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
by_small_config = pytest.mark.parametrize("path", SMALL, ids=lambda path: path.stem)


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def changed(path: Path, **settings: Any) -> dict[str, Any]:
    """The configuration in PATH with some settings, of its trunk or pooling if so named, replaced."""
    config: dict[str, Any] = yaml.safe_load(path.read_text())
    for part in ("trunk", "pooling"):
        config[part].setdefault("init_args", {}).update(settings.pop(part, {}))
    return config | settings


def utterances(num_utts: int, num_frames: int, feat_dim: int) -> torch.Tensor:
    """Features that differ between utterances as well as within: (num_utts, num_frames, feat_dim)."""
    return torch.randn(num_utts, num_frames, feat_dim) + torch.randn(num_utts, 1, feat_dim)


def trained(network: SpeakerNetwork) -> SpeakerNetwork:
    """NETWORK in eval mode, with weights and BatchNorms that tell one input from another, as at the start none does."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@by_config
def test_parameter_counts_are_those_in_the_comment(path: Path) -> None:
    counts = re.findall(r"([\d,]+) at feat_dim (\d+)", path.read_text())
    assert counts
    for count, feat_dim in counts:
        assert num_parameters(build_network(path, int(feat_dim))) == int(count.replace(",", ""))


def test_published_parameter_counts() -> None:
    assert num_parameters(build_network(CONF["xvector"], 40)) == 4_517_268
    assert num_parameters(build_network(CONF["ecapa512"], 80)) == 6_190_720
    assert num_parameters(build_network(CONF["ecapa1024"], 80)) == 14_657_088
    for name, count in (("ecapa512", 5_797_504), ("ecapa1024", 14_263_872)):
        without_context = changed(CONF[name], pooling={"global_context": False})
        assert num_parameters(build_network(without_context, 80)) == count
    # WeSpeaker's x-vector: BatchNorms without scale and offset, none after segment7
    wespeaker = changed(CONF["xvector"], trunk={"affine_norm": False}, affine_norm=False, embedding_norm=False)
    assert num_parameters(build_network(wespeaker, 80)) == 4_610_524


def test_kaldi_xvector_is_a_network_to_segment6_and_segment7_in_the_objective() -> None:
    network = build_network(changed(CONF["xvector"], hidden_dims=[], embedding_norm=False), 40)
    objective = build_objective({"class_path": "Softmax", "init_args": {"hidden_dims": [512]}}, 512, 100)
    assert num_parameters(network) + num_parameters(objective) == 4_517_268 + 513 * 100
    assert isinstance(network.segment[-1], nn.Linear)  # no ReLU after it


VARIANTS = [yaml.safe_load(path.read_text()) for path in SMALL] + [
    changed(CONF["ecapa128"], trunk={"residual": "chain"}, pooling={"global_context": False}),
    changed(CONF["resnet34_small"], trunk={"stem_stride": 1, "strides": [2, 1, 2, 3]}),
    changed(CONF["resnet34_small"]) | {"pooling": "AttentiveStatisticsPooling"},
    changed(CONF["xvector_small"]) | {"pooling": {"class_path": "MeanPooling"}},
]


@pytest.mark.parametrize("config", VARIANTS, ids=lambda config: config["trunk"]["class_path"])
def test_padded_batch_gives_each_utterance_the_embedding_it_gets_alone(config: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = trained(build_network(config, 20))
    lengths = torch.tensor([61, 17, 16, 40, 33])
    feats = utterances(len(lengths), 61, 20)
    for utterance, length in zip(feats, lengths, strict=True):
        utterance[length:] = torch.nan  # what lies past the end must not be looked at
    with torch.inference_mode():
        batch = network(feats, lengths)
        alone = torch.cat([network(utt[None, :length]) for utt, length in zip(feats, lengths, strict=True)])
    assert alone.std(0).mean() > 0.1  # they do differ
    assert (batch - alone).abs().max() <= 1e-5 * max(1, float(alone.abs().max()))


@by_small_config
def test_full_lengths_are_the_same_as_none(path: Path) -> None:
    network = trained(build_network(path, 16))
    feats = torch.randn(2, 30, 16)
    with torch.inference_mode():
        expected = network(feats)
        assert torch.allclose(network(feats, torch.tensor([30, 30])), expected, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("trunk", "field"), [(XvectorTdnn(8), 15), (EcapaTdnn(8, 16, 24), 131), (ResNet(8, (2, 2, 2, 2)), 225)]
)
def test_an_output_frame_depends_on_its_receptive_field_only(
    trunk: Trunk, field: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqueezeExcitation, "forward", lambda self, frames, mask: frames)  # sees all frames
    monkeypatch.setattr(torch, "relu_", lambda frames: frames)  # closes some paths
    assert trunk.receptive_field == field
    feats = torch.randn(1, 2 * field + 1, 8, requires_grad=True)
    frames, _ = trunk.eval()(feats)
    frames[:, :, frames.shape[2] // 2].sum().backward()
    seen = feats.grad.abs().sum((0, 2)).nonzero()
    assert seen.max() - seen.min() + 1 == field


@by_small_config
def test_the_shortest_utterance_is_taken_and_a_shorter_one_is_not(path: Path) -> None:
    network = build_network(path, 16).eval()
    shortest = network.min_frames
    assert network(torch.randn(2, shortest, 16)).isfinite().all()
    with pytest.raises(ValueError, match=f"takes {shortest} or more"):
        network(torch.randn(2, shortest - 1, 16))
    with pytest.raises(ValueError, match=f"has {shortest - 1} frames"):
        network(torch.randn(2, shortest, 16), torch.tensor([shortest, shortest - 1]))
    with pytest.raises(ValueError, match="takes"):
        network(torch.randn(2, 50, 17))


@by_small_config
def test_gradients_are_finite_under_bfloat16(path: Path) -> None:
    network = build_network(path, 16)
    feats = torch.randn(4, 50, 16)
    feats[0] = 0  # no variance at all
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = network(feats)
    assert embeddings.dtype == torch.float32
    embeddings.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name


@by_small_config
def test_a_network_is_rebuilt_from_its_own_configuration(path: Path) -> None:
    network = trained(build_network(path, 24))
    again = build_network(yaml.safe_load(yaml.safe_dump(network.config)), 24).eval()
    assert again.config == network.config
    again.load_state_dict(network.state_dict())
    feats = torch.randn(1, 40, 24)
    with torch.inference_mode():
        assert torch.equal(network(feats), again(feats))


def test_tdnn_layer_is_an_affine_map_of_spliced_frames() -> None:
    layer = TdnnLayer(6, 9, kernel=3, dilation=2).eval()
    frames = torch.randn(2, 6, 20)
    spliced = np.stack([frames.double().numpy()[:, :, start : start + 16] for start in (0, 2, 4)], 3)  # (B, F, T', k)
    weight, bias = layer.affine.weight.detach().double().numpy(), layer.affine.bias.detach().double().numpy()
    expected = np.maximum(np.einsum("bftk,ofk->bot", spliced, weight) + bias[:, None], 0) / np.sqrt(1 + layer.norm.eps)
    with torch.inference_mode():
        assert np.abs(layer(frames).numpy() - expected).max() <= 1e-6


def test_residual_of_ecapa_changes_the_function_and_not_the_weights() -> None:
    paper = EcapaTdnn(8, 16, 24, residual="sum").eval()
    chain = EcapaTdnn(8, 16, 24, residual="chain").eval()
    chain.load_state_dict(paper.state_dict())
    feats = torch.randn(1, 30, 8)
    assert (paper(feats)[0] - chain(feats)[0]).abs().max() > 1e-3


BAD: list[tuple[dict[str, Any] | str, str]] = [
    ({"trunk": {"class_path": "XvectorTdnn", "init_args": {"chanels": [8]}}}, "XvectorTdnn: .*chanels"),
    ({"trunk": {"class_path": "XvectorTdnn", "init_args": {"channels": "wide"}}}, "XvectorTdnn: .*channels.*wide"),
    ({"trunk": {"class_path": "XvectorTdnn", "init_args": {"channels": [8]}}}, "lists of the same length"),
    ({"trunk": {"class_path": "XvectorTdnn", "init_args": {"feat_dim": 80}}}, "feat_dim"),
    ({"trunk": {"class_path": "EcapaTdnn", "init_args": {"channels": 100}}}, "100 channels"),
    ({"trunk": {"class_path": "EcapaTdnn", "arguments": {}}}, "class_path and init_args"),
    ({"trunk": "Xvector"}, "trunk 'Xvector' is unknown; there are EcapaTdnn, ResNet, XvectorTdnn"),
    ({"trunk": "StatisticsPooling"}, "trunk 'StatisticsPooling' is unknown"),
    ({"trunk": {"class_path": "os.system", "init_args": {"command": "touch pwned"}}}, "'os.system' is unknown"),
    ({"pooling": {}}, "pooling must hold class_path"),
    ({"embeding_dim": 10}, "embeding_dim"),
    ({"embedding_dim": 0}, "embedding_dim is 0"),
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
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["network.yaml"]


def test_missing_configuration(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.yaml: No such file"):
        build_network(tmp_path / "nowhere.yaml", 80)
