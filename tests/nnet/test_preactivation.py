"""ResNet with pre-activation: its block against a plain form, and what holds for every network."""

from typing import Any

import pytest
import torch

from network_checks import (
    Config,
    changed,
    check_compile,
    check_gradients,
    check_learns,
    check_padding,
    check_receptive_field,
    check_round_trip,
    check_shortest,
    trained,
)
from timbre.nnet.layers import SqueezeExcitation
from timbre.nnet.models import PreactivationResNet
from timbre.nnet.models.preactivation import PreactivationBlock
from timbre.nnet.network import build_network
from timbre.utils.errors import DataError

SMALL: Config = changed("resnet34", embedding_dim=16) | {
    "trunk": {
        "class_path": "PreactivationResNet",
        "init_args": {"channels": [4, 8, 8, 8], "blocks": [1, 2, 1, 1], "attention_stages": 2},
    }
}


@pytest.mark.parametrize("check", [check_padding, check_gradients, check_round_trip, check_shortest, check_compile])
def test_what_holds_for_every_network(check: Any) -> None:
    check(SMALL, 20)


def test_learns() -> None:
    check_learns(SMALL, 20, lr=2e-2)


def test_receptive_field(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = PreactivationResNet(8, (4, 4, 4), (1, 1, 1), (1, 2, 2))
    assert trunk.receptive_field == 3 + 4 + (2 + 4) + 2 * (2 + 4)
    check_receptive_field(trunk, 8, monkeypatch, {SqueezeExcitation: lambda self, planes, mask: planes})


@pytest.mark.parametrize(("outputs", "stride"), [(6, 1), (8, 1), (6, 2)])
def test_block_is_norm_relu_convolution_thrice(outputs: int, stride: int) -> None:
    block = trained(PreactivationBlock(6, outputs, stride))
    planes = torch.randn(2, 6, 9, 11)
    with torch.inference_mode():
        found, _ = block(planes, None)
        inner = planes
        for norm, conv in zip(block.norms, block.convs, strict=True):
            inner = conv(torch.relu(norm(inner)))
        assert (found - inner - block.shortcut(planes)).abs().max() < 1e-5
        assert (found < 0).any(), "nothing follows the sum"


def test_stages_with_attention_are_the_first() -> None:
    trunk = build_network(SMALL, 20).trunk
    has = [all(block.attention is not None for block in stage) for stage in trunk.blocks]
    assert has == [True, True, False, False]
    with pytest.raises(DataError, match="attention_stages is -1"):
        PreactivationResNet(8, attention_stages=-1)
