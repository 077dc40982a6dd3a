"""SimAM-ResNet: published sizes, the attention against the paper's formula, and what holds for every network."""

from typing import Any

import numpy as np
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
from timbre.nnet.models.resnet import ResNet
from timbre.nnet.models.simam_resnet import SimAM, SimAMResNet
from timbre.utils.errors import DataError

TINY: dict[str, Any] = {"channels": [8, 8, 16, 16], "blocks": [1, 2, 1, 1]}
SMALL: dict[str, Config] = {
    name: changed(name, trunk=TINY, pooling={"bottleneck": 8}) for name in ("simam_resnet34", "simam_resnet100")
}
CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest, check_learns)


@pytest.mark.parametrize("config", SMALL.values(), ids=SMALL.keys())
@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, 20)


def test_compiles() -> None:
    check_compile(changed("simam_resnet34", trunk=TINY | {"blocks": [1, 1, 1, 1]}, pooling={"bottleneck": 8}), 20)


def test_receptive_field(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = SimAMResNet(8, (4, 8), (1, 2), (1, 2), stem_stride=2)
    assert trunk.receptive_field == 3 + 8 + 2 * 2 * (1 + 2) + 4 * 4
    check_receptive_field(trunk, 8, monkeypatch, {SimAM: lambda self, planes, mask: planes})


def test_published_parameter_counts() -> None:
    for name, published in (("simam_resnet34", 25.2e6), ("simam_resnet100", 50.2e6)):  # WeSpeaker
        assert abs(num_parameters(full_size(CONF[name], 80)) / published - 1) < 0.001, name


def test_the_attention_has_no_weights() -> None:
    sizes: dict[str, Any] = {"channels": (8, 16), "blocks": (2, 1), "strides": (1, 2)}
    assert num_parameters(SimAMResNet(20, **sizes)) == num_parameters(ResNet(20, **sizes))
    assert not SimAM().state_dict()


def brute_force(planes: np.ndarray, regularization: float) -> np.ndarray:
    """Equation 5 of the paper, point by point: each weighted by the sigmoid of the inverse of its least energy."""
    out = np.zeros_like(planes)
    for utterance, channel in np.ndindex(planes.shape[:2]):
        plane = planes[utterance, channel]
        mean = plane.mean()
        variance = ((plane - mean) ** 2).sum() / max(plane.size - 1, 1)
        for point in np.ndindex(plane.shape):
            energy = 4 * (variance + regularization)
            energy /= (plane[point] - mean) ** 2 + 2 * variance + 2 * regularization
            out[utterance, channel][point] = plane[point] / (1 + np.exp(-1 / energy))
    return out


@pytest.mark.parametrize("regularization", [1e-4, 0.5])
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 3, 1, 1), (2, 1, 1, 7)])
def test_attention_is_the_formula_of_the_paper(shape: tuple[int, ...], regularization: float) -> None:
    torch.manual_seed(0)
    planes = 0.1 * torch.randn(shape) + torch.randn(*shape[:2], 1, 1)
    expected = brute_force(planes.double().numpy(), regularization)
    assert np.abs(SimAM(regularization)(planes, None).numpy() - expected).max() < 1e-5


def test_attention_sees_the_real_frames_alone() -> None:
    planes = torch.randn(3, 4, 5, 9)
    lengths = (9, 1, 4)
    mask = (torch.arange(9) < torch.tensor(lengths)[:, None])[:, None]
    for past in (torch.nan, 1e6):
        padded = planes.masked_fill(~mask[:, None], past)
        found = SimAM()(padded, mask)
        for utterance, length in enumerate(lengths):
            alone = brute_force(planes[utterance : utterance + 1, :, :, :length].double().numpy(), 1e-4)
            assert np.abs(found[utterance, :, :, :length].numpy() - alone[0]).max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_where_nothing_varies_all_count_alike(dtype: torch.dtype) -> None:
    for shape in ((2, 3, 4, 5), (2, 3, 1, 1)):
        planes = torch.full(shape, 3.0, dtype=dtype, requires_grad=True)
        out = SimAM()(planes, None)
        assert out.dtype == dtype
        assert torch.allclose(out.float(), 3 * torch.tensor(0.5).sigmoid(), rtol=1e-2)
        out.sum().backward()
        assert planes.grad is not None and torch.allclose(planes.grad.float(), torch.tensor(0.5).sigmoid(), rtol=1e-2)


def test_what_stands_out_counts_more() -> None:
    planes = torch.zeros(1, 1, 4, 5)
    planes[0, 0, 1, 2] = 1.0
    out = SimAM()(planes + 1, None) / (planes + 1)  # the weights
    assert out[0, 0, 1, 2] > 0.9 and (out.flatten().sort().values[:-1] < 0.7).all()


def test_bad_settings() -> None:
    with pytest.raises(DataError, match="SimAMResNet: regularization is 0"):
        SimAMResNet(20, regularization=0.0)
    with pytest.raises(DataError, match=r"SimAMResNet: .* same length"):
        SimAMResNet(20, channels=())
