"""F-TDNN: the semi-orthogonal constraint, the dropout and its schedule, and what holds for every network."""

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

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
from timbre.nnet.models.ftdnn import (
    Factor,
    FactorizedTdnn,
    SharedDropout,
    nearer_to_semi_orthogonal,
    parse_schedule,
    scheduled_value,
)
from timbre.nnet.network import build_network
from timbre.utils.errors import DataError

TINY: dict[str, Any] = {"stem_channels": 16, "channels": 24, "bottleneck": 8, "output_channels": 32}
SMALL: dict[str, Config] = {"ftdnn": changed("ftdnn", trunk=TINY, hidden_dims=[24], embedding_dim=24)}
VARIANTS = SMALL | {"without dropout": changed("ftdnn", trunk=TINY | {"dropout": "0", "every": 1}, hidden_dims=[24])}
CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest, check_learns)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, 20)


def test_compiles() -> None:
    check_compile(SMALL["ftdnn"], 20)


def test_receptive_field(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = FactorizedTdnn(6, 8, 12, 4, 16)
    assert trunk.receptive_field == 43
    check_receptive_field(trunk, 6, monkeypatch)


def test_every_frame_stays_where_it_is() -> None:
    trunk = FactorizedTdnn(6, 8, 12, 4, 16).eval()
    feats = torch.randn(1, 70, 6)
    with torch.inference_mode():
        assert trunk(feats)[0].shape == (1, 16, 70)
        moved = feats.clone()
        moved[:, 35] += 1
        seen = (trunk(moved)[0] - trunk(feats)[0]).abs().sum((0, 1)).nonzero()
    assert int(seen.min()) == 35 - 21 and int(seen.max()) == 35 + 21


def test_counted_parameters() -> None:
    for feat_dim, millions in ((80, 13.93), (40, 13.83)):
        assert round(num_parameters(full_size(CONF["ftdnn"], feat_dim)) / 1e6, 2) == millions


def error_from_semi_orthogonal(matrix: Tensor) -> float:
    """Frobenius norm of M M^T - scale^2 I in float64, rows being the shorter side."""
    exact = matrix.double().numpy()
    exact = exact if exact.shape[0] <= exact.shape[1] else exact.T
    gram = exact @ exact.T
    scale = np.trace(gram @ gram.T) / np.trace(gram)
    return float(np.linalg.norm(gram - scale * np.eye(len(gram))))


def exact_step(matrix: np.ndarray) -> np.ndarray:
    """One step of the constraint in float64, as the papers write it."""
    if matrix.shape[0] > matrix.shape[1]:
        return exact_step(matrix.T).T
    gram = matrix @ matrix.T
    scale = np.sqrt(np.trace(gram @ gram.T) / np.trace(gram))
    ratio = np.trace(gram @ gram) * len(gram) / np.trace(gram) ** 2
    speed = 1 / 8
    if ratio > 1.02:
        speed /= 2
        if ratio > 1.1:
            speed /= 2
    return matrix - 4 * speed / scale**2 * (gram - scale**2 * np.eye(len(gram))) @ matrix


@pytest.mark.parametrize(("shape", "factor"), [((256, 1024), 1.0), ((64, 64), 3.0), ((96, 40), 0.01)])
def test_a_multiple_of_a_semi_orthogonal_matrix_stays_as_it_is(shape: tuple[int, int], factor: float) -> None:
    matrix = factor * nn.init.orthogonal_(torch.empty(shape))
    assert (nearer_to_semi_orthogonal(matrix) - matrix).abs().max() <= 1e-6 * factor


@pytest.mark.parametrize("shape", [(256, 1024), (256, 512), (1024, 256)])
def test_sixty_steps_make_a_random_matrix_semi_orthogonal(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape) / 256**0.5
    errors = [error_from_semi_orthogonal(matrix)]
    for _ in range(60):
        matrix = nearer_to_semi_orthogonal(matrix)
        errors.append(error_from_semi_orthogonal(matrix))
    assert errors[0] > 5 and errors[-1] < 5e-4
    assert all(after < before for before, after in pairwise(errors) if before > 1e-3)


@pytest.mark.parametrize(("spread", "low", "high"), [(0.02, 1.001, 1.02), (0.08, 1.02, 1.1), (0.5, 1.1, 2.0)])
def test_one_step_is_that_of_the_definition_at_each_speed(spread: float, low: float, high: float) -> None:
    torch.manual_seed(1)
    for shape in ((30, 80), (80, 30)):
        matrix = 2 * nn.init.orthogonal_(torch.empty(shape)) + spread * torch.randn(shape)
        singular = torch.linalg.svdvals(matrix)
        assert low < float(30 * singular.pow(4).sum() / singular.square().sum() ** 2) < high  # the ratio
        expected = exact_step(matrix.double().numpy())
        assert np.abs(nearer_to_semi_orthogonal(matrix).double().numpy() - expected).max() <= 2e-6


def test_a_matrix_of_zeros_is_left_alone() -> None:
    assert not nearer_to_semi_orthogonal(torch.zeros(4, 9)).any()
    assert torch.equal(nearer_to_semi_orthogonal(torch.full((1, 4), 1e-9)), torch.full((1, 4), 1e-9))


def test_constraint_is_float32_whatever_is_allowed_around_it() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(64, 128) / 8
    expected = nearer_to_semi_orthogonal(matrix)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            found = nearer_to_semi_orthogonal(matrix)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_constraint_comes_after_every_fourth_update_and_spares_the_last_factor() -> None:
    trunk = FactorizedTdnn(6, 8, 12, 4, 16, every=4)
    factors = [module for module in trunk.modules() if isinstance(module, Factor)]
    assert [bool(factor.every) for factor in factors] == [True, True, False] * 8
    for step in range(8):
        before = [factor.conv.weight.clone() for factor in factors]
        with torch.no_grad():
            for factor in factors:
                factor.constrain(step)
        changes = [not torch.equal(old, factor.conv.weight) for old, factor in zip(before, factors, strict=True)]
        assert changes == ([True, True, False] * 8 if step % 4 == 3 else [False] * 24)


def test_training_under_bfloat16_ends_semi_orthogonal() -> None:
    torch.manual_seed(0)
    trunk = FactorizedTdnn(6, 32, 32, 8, 16, every=1, dropout="0")
    optimizer = torch.optim.Adam(trunk.parameters(), 1e-3)
    factors = [module for module in trunk.modules() if isinstance(module, Factor) and module.every]
    for step in range(30):
        with torch.autocast("cpu", torch.bfloat16):
            loss = trunk(torch.randn(4, 30, 6))[0].float().square().mean()
            optimizer.zero_grad()
            loss.backward()
            if step < 25:
                optimizer.step()
            with torch.no_grad():
                for factor in factors:
                    factor.constrain(step)
    for factor in factors:
        weight = factor.conv.weight.detach()
        assert weight.dtype == torch.float32
        assert error_from_semi_orthogonal(weight.flatten(1)) < 1e-3


def test_initial_spread() -> None:
    factor = Factor(300, 200, 2, 1, every=4)
    assert abs(float(factor.conv.weight.detach().std()) * 200**0.5 - 1) < 0.02


def test_schedule_in_the_form_of_kaldi() -> None:
    schedule = parse_schedule("0,0@.20,.5@.50,0")
    assert schedule == ((0, 0), (0.2, 0), (0.5, 0.5), (1, 0))
    found = [scheduled_value(schedule, done) for done in (0, 0.1, 0.2, 0.35, 0.5, 0.75, 1)]
    assert found == pytest.approx([0, 0, 0, 0.25, 0.5, 0.25, 0])
    assert parse_schedule("0.1,0.3,0.2") == ((0, 0.1), (0.5, 0.3), (1, 0.2))
    assert parse_schedule("0.1") == ((0, 0.1), (1, 0.1))
    jump = parse_schedule("0,0@.5,.4@.5,.4")
    assert [scheduled_value(jump, done) for done in (0.499, 0.5, 1.0)] == [0, 0.4, 0.4]


@pytest.mark.parametrize(
    "text", ["", "0,", "0;0", "0,.6@.5,0", "-.1,0", "0,.1@.5,.2@.4,0", "0,.1@1.5,0", "nan", "0,.1@,0"]
)
def test_wrong_schedule(text: str) -> None:
    with pytest.raises(DataError, match=r"FactorizedTdnn: dropout .* is not a schedule"):
        FactorizedTdnn(6, 8, 12, 4, 16, dropout=text)


@pytest.mark.parametrize("setting", ["stem_channels", "channels", "bottleneck", "output_channels", "every"])
def test_sizes_below_one(setting: str) -> None:
    with pytest.raises(DataError, match=r"FactorizedTdnn: .* at least 1"):
        FactorizedTdnn(6, **{setting: 0})


def test_dropout_is_one_number_a_channel_drawn_around_one() -> None:
    torch.manual_seed(0)
    dropout = SharedDropout(parse_schedule("0,.3,0"))
    frames = torch.ones(200, 50, 3)
    dropout.update(50, 101)
    drawn = dropout(frames)
    assert torch.equal(drawn, drawn[:, :, :1].expand(-1, -1, 3))
    draws = drawn[:, :, 0].flatten()
    assert 0.4 <= float(draws.min()) < 0.41 and 1.59 < float(draws.max()) <= 1.6
    assert abs(float(draws.mean()) - 1) < 0.01
    assert abs(float(draws.std()) - 1.2 / 12**0.5) < 0.01  # of a uniform distribution
    assert dropout(frames.bfloat16()).dtype == torch.bfloat16
    assert torch.equal(dropout.eval()(frames), frames)
    dropout.train().update(100, 101)
    assert torch.equal(dropout(frames), frames)


def test_strength_goes_on_where_it_was() -> None:
    network = build_network(SMALL["ftdnn"], 20)
    again = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, SharedDropout):
            module.update(50, 101)
    again.load_state_dict(network.state_dict())
    strengths = [float(module.strength) for module in again.modules() if isinstance(module, SharedDropout)]
    assert strengths == [0.5] * 8
    feats = torch.randn(4, 30, 20)
    torch.manual_seed(3)
    expected = network(feats)
    torch.manual_seed(3)
    assert torch.equal(again(feats), expected)
