"""ResCNN of Deep Speaker and the thin ResNet34 of GhostVLAD: sizes, plain forms, and what holds for every network."""

from typing import Any

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
from timbre.nnet.models.rescnn import ResCnn
from timbre.nnet.models.thin_resnet import ThinResNet
from timbre.nnet.network import build_network
from timbre.utils.errors import DataError

TINY: dict[str, Any] = {"channels": [4, 8, 8], "blocks": [1, 2, 1]}
THIN: dict[str, Any] = TINY | {"widths": [4, 4, 8], "strides": [1, 2, 2], "stem_channels": 8, "output_channels": 12}
SMALL: dict[str, Config] = {
    **{name: changed(name, trunk=TINY, embedding_dim=16) for name in ("rescnn10", "rescnn18", "rescnn34")},
    "thin_resnet34_vlad": changed("thin_resnet34_vlad", trunk=THIN, pooling={"clusters": 3}, embedding_dim=16),
}
DISTINCT = ("rescnn34", "thin_resnet34_vlad")  # the others are as rescnn34 when all are small


def check_learns_fast(config: Config, feat_dim: int) -> None:
    """So few channels bear, and need, a high learning rate."""
    check_learns(config, feat_dim, lr=2e-2)


CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest, check_learns_fast, check_compile)


@pytest.mark.parametrize("name", DISTINCT)
@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any, name: str) -> None:
    check(SMALL[name], 40)


def test_every_small_rescnn_is_the_same() -> None:
    assert SMALL["rescnn10"] == SMALL["rescnn18"] == SMALL["rescnn34"]


