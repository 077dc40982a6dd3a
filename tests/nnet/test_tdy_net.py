"""Temporal dynamic convolutions and the networks made of them: against brute force, schedules, published sizes."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
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
    utterances,
)
from timbre.nnet.models.tdy import DynamicBlock, TdyResNet
from timbre.nnet.models.tdy_convolution import TemporalAttention, TemporalDynamicConvolution, bins_to_frames
from timbre.nnet.models.vgg import VggM
from timbre.nnet.network import build_network
from timbre.nnet.scheduled import Scheduled
from timbre.utils.errors import DataError

FEAT_DIM = 24
RESNET: dict[str, Any] = {"channels": [16, 16, 32], "blocks": [1, 2, 1], "strides": [1, 2, 1]}
SHORT: dict[str, Any] = {"channels": [16, 32], "blocks": [1, 1], "strides": [1, 2]}
VGG: dict[str, Any] = {"channels": [16, 24, 24, 24, 24, 32]}


def small(name: str, **settings: Any) -> Config:
    """conf/network/NAME.yaml made tiny, with SETTINGS of its trunk."""
    size = VGG if "vgg_m" in name else SHORT if "_05" in name else RESNET
    kernels = {"num_kernels": 3} if name.startswith("tdy") else {}
    return changed(name, trunk=size | kernels | settings, embedding_dim=24)


NAMES = ("resnet34_025", "resnet34_05", "tdy_resnet34_025", "tdy_resnet34_05", "vgg_m", "tdy_vgg_m")
LONGER = ("tdy_resnet34_025_300", "tdy_resnet34_05_300", "tdy_vgg_m_300")  # the same, at another pace of temperature
SMALL: dict[str, Config] = {name: small(name) for name in (*NAMES, *LONGER)}
# at the temperature of the start the attention, and what may leak through it, hardly counts
AT_WORK = {name: small(name, temperature=1) for name in ("tdy_resnet34_025", "tdy_vgg_m")}


@pytest.mark.parametrize("config", [SMALL[name] for name in NAMES], ids=NAMES)
@pytest.mark.parametrize("check", [check_padding, check_gradients, check_round_trip, check_shortest, check_learns])
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, FEAT_DIM)


@pytest.mark.parametrize("name", NAMES)
def test_compiles(name: str) -> None:
    check_compile(small(name, **({} if name.endswith("vgg_m") else SHORT)), FEAT_DIM)


@pytest.mark.parametrize("config", AT_WORK.values(), ids=AT_WORK.keys())
def test_padding_with_attention_at_work(config: Config) -> None:
    check_padding(config, FEAT_DIM)


@pytest.mark.parametrize(("num_kernels", "resnet", "vgg"), [(1, 33, 171), (3, 61, 347)])
def test_receptive_field(num_kernels: int, resnet: int, vgg: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = TdyResNet(8, (4, 4, 4), (1, 2, 1), (1, 2, 1), num_kernels, temperature=1)
    assert trunk.receptive_field == resnet
    check_receptive_field(trunk, 8, monkeypatch)
    deep = VggM(16, (2, 2, 2, 2, 2, 2), num_kernels, temperature=1)
    assert deep.receptive_field == vgg
    # the maximum hides the frames that are not it; the mean sees the same ones and hides none
    mean = {nn.MaxPool2d: lambda self, planes: functional.avg_pool2d(planes, self.kernel_size, self.stride)}
    check_receptive_field(deep, 16, monkeypatch, mean)


def test_published_parameter_counts() -> None:
    for name, count in (
        ("tdy_resnet34_025", 13_271_682),
        ("tdy_resnet34_05", 51_923_506),
        ("tdy_vgg_m", 71_165_470),
    ):
        assert num_parameters(full_size(CONF[name], 64)) == count
    for name, millions in (("resnet34_025", 1.86), ("resnet34_05", 6.37)):
        assert round(num_parameters(full_size(CONF[name], 64)) / 1e6, 2) == millions


def convolution(stride: tuple[int, int] = (1, 1), kernel: tuple[int, int] = (3, 3)) -> TemporalDynamicConvolution:
    """Three channels of 10 bins in, five out, four basis kernels, an attention that makes a difference."""
    padding = (kernel[0] // 2, kernel[1] // 2)
    layer = TemporalDynamicConvolution(3, 5, 10, kernel, stride, padding, num_kernels=4, temperature=1)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=1.5 if parameter.ndim > 1 else 0.5)
    return layer.double().eval()


@pytest.mark.parametrize(("stride", "kernel"), [((1, 1), (3, 3)), ((2, 2), (3, 3)), ((2, 2), (1, 1)), ((2, 1), (5, 3))])
def test_each_time_bin_has_a_kernel_of_its_own(stride: tuple[int, int], kernel: tuple[int, int]) -> None:
    layer = convolution(stride, kernel)
    planes = torch.randn(2, 3, 13, 10, dtype=torch.float64)
    with torch.inference_mode():
        found = layer(planes, None)
        assert layer.attention is not None
        weights = layer.attention(planes, None).numpy()
    basis = layer.basis.weight.detach().numpy().reshape(5, 4, 3, *kernel)
    (high, wide), (hop, step) = kernel, stride
    padded = np.pad(planes.numpy(), ((0, 0), (0, 0), (high // 2,) * 2, (wide // 2,) * 2))
    expected = np.zeros(found.shape)
    for utt in range(2):
        for time in range(found.shape[2]):
            own = np.tensordot(weights[utt, time], basis, ([0], [1]))
            for place in range(found.shape[3]):
                seen = padded[utt, :, time * hop : time * hop + high, place * step : place * step + wide]
                expected[utt, :, time, place] = (own * seen).sum((1, 2, 3))
    assert weights.std(1).max() > 0.1  # bins do differ
    assert np.abs(found.numpy() - expected).max() <= 1e-9


def test_equal_basis_kernels_make_an_ordinary_convolution() -> None:
    layer = convolution((2, 2))
    kernel = torch.randn(5, 3, 3, 3, dtype=torch.float64)
    with torch.no_grad():
        layer.basis.weight.copy_(kernel.repeat_interleave(4, 0))
        planes = torch.randn(2, 3, 13, 10, dtype=torch.float64)
        assert torch.allclose(layer(planes, None), functional.conv2d(planes, kernel, stride=2, padding=1), atol=1e-12)


def test_weights_of_a_bin_sum_to_one_and_sharpen_as_the_temperature_falls() -> None:
    torch.manual_seed(0)
    attention = TemporalAttention(30, 6, 3, 2, 1, temperature=31, annealing=0.5).eval()
    planes = 20 * torch.randn(2, 3, 21, 10)
    sharpness = []
    for step in (0, 45, 50):
        attention.update(step, 101)
        weights = attention(planes, None)
        assert weights.shape == (2, 11, 6)
        assert (weights.sum(2) - 1).abs().max() < 1e-6
        sharpness.append(weights.amax(2).mean().item())
    assert 1 / 6 < sharpness[0] < sharpness[1] - 0.1 < sharpness[2] - 0.2


def test_temperature_falls_in_a_line_and_stays_at_one() -> None:
    attention = TemporalAttention(8, 2, 3, 1, 1, temperature=31, annealing=0.1)
    found = []
    for step in (0, 10, 50, 100, 101, 1000):
        attention.update(step, 1001)
        found.append(float(attention.temperature))
    assert found == pytest.approx([31, 28, 16, 1, 1, 1])  # the authors' ten epochs of a hundred, 3 an epoch
    for num_steps, annealing in ((1, 0.1), (100, 0.0)):
        attention.annealing = annealing
        attention.update(0, num_steps)
        assert float(attention.temperature) == 1


def test_a_resumed_network_works_at_the_temperature_it_was_left_at() -> None:
    network = trained(build_network(AT_WORK["tdy_resnet34_025"], FEAT_DIM))
    for module in network.modules():
        if isinstance(module, Scheduled):
            module.update(300, 10_000)
    again = build_network(network.config, FEAT_DIM).eval()
    again.load_state_dict(network.state_dict())
    temperatures = [float(value) for name, value in again.state_dict().items() if name.endswith("temperature")]
    assert len(temperatures) == 10 and set(temperatures) == {1.0}

    warm = build_network(SMALL["tdy_resnet34_025"], FEAT_DIM).eval()
    weights = {name: value for name, value in network.state_dict().items() if not name.endswith("temperature")}
    assert all("temperature" in name for name in warm.load_state_dict(weights, strict=False).missing_keys)
    for module in warm.modules():
        if isinstance(module, Scheduled):
            module.update(300, 10_000)
    again.load_state_dict(warm.state_dict())
    temperatures = [float(value) for name, value in again.state_dict().items() if name.endswith("temperature")]
    assert temperatures == pytest.approx([31 - 30 * 300 / 999.9] * 10)
    feats = utterances(2, 40, FEAT_DIM)
    with torch.inference_mode():
        assert torch.equal(again(feats), warm(feats))
        assert not torch.allclose(again(feats), network(feats), atol=1e-3)


@pytest.mark.parametrize("config", AT_WORK.values(), ids=AT_WORK.keys())
def test_the_embedding_is_the_mean_of_those_of_the_frames(config: Config) -> None:
    network = trained(build_network(config | {"instance_norm": False}, FEAT_DIM))
    feats = utterances(2, 130, FEAT_DIM)
    with torch.inference_mode():
        frames, _ = network.trunk(feats)
        of_frames = network.segment(frames.transpose(1, 2))
        assert of_frames.std(1).min() > 0.01
        assert torch.allclose(of_frames.mean(1), network(feats), atol=1e-4)


def set_norms(module: nn.Module) -> None:
    """Statistics of their own for the BatchNorms of MODULE."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            assert part.running_mean is not None and part.running_var is not None
            part.running_mean.normal_(0, 0.3)
            part.running_var.uniform_(0.5, 2)


