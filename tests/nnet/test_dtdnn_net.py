"""D-TDNN and D-TDNN-SS: published sizes, the selection of branches, and what holds for every network."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

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
from timbre.nnet.models.dtdnn import DenseLayer, DenseTdnn, Selection, high_order_statistics
from timbre.utils.errors import DataError

TINY: dict[str, Any] = {"stem_channels": 16, "growth": 8, "bottleneck": 12, "blocks": [2, 3]}
SMALL: dict[str, Config] = {name: changed(name, trunk=TINY, embedding_dim=24) for name in ("dtdnn", "dtdnn_ss")}
VARIANTS = SMALL | {
    "null branch alone": changed("dtdnn", trunk=TINY | {"null_branch": True}),
    "null branch": changed("dtdnn_ss", trunk=TINY | {"null_branch": True, "dilations": [[1], [1, 2, 4]]}),
}
CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest, check_learns)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, 20)


@pytest.mark.parametrize("name", ["dtdnn", "dtdnn_ss", "null branch"])
def test_compiles(name: str) -> None:
    check_compile(VARIANTS[name], 20)


@pytest.mark.parametrize(
    ("dilations", "field"), [(((1,), (3,)), 5 + 2 * 2 + 3 * 6), (((1, 3), (2, 1)), 5 + 2 * 6 + 3 * 4)]
)
def test_receptive_field(dilations: Any, field: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = DenseTdnn(6, 8, 4, 6, (2, 3), dilations)
    assert trunk.receptive_field == field
    check_receptive_field(trunk, 6, monkeypatch, {Selection: lambda self, branches, mask: sum(branches)})


def test_context_in_the_comments() -> None:
    assert [full_size(CONF[name], 30).receptive_field for name in ("dtdnn", "dtdnn_ss")] == [89, 113]


def test_published_parameter_counts() -> None:
    published = {
        "2.8": CONF["dtdnn"],
        "3.0": changed("dtdnn", trunk={"null_branch": True}),  # D-TDNN-SS (0)
        "3.5": CONF["dtdnn_ss"],
        "3.1": changed("dtdnn_ss", embedding_dim=128),
    }
    for millions, config in published.items():
        assert f"{num_parameters(full_size(config, 30)) / 1e6:.1f}" == millions


def test_statistics_are_those_of_scipy() -> None:
    torch.manual_seed(0)
    frames = torch.distributions.Gamma(2.0, 1.0).sample((3, 5, 60)) + 4  # skewed, and far from 0
    lengths = (60, 31, 2)
    mask = (torch.arange(60) < torch.tensor(lengths)[:, None])[:, None]
    padded = frames.masked_fill(~mask, torch.nan)
    for found, utterance, length in zip(high_order_statistics(padded, mask), frames, lengths, strict=True):
        exact = utterance[:, :length].double().numpy()
        kurtosis = stats.kurtosis(exact, 1, fisher=False)
        expected = np.concatenate((exact.mean(1), exact.std(1), stats.skew(exact, 1), kurtosis))
        assert np.abs(found.numpy() - expected).max() <= 1e-4
    assert torch.allclose(high_order_statistics(frames, None)[0], high_order_statistics(padded, mask)[0])


def test_statistics_of_equal_frames_have_gradients() -> None:
    frames = torch.full((1, 2, 10), 3.0, requires_grad=True)
    found = high_order_statistics(frames, None)
    assert torch.allclose(found, torch.tensor([[3, 3, 0.01, 0.01, 0, 0, 0, 0]]))
    found.sum().backward()
    assert frames.grad is not None and frames.grad.isfinite().all()


def test_selection_weights_are_shares_of_each_channel() -> None:
    torch.manual_seed(0)
    branches = [torch.randn(2, 6, 20), torch.randn(2, 6, 20)]
    for null_branch in (False, True):
        selection = Selection(6, 2, null_branch, 3)
        same = selection([branches[0], branches[0]], None) / branches[0]  # sum of the weights of both
        share = same.mean(2)
        assert torch.allclose(same, share[:, :, None].expand_as(same), atol=1e-4)  # one weight for all frames
        assert (share < 0.999).all() if null_branch else torch.allclose(share, torch.ones(2, 6))
    # a score far above the others takes its branch alone, or none
    for chosen, expected in enumerate((*branches, torch.zeros(2, 6, 20))):
        selection = Selection(6, 2, True, 3)
        torch.nn.init.zeros_(selection.scores.weight)
        with torch.no_grad():
            selection.scores.bias.fill_(-100).unflatten(0, (3, 6))[chosen] = 100
        assert torch.allclose(selection(branches, None), expected, atol=1e-6)


def test_selection_is_there_only_where_there_is_a_choice() -> None:
    assert DenseLayer(8, 4, 4, (3,), False, 2).selection is None
    assert DenseLayer(8, 4, 4, (3,), True, 2).selection is not None
    assert DenseLayer(8, 4, 4, (1, 3), False, 2).selection is not None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": (6,)}, "lists of the same length"),
        ({"blocks": (), "dilations": ()}, "lists of the same length"),
        ({"dilations": ((1,), ())}, "at least 1"),
        ({"dilations": ((1,), (0, 3))}, "at least 1"),
        ({"blocks": (6, 0)}, "at least 1"),
        ({"growth": 0}, "at least 1"),
        ({"reduction": 65}, "reduction is 65"),
        ({"reduction": 0}, "reduction is 0"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=f"DenseTdnn: .*{message}"):
        DenseTdnn(30, **settings)