def test_receptive_field(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = ResCnn(8, (2, 3), (1, 2), kernel=5)
    assert trunk.receptive_field == 5 + 2 * 4 + 2 * 4 + 4 * 8
    check_receptive_field(trunk, 8, monkeypatch)
    thin = ThinResNet(24, (4, 8), (2, 4), (1, 2), (1, 2), stem_channels=4, output_channels=6)
    assert thin.receptive_field == 7 + 1 + 2 * 2 + 4 * 2 + 4 * 2
    monkeypatch.setattr(functional, "max_pool2d", functional.avg_pool2d)  # whose gradient reaches all it depends on
    check_receptive_field(thin, 24, monkeypatch)


@pytest.mark.parametrize(("name", "millions"), [("rescnn10", "11.63"), ("rescnn18", "17.90"), ("rescnn34", "28.00")])
def test_published_parameter_counts(name: str, millions: str) -> None:
    assert f"{num_parameters(full_size(CONF[name], 64)) / 1e6:.2f}" == millions


def test_published_parameter_counts_of_parts() -> None:
    network: Any = full_size(CONF["thin_resnet34_vlad"], 257)
    last = network.trunk.readouts[-1]
    assert last.conv.weight.shape == (512, 512, 7, 1)  # 257 bins: 128, 64, 32, 16, and 7 after the last maximum
    assert num_parameters(network.trunk) - num_parameters(last) == 3_690_240
    assert num_parameters(network.poolings) == 512 * 12 + 12 + 10 * 512


def plain_layer(layer: Any, planes: Tensor, stride: int, limit: float, relu: bool = True) -> Tensor:
    """Convolution, BatchNorm, and ReLU up to a limit."""
    kernel, norm = layer.conv.weight, layer.norm
    planes = functional.conv2d(planes, kernel, None, stride, kernel.shape[2] // 2)
    planes = functional.batch_norm(planes, norm.running_mean, norm.running_var, norm.weight, norm.bias)
    return planes.clamp(0, limit) if relu else planes


def test_rescnn_is_its_definition() -> None:
    torch.manual_seed(0)
    trunk: Any = trained(build_network(changed("rescnn34", trunk=TINY | {"relu_limit": 0.5}), 80)).trunk
    feats = 5 * torch.randn(2, 50, 80)
    with torch.no_grad():
        found, _ = trunk(feats)
        planes = plain_layer(trunk.stem.layer, feats.transpose(1, 2)[:, None], 2, 0.5)
        assert planes.shape[2:] == (40, 25)
        for number, (stage, size) in enumerate(zip(trunk.blocks, [(40, 25), (20, 13), (10, 7)], strict=True)):
            blocks = list(stage)
            if number:
                planes = plain_layer(blocks.pop(0).layer, planes, 2, 0.5)
            for block in blocks:
                inner = plain_layer(block.conv2, plain_layer(block.conv1, planes, 1, 0.5), 1, 0.5, relu=False)
                planes = (inner + planes).clamp(0, 0.5)
            assert planes.shape[2:] == size
        assert 0.01 < (planes == 0.5).float().mean() < 0.9
        expected = functional.adaptive_avg_pool2d(planes, (4, planes.shape[3])).flatten(1, 2)
        assert torch.allclose(found, expected, atol=1e-5)


def test_thin_resnet_is_its_definition() -> None:
    torch.manual_seed(0)
    config = changed("thin_resnet34_vlad", trunk=THIN)
    trunk: Any = trained(build_network(config, 60)).trunk
    feats = torch.randn(2, 41, 60)
    infinite = torch.inf
    with torch.no_grad():
        found, _ = trunk(feats)
        planes = plain_layer(trunk.stem.layer, feats.transpose(1, 2)[:, None], 1, infinite)
        planes = functional.max_pool2d(planes, 2)
        assert planes.shape[2:] == (30, 20)
        for stage, size in zip(trunk.blocks, [(30, 20), (15, 10), (8, 5)], strict=True):
            for block in stage:
                changes = planes.shape[1] != block.conv3.conv.weight.shape[0] or block.stride > 1
                around = plain_layer(block.shortcut, planes, block.stride, 0, relu=False) if changes else planes
                inner = plain_layer(block.conv1, planes, block.stride, infinite)  # the 1x1 convolution strides
                inner = plain_layer(block.conv3, plain_layer(block.conv2, inner, 1, infinite), 1, 0, relu=False)
                planes = (inner + around).clamp(min=0)
            assert planes.shape[2:] == size
        columns = functional.max_pool2d(planes, (3, 1), (2, 1)).flatten(1, 2)
        conv = trunk.readouts[-1].conv
        expected = torch.einsum("bit,oi->bot", columns, conv.weight.flatten(1)) + conv.bias[:, None]
        assert found.shape == (2, 12, 5)
        assert torch.allclose(found, expected.clamp(min=0), atol=1e-4 * float(expected.abs().max()))


def test_embeddings_of_rescnn_are_of_length_10() -> None:
    torch.manual_seed(0)
    network = trained(build_network(SMALL["rescnn10"], 64))
    with torch.inference_mode():
        assert torch.allclose(network(utterances(3, 40, 64)).norm(dim=1), torch.tensor(10.0))


def test_frequencies_of_rescnn_are_four_whatever_the_features() -> None:
    for feat_dim in (40, 64, 80):
        assert ResCnn(feat_dim, (2, 4), (1, 1)).output_dim == 4 * 4


def test_convolution_over_frequency_begins_with_the_variance_of_he() -> None:
    torch.manual_seed(0)
    conv: Any = ThinResNet(40, (8, 16), (4, 8), (1, 1), (1, 2)).readouts[-1]
    assert isinstance(conv.conv, nn.Conv2d)
    fan_out = 512 * conv.conv.kernel_size[0]
    assert conv.conv.weight.var().item() == pytest.approx(2 / fan_out, rel=0.1)


BAD: list[tuple[type, dict[str, Any], str]] = [
    (ResCnn, {"blocks": (1, 1)}, "ResCnn: .*same length"),
    (ResCnn, {"kernel": 4}, "ResCnn: kernel is 4"),
    (ResCnn, {"relu_limit": 0.0}, r"ResCnn: .*relu_limit is 0\.0"),
    (ResCnn, {"num_bins": 0}, "ResCnn: num_bins is 0"),
    (ThinResNet, {"widths": (1, 2)}, r"ThinResNet: widths are \(1, 2\)"),
    (ThinResNet, {"output_channels": 0}, "ThinResNet: .*output_channels is 0"),
    (ThinResNet, {"blocks": ()}, "ThinResNet: .*same length"),
    (ThinResNet, {"strides": (1, 2, 2, 4)}, "ThinResNet: feat_dim is 64, of which 2 "),
]


@pytest.mark.parametrize(("kind", "wrong", "message"), BAD, ids=[message for *_, message in BAD])
def test_bad_settings(kind: Any, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        kind(64, **wrong)