def test_the_baseline_is_made_of_ordinary_residual_blocks() -> None:
    """Frequency before time, as they are usually written down."""
    block = DynamicBlock(4, 6, 10, 2, (1, 31.0, 0.1))
    set_norms(block.eval())
    assert block.shortcut is not None
    first, second, shortcut = (
        layer.basis.weight.transpose(2, 3) for layer in (block.conv1, block.conv2, block.shortcut)
    )
    planes = torch.randn(2, 4, 10, 13)
    with torch.inference_mode():
        inner = functional.relu(block.norm1(functional.conv2d(planes, first, stride=2, padding=1)))
        inner = block.norm2(functional.conv2d(inner, second, padding=1))
        expected = functional.relu(inner + block.shortcut_norm(functional.conv2d(planes, shortcut, stride=2)))
        found, _ = block(planes.transpose(2, 3), None)
        assert torch.allclose(found.transpose(2, 3), expected, atol=1e-5)


def test_vgg_m_is_the_table_of_its_layers() -> None:
    """Frequency before time and ReLU before the maximum, as it is usually written down."""
    trunk = VggM(64, (4, 6, 5, 6, 7, 8))
    set_norms(trunk.eval())
    shapes: list[tuple[Any, ...]] = [
        ((1, 2), (2, 2), ((1, 3), (1, 2))),
        ((2, 2), (1, 1), ((3, 3), (2, 2))),
        ((1, 1), (1, 1), None),
        ((1, 1), (1, 1), None),
        ((1, 1), (1, 1), ((3, 3), (2, 2))),
        ((1, 1), (0, 0), None),
    ]
    feats = torch.randn(2, 150, 64)
    planes: Tensor = feats.transpose(1, 2)[:, None]
    with torch.inference_mode():
        for layer, (stride, padding, pool) in zip(trunk.layers, shapes, strict=True):
            basis = layer.convolution.basis
            planes = functional.conv2d(planes, basis.weight.transpose(2, 3), basis.bias, stride, padding)
            planes = functional.relu(layer.norm(planes))
            planes = planes if pool is None else functional.max_pool2d(planes, *pool)
        frames, _ = trunk(feats)
        assert planes.shape[2] == 1 and torch.allclose(planes[:, :, 0], frames, atol=1e-4)


