"""RepVGG: published size and cost, the fused form against the branches, and what holds for every network."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

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
from timbre.nnet import checkpoint
from timbre.nnet.model import load_model, write_config
from timbre.nnet.models.repvgg import RepVgg, RepVggBlock
from timbre.nnet.network import build_network
from timbre.utils.errors import DataError

TINY: dict[str, Any] = {"channels": [8, 8, 16], "blocks": [1, 2, 2], "strides": [1, 2, 2], "stem_channels": 8}
SMALL: dict[str, Config] = {name: changed(name, trunk=TINY) for name in ("repvgg_tiny_a0", "repvgg_small")}
CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest, check_learns)

by_name = pytest.mark.parametrize("config", SMALL.values(), ids=SMALL.keys())


@by_name
@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, 20)


def test_compiles() -> None:
    check_compile(SMALL["repvgg_tiny_a0"], 20)


def test_receptive_field(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = RepVgg(8, (4, 8), (1, 2), (1, 2), stem_channels=4, stem_stride=2)
    assert trunk.receptive_field == 3 + 4 + 4 + 8
    check_receptive_field(trunk, 8, monkeypatch)
    trunk.fuse()
    check_receptive_field(trunk, 8, monkeypatch)


def test_published_size_and_cost_are_those_of_the_fused_form() -> None:
    network = full_size(CONF["repvgg_tiny_a0"], 80).eval()
    network.trunk.fuse()
    assert f"{num_parameters(network):,}" in CONF["repvgg_tiny_a0"].read_text()
    assert abs(num_parameters(network) / 6.26e6 - 1) < 0.001
    with FlopCounterMode(display=False) as counter, torch.device("meta"), torch.no_grad():
        network.trunk(torch.empty(1, 200, 80))
    assert abs(counter.get_total_flops() / 2 / 4.65e9 - 1) < 0.001  # multiply-adds, two seconds


@by_name
def test_fused_is_the_same_function(config: Config) -> None:
    torch.manual_seed(0)
    network = trained(build_network(config, 20))
    feats, lengths = utterances(4, 50, 20), torch.tensor([50, 1, 17, 32])
    with torch.inference_mode():
        expected, batch = network(feats), network(feats, lengths)
        network.trunk.fuse()
        scale = max(1.0, float(expected.abs().max()))
        assert (network(feats) - expected).abs().max() <= 1e-5 * scale
        assert (network(feats, lengths) - batch).abs().max() <= 1e-5 * scale
        kinds = {type(module) for module in network.trunk.modules() if not list(module.children())}
        assert kinds == {nn.Conv2d}
        state = {name: value.clone() for name, value in network.state_dict().items()}
        network.trunk.fuse()  # again: nothing is left to do
        assert state.keys() == network.state_dict().keys()
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("inputs", "stride", "branches"), [(6, 1, 3), (6, 2, 2), (4, 1, 2)])
def test_fused_kernel_is_the_sum_of_the_branches(inputs: int, stride: int, branches: int) -> None:
    torch.manual_seed(0)
    block = RepVggBlock(inputs, 6, stride).double().eval()
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == branches
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            nn.init.normal_(tensor)
        norm.running_var.uniform_(0.1, 2)
    planes = torch.randn(2, inputs, 7, 9, dtype=torch.float64)
    expected = functional.batch_norm(
        functional.conv2d(planes, block.dense.conv.weight, stride=stride, padding=1),
        norms[0].running_mean,
        norms[0].running_var,
        norms[0].weight,
        norms[0].bias,
    )
    expected += block.point(planes) + (0 if block.identity is None else block.identity(planes))
    assert torch.allclose(block(planes, None)[0], expected.relu(), atol=1e-12)
    block.fuse()
    assert isinstance(block.fused, nn.Conv2d) and block.fused.weight.dtype == torch.float64
    assert torch.allclose(block(planes, None)[0], expected.relu(), atol=1e-12)


def test_load_model_fuses_and_the_file_keeps_the_branches(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = trained(build_network(SMALL["repvgg_small"], 20))
    write_config({"network": network.config, "feat_dim": 20, "normalize": {}}, tmp_path)
    checkpoint.save({"network": network.state_dict()}, tmp_path / "final.pt")
    loaded, _ = load_model(tmp_path)
    assert num_parameters(loaded) < num_parameters(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in loaded.trunk.modules())
    feats = utterances(2, 40, 20)
    with torch.inference_mode():
        expected = network(feats)
        assert (loaded(feats) - expected).abs().max() <= 1e-5 * max(1.0, float(expected.abs().max()))
    assert any("identity" in name for name in checkpoint.load(tmp_path / "final.pt")["network"])


def test_bad_settings() -> None:
    with pytest.raises(DataError, match=r"RepVgg: .* same length"):
        RepVgg(20, blocks=(1,))
    with pytest.raises(DataError, match=r"RepVgg: .* at least 1"):
        RepVgg(20, stem_channels=0)
