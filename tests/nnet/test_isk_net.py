"""ISKConvNet: sizes, the choice between branches against brute force, and what holds for every network."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from network_checks import (
    CONF,
    Config,
    changed,
    check_compile,
    check_gradients,
    check_learns,
    check_padding,
    check_receptive_field,
    check_round_trip,
    check_shortest,
    full_size,
    num_parameters,
    trained,
    utterances,
)
from timbre.nnet.models.iskconvnet import BranchAttention, IskConvNet, SelectiveConvolution
from timbre.nnet.network import build_network
from timbre.utils.errors import DataError

TINY: dict[str, Any] = {"channels": [8, 8, 16, 16], "blocks": [1, 2, 1, 1], "min_hidden": 4}
SMALL: dict[str, Config] = {name: changed(name, trunk=TINY) for name in ("iskconvnet", "iskconvnet_last")}
VARIANTS = SMALL | {"three branches": changed("iskconvnet", trunk=TINY | {"dilations": [1, 2, 5]})}
CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest, check_learns)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, 20)


def test_compiles() -> None:
    check_compile(changed("iskconvnet", trunk=TINY | {"blocks": [1, 1, 1, 1]}), 20)


def test_receptive_field(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = IskConvNet(8, (4, 8), (1, 2), (1, 2), stem_stride=2, dilations=(1, 2, 3))
    assert trunk.receptive_field == 3 + 2 * (2 + 6) + 2 * (2 + 12) + 4 * (2 + 6)
    alike = {BranchAttention: lambda self, planes, mask: torch.full((len(planes), 3, planes.shape[1]), 1 / 3)}
    check_receptive_field(trunk, 8, monkeypatch, alike)


def test_counts() -> None:
    for name in ("iskconvnet", "iskconvnet_last"):
        network = full_size(CONF[name], 64)
        assert f"{num_parameters(network.trunk) / 1e6:.2f}" == "8.41"
        assert f"{num_parameters(network.trunk):,}" in CONF[name].read_text()
    assert num_parameters(network.segment) == 2 * 2048 * 256 + 256


def test_multi_scale_statistics_are_those_of_the_last_three_stages() -> None:
    torch.manual_seed(0)
    network = trained(build_network(changed("iskconvnet", trunk=TINY, embedding_dim=None), 20))
    feats = utterances(2, 40, 20)
    with torch.inference_mode():
        found = network(feats)
        planes = [planes for planes, _ in network.trunk.planes(feats, None)]
        assert [plane.shape[1:] for plane in planes] == [(8, 20, 40), (8, 10, 20), (16, 5, 10), (16, 3, 5)]
        expected = [torch.cat((plane.mean(3), plane.std(3, correction=0)), 1).flatten(1) for plane in planes[1:]]
        assert torch.allclose(found, torch.cat(expected, 1), atol=1e-4)
        last, _ = network.trunk(feats)
        assert torch.equal(last, planes[-1].flatten(1, 2))


@pytest.mark.parametrize("branches", [1, 2, 3])
def test_attention_is_a_choice_between_the_branches(branches: int) -> None:
    torch.manual_seed(0)
    attention = BranchAttention(6, branches, reduction=2, min_hidden=5).train()
    weights = attention(torch.randn(4, 6, 5, 7), None)
    assert weights.shape == (4, branches, 6)
    assert torch.allclose(weights.sum(1), torch.ones(4, 6)) and (weights > 0).all()
    if branches > 1:
        assert weights.std(0).min() > 1e-4  # it depends on the utterance


def test_hidden_layer_is_not_below_its_minimum() -> None:
    for channels, reduction, expected in ((256, 16, 32), (1024, 16, 64)):
        hidden = BranchAttention(channels, 2, reduction, 32).hidden[0]
        assert isinstance(hidden, nn.Linear) and hidden.weight.shape == (expected, 2 * channels)


def test_selective_convolution_is_brute_force() -> None:
    torch.manual_seed(0)
    layer = SelectiveConvolution(6, (1, 2), reduction=2, min_hidden=4)
    for norm in (module for module in layer.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)):
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    layer.eval()
    planes = torch.randn(2, 6, 5, 11)
    lengths = (11, 4)
    mask = (torch.arange(11) < torch.tensor(lengths)[:, None])[:, None]
    with torch.no_grad():
        found = layer(planes.masked_fill(~mask[:, None], 0), mask).numpy()
        hidden, norm, _ = layer.attention.hidden
        for utterance, length in enumerate(lengths):
            alone = planes[utterance : utterance + 1, :, :, :length]
            outputs = np.stack([branch(alone)[0].double().numpy() for branch in layer.branches])
            total = outputs.sum(0).reshape(6, -1)
            statistics = np.concatenate((total.mean(1), total.std(1)))
            squeezed = hidden.weight.double().numpy() @ statistics - norm.running_mean.numpy()
            squeezed = np.maximum(squeezed / np.sqrt(norm.running_var.numpy() + norm.eps), 0)
            scores = layer.attention.scores.weight.double().numpy() @ squeezed
            scores = (scores + layer.attention.scores.bias.double().numpy()).reshape(2, 6)
            weights = np.exp(scores) / np.exp(scores).sum(0)
            expected = (weights[:, :, None, None] * outputs).sum(0)
            assert np.abs(found[utterance, :, :, :length] - expected).max() < 1e-5


@pytest.mark.parametrize("dilation", [1, 2])
def test_one_branch_is_a_plain_convolution(dilation: int) -> None:
    torch.manual_seed(0)
    layer = SelectiveConvolution(4, (dilation,), reduction=2, min_hidden=4).eval()
    (branch,) = layer.branches
    planes = torch.randn(2, 4, 6, 9)
    plain = functional.conv2d(planes, branch.conv.weight, padding=(1, dilation), dilation=(1, dilation))
    with torch.inference_mode():
        assert torch.allclose(layer(planes, None), plain / (1 + branch.norm.eps) ** 0.5, atol=1e-6)


def test_the_long_branch_is_long_in_time_alone() -> None:
    branch = SelectiveConvolution(3, (1, 2), 16, 32).eval().branches[1]
    planes = torch.zeros(1, 3, 9, 9, requires_grad=True)
    branch(planes)[0, :, 4, 4].sum().backward()
    assert planes.grad is not None
    assert planes.grad[0].abs().sum(0).nonzero().tolist() == [[f, t] for f in (3, 4, 5) for t in (2, 4, 6)]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"dilations": ()}, r"IskConvNet: dilations are \(\)"),
    ({"dilations": (1, 0)}, r"IskConvNet: dilations are \(1, 0\)"),
    ({"reduction": 0}, "IskConvNet: .*reduction is 0"),
    ({"min_hidden": 0}, "IskConvNet: .*min_hidden is 0"),
    ({"strides": (1, 2)}, "IskConvNet: .*same length"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_settings(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        IskConvNet(20, **wrong)