@pytest.mark.parametrize("num_kernels", [1, 2])
def test_lengths_are_those_of_the_frames(num_kernels: int) -> None:
    for trunk in (VggM(16, (2, 2, 2, 2, 2, 2), num_kernels), TdyResNet(8, (2, 2), (1, 1), (2, 2), num_kernels)):
        trunk.eval()
        for length in (*range(trunk.min_frames, trunk.min_frames + 9), 94, 95, 126, 127, 128):
            frames, lengths = trunk(
                torch.randn(1, length, 16 if isinstance(trunk, VggM) else 8), torch.tensor([length])
            )
            assert lengths is not None and lengths.tolist() == [frames.shape[2]]


def test_planes_stay_where_they_are_in_memory() -> None:
    planes = torch.randn(2, 3, 7, 10).contiguous(memory_format=torch.channels_last)
    assert bins_to_frames(planes).data_ptr() == planes.data_ptr()
    assert convolution()(planes.double(), None).is_contiguous(memory_format=torch.channels_last)


def test_bad_settings_are_named() -> None:
    for feat_dim, settings, message in (
        (20, {}, "multiple of 8"),
        (24, {"strides": (1, 2)}, "same length"),
        (24, {"num_kernels": 0}, "num_kernels is 0"),
        (24, {"temperature": 0.5}, "temperature is 0.5"),
        (24, {"annealing": 1.5}, "annealing is 1.5"),
    ):
        with pytest.raises(DataError, match=message):
            TdyResNet(feat_dim, **settings)
    with pytest.raises(DataError, match="VggM: 2 channels for 6"):
        VggM(64, (8, 8))
    with pytest.raises(DataError, match="feat_dim is 12"):
        VggM(12)
