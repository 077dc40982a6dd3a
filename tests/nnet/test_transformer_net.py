"""Transformer encoder: the one of torch but for its padding, HW4's sizes, and what holds for every network."""

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
    check_round_trip,
    check_shortest,
    full_size,
    num_parameters,
    utterances,
)
from timbre.nnet.models.transformer import Transformer
from timbre.nnet.network import build_network
from timbre.nnet.objectives import build_objective
from timbre.utils.errors import DataError

TINY = {"channels": 16, "blocks": 2, "heads": 2, "hidden": 24}
SMALL: dict[str, Config] = {name: changed(name, trunk=TINY) for name in ("transformer", "transformer_large")}
CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest, check_compile)


@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any) -> None:
    check(SMALL["transformer"], 20)


def test_it_learns() -> None:
    check_learns(SMALL["transformer"], 20, lr=0.01)


def test_it_is_the_one_of_torch() -> None:
    torch.manual_seed(0)
    trunk = Transformer(40, channels=32, blocks=2, heads=4, hidden=48).eval()
    layer = nn.TransformerEncoderLayer(32, 4, 48, batch_first=True)
    theirs = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    for own, other in zip(trunk.blocks, theirs.layers, strict=True):
        other.self_attn.in_proj_weight.data.copy_(own.attention.project.weight)
        other.self_attn.in_proj_bias.data.copy_(own.attention.project.bias)
        other.self_attn.out_proj.load_state_dict(own.attention.combine.state_dict())
        other.linear1.load_state_dict(own.feed_forward[0].state_dict())
        other.linear2.load_state_dict(own.feed_forward[3].state_dict())
        other.norm1.load_state_dict(own.attention_norm.state_dict())
        other.norm2.load_state_dict(own.norm.state_dict())
    feats, lengths = utterances(3, 30, 40), torch.tensor([30, 7, 19])
    past = torch.arange(30)[None] >= lengths[:, None]
    expected = theirs(trunk.entry(feats), src_key_padding_mask=past)
    made = trunk(feats, lengths)[0].transpose(1, 2)
    torch.testing.assert_close(made[~past], expected[~past], atol=1e-5, rtol=1e-4)


HW4: dict[str, tuple[str, int]] = {
    "transformer": ("softmax_hidden80", 126_216),
    "conformer": ("amsoftmax_04", 418_864),  # as the source has
}


@pytest.mark.parametrize("name", HW4)
def test_sizes_of_the_baselines_of_hw4(name: str) -> None:
    network, (objective, size) = full_size(CONF[name], 40), HW4[name]
    path = CONF[name].parents[1] / "objective" / f"{objective}.yaml"
    head = build_objective(path, network.embedding_dim, 600)
    assert num_parameters(network) + num_parameters(head) == size


@pytest.mark.parametrize("name", ["transformer", "transformer_large", "conformer_mean", "conformer"])
def test_whole_utterances_alone_and_in_a_padded_batch_agree(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(CONF[name], 40).eval()
    feats, lengths = 2 * utterances(4, 300, 40) - 8, [300, 129, 40, 1]
    with torch.inference_mode():
        together = network(feats, torch.tensor(lengths))
        alone = torch.cat([network(one[None, :length]) for one, length in zip(feats, lengths, strict=True)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


WRONG: tuple[Config, ...] = ({"channels": 0}, {"heads": 3}, {"dropout": 1.0}, {"hidden": 0})


@pytest.mark.parametrize("settings", WRONG, ids=str)
def test_settings_that_are_wrong(settings: Config) -> None:
    with pytest.raises(DataError, match=r"Transformer: channels|do not make"):
        Transformer(40, **settings)
