"""xi-vectors: sizes, and what holds for every network."""

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
    trained,
    utterances,
)
from timbre.nnet.network import build_network
from timbre.nnet.pooling import GaussianPosteriorPooling

NARROW = {"bottleneck": 8}
SMALL: dict[str, Config] = {
    "ecapa512_xi": changed(
        "ecapa512_xi", trunk={"channels": 32, "output_channels": 48, "bottleneck": 8}, pooling=NARROW
    ),
    "xvector_xi": changed(
        "xvector_xi", trunk={"channels": [32, 32, 32, 32, 48]}, pooling=NARROW, hidden_dims=[32], embedding_dim=24
    ),
}
VARIANTS = SMALL | {
    f"with the spread of {spread}": changed(
        "xvector_xi",
        trunk={"channels": [24] * 5},
        pooling=NARROW | {"spread": spread},
        hidden_dims=[],
        embedding_dim=24,
    )
    for spread in ("posterior", "frames")
}


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize(
    "check", [check_padding, check_gradients, check_round_trip, check_shortest, check_compile, check_learns]
)
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, 20)


def test_parameter_counts() -> None:
    published = 5.9e6  # WeSpeaker's table
    count = num_parameters(full_size(CONF["ecapa512_xi"], 80))
    assert count == 5_896_448 and abs(count / published - 1) < 0.01
    assert num_parameters(full_size(CONF["xvector_xi"], 40)) == 4_522_536
    assert num_parameters(full_size(CONF["xvector_xi"], 80)) == 4_624_936


def test_more_speech_makes_the_posterior_sharper() -> None:
    torch.manual_seed(0)
    config = changed("xvector_xi", trunk={"channels": [24] * 5}, pooling=NARROW | {"spread": "posterior"})
    network = trained(build_network(config, 20))
    (pooling,) = network.poolings
    assert isinstance(pooling, GaussianPosteriorPooling)
    nn.init.constant_(pooling.prior_log_precision, -4.0)
    frames = network.trunk(utterances(5, 400, 20))[0]
    with torch.inference_mode():
        spreads = [pooling(frames[:, :, :length])[:, 24:] for length in (10, 50, 386)]
    assert (spreads[0] > spreads[1]).all() and (spreads[1] > spreads[2]).all()
    assert (spreads[0] < torch.exp(torch.tensor(2.0))).all()  # that of the prior
