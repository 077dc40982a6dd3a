"""ECAPA-TDNN: sizes that are published, the two residuals, and what holds for every network."""

from typing import Any

import pytest
import torch

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
)
from timbre.nnet.layers import SqueezeExcitation
from timbre.nnet.models import EcapaTdnn

TINY: dict[str, Any] = {"channels": 32, "output_channels": 48, "bottleneck": 8}
SMALL: dict[str, Config] = {
    name: changed(name, trunk=TINY) for name in CONF if name.startswith("ecapa") and name != "ecapa512_xi"
}
VARIANTS = {
    "ecapa128": SMALL["ecapa128"],  # the others are as it when all are small
    "chain without context": changed("ecapa128", trunk=TINY | {"residual": "chain"}, pooling={"global_context": False}),
}
MIRRORED = changed("ecapa128", trunk=TINY | {"padding": "reflect", "output_norm": True})

by_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())


@by_variant
@pytest.mark.parametrize(
    "check", [check_padding, check_gradients, check_round_trip, check_shortest, check_compile, check_learns]
)
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, 20)


@pytest.mark.parametrize("check", [check_padding, check_gradients, check_round_trip, check_shortest])
def test_with_mirrored_ends_too(check: Any) -> None:
    check(MIRRORED, 20)


def test_every_small_ecapa_is_the_same() -> None:
    assert all(config == SMALL["ecapa128"] for config in SMALL.values())


def test_receptive_field(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = EcapaTdnn(8, 16, 24)
    assert trunk.receptive_field == 131
    check_receptive_field(trunk, 8, monkeypatch, {SqueezeExcitation: lambda self, frames, mask: frames})


def test_published_parameter_counts() -> None:
    for name, count in (("ecapa512", 6_190_720), ("ecapa1024", 14_657_088)):
        assert num_parameters(full_size(CONF[name], 80)) == count
    for name, count in (("ecapa512", 5_797_504), ("ecapa1024", 14_263_872)):
        assert num_parameters(full_size(changed(name, pooling={"global_context": False}), 80)) == count


def test_residual_changes_the_function_and_not_the_weights() -> None:
    paper = EcapaTdnn(8, 16, 24, residual="sum").eval()
    chain = EcapaTdnn(8, 16, 24, residual="chain").eval()
    chain.load_state_dict(paper.state_dict())
    feats = torch.randn(1, 30, 8)
    assert (paper(feats)[0] - chain(feats)[0]).abs().max() > 1e-3
