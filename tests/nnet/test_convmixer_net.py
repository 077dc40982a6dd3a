"""ConvMixer: its published size and map, and what holds for every network."""

from typing import Any

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
)
from timbre.nnet.models.convmixer import ConvMixer
from timbre.nnet.network import build_network
from timbre.utils.errors import DataError

TINY: dict[str, Any] = {"channels": 16, "depth": 3, "kernel": 5, "patch": 4}
SMALL: dict[str, Config] = {"convmixer": changed("convmixer", trunk=TINY)}


@pytest.mark.parametrize(
    "check", [check_padding, check_gradients, check_round_trip, check_shortest, check_compile, check_learns]
)
def test_what_holds_for_every_network(check: Any) -> None:
    check(SMALL["convmixer"], 20)


def test_receptive_field(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = ConvMixer(12, 4, depth=3, kernel=5, patch=3)
    assert trunk.receptive_field == 3 * 13
    check_receptive_field(trunk, 12, monkeypatch)


def test_published_size_and_map() -> None:
    assert num_parameters(full_size(CONF["convmixer"], 128)) == 942_336
    trunk = ConvMixer(128, depth=1).eval()
    with torch.inference_mode():
        assert trunk.stem(torch.randn(1, 1, 128, 1000)).shape == (1, 128, 18, 142)
        assert trunk(torch.randn(1, 1000, 128))[0].shape == (1, 128, 142)


def test_the_embedding_is_the_mean_of_the_map_that_the_paper_describes() -> None:
    """The paper's layers written down as such, also with features and frames that fill no patch."""
    network = trained(build_network(SMALL["convmixer"], 22))
    trunk = network.trunk
    feats = torch.randn(2, 31, 22)
    with torch.inference_mode():
        planes = feats.transpose(1, 2)[:, None, :20, :28]
        patches = planes.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)  # (2, 1, 5, 7, 16)
        hidden = patches[:, 0] @ trunk.stem.weight.flatten(1).T + trunk.stem.bias
        hidden = trunk.stem_norm(functional.gelu(hidden).permute(0, 3, 1, 2))
        for block in trunk.blocks:
            near = nn.functional.conv2d(hidden, block.depthwise.weight, block.depthwise.bias, padding="same", groups=16)
            hidden = hidden + block.depthwise_norm(functional.gelu(near))
            mixed = torch.einsum("bcft,dc->bdft", hidden, block.pointwise.weight[:, :, 0, 0])
            hidden = block.pointwise_norm(functional.gelu(mixed + block.pointwise.bias[:, None, None]))
        expected = hidden.mean((2, 3))
        assert torch.allclose(network(feats), expected, atol=1e-4)
        assert torch.equal(network(feats), network(feats[:, :28]))
        assert not torch.allclose(network(feats), network(feats[:, :27]), atol=1e-3)


def test_bad_settings_are_named() -> None:
    for settings in ({"kernel": 4}, {"depth": 0}, {"patch": 0}):
        with pytest.raises(DataError, match="must be at least 1, kernel odd"):
            ConvMixer(20, **settings)
    with pytest.raises(DataError, match="a patch is 7 wide, the features only 6"):
        ConvMixer(6)
