"""RET and ARET: sizes of their public code, the shortcut, and what holds for every network."""

from typing import Any

import pytest
import torch
from torch import nn

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
from timbre.nnet.models.ret import AggregatedBlock, BasicBlock, ResidualTdnn
from timbre.utils.errors import DataError

TINY: dict[str, Any] = {"channels": [16, 16, 24, 24], "last_channels": [24, 32]}
SMALL: dict[str, Config] = {
    "ret": changed("ret", trunk=TINY, hidden_dims=[24], embedding_dim=24),
    "aret": changed("aret", trunk=TINY | {"groups": 4}, hidden_dims=[24], embedding_dim=24),
}
VARIANTS = SMALL | {
    "three stages, two blocks, dilations": changed(
        "aret",
        trunk={
            "channels": [16, 16, 16],
            "kernels": [5, 3, 3],
            "dilations": [1, 2, 3],
            "blocks": [2, 0, 1],
            "groups": 8,
            "last_channels": [],
        },
    )
}
CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest, check_learns)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, 20)


@pytest.mark.parametrize("name", ["ret", "aret"])
def test_compiles(name: str) -> None:
    check_compile(VARIANTS[name], 20)


@pytest.mark.parametrize(("block", "field"), [("basic", 13 + 5 * 4), ("aggregated", 13 + 5 * 2)])
def test_receptive_field(block: Any, field: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = ResidualTdnn(6, (8, 8, 8, 8), blocks=(1, 2, 1, 1), block=block, groups=4, last_channels=(8,))
    assert (trunk.min_frames, trunk.receptive_field) == (13, field)
    check_receptive_field(trunk, 6, monkeypatch)


def test_context_in_the_comments() -> None:
    assert [full_size(CONF[name], 40).receptive_field for name in ("ret", "aret")] == [29, 21]


def test_counted_parameters() -> None:
    extended = changed("aret", trunk={"kernels": [5, 3, 3, 3], "dilations": [1, 2, 3, 4]})
    for config, millions in ((CONF["ret"], 12.19), (CONF["aret"], 9.25), (extended, 8.73)):
        assert round(num_parameters(full_size(config, 40)) / 1e6, 2) == millions


@pytest.mark.parametrize(("block", "last"), [(BasicBlock(8), "second"), (AggregatedBlock(8, 4), "after")])
def test_a_block_whose_last_norm_gives_zeros_is_its_input(block: nn.Module, last: str) -> None:
    norm = getattr(block, last).norm
    nn.init.zeros_(norm.weight)
    frames = torch.randn(2, 8, 20) - 1  # negative ones too: there is no ReLU after the sum
    kept = frames.clone()
    assert torch.equal(block(frames, None), kept) and torch.equal(frames, kept)


def test_groups_see_their_own_part_of_the_input_alone() -> None:
    layer = AggregatedBlock(8, 4).grouped.eval()
    frames = torch.randn(1, 8, 10)
    moved = frames.clone()
    moved[:, 2:4] += 1
    with torch.inference_mode():
        changes = (layer(moved) - layer(frames)).abs().sum((0, 2)) > 0
    assert changes.any() and not changes[:4].any() and not changes[8:].any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": (1, 1)}, "lists of the same length"),
        ({"kernels": (5, 3, 3, 0)}, "at least 1"),
        ({"blocks": (1, 1, 1, -1)}, "at least 0"),
        ({"channels": (512, 512, 512, 500)}, "32 equal groups"),
        ({"groups": 0}, "at least 1"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"ResidualTdnn: .*{message}"):
        ResidualTdnn(40, **settings)
