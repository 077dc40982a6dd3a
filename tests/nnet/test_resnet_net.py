"""ResNets: sizes that are published, the blocks against plain forms, and what holds for every network."""

import copy
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
from timbre.nnet.layers import SqueezeExcitation
from timbre.nnet.models.resnet import FrequencyAverage, ResNet
from timbre.nnet.models.resnet_blocks import (
    BasicBlock,
    Bottleneck,
    ConvolutionalAttention,
    Res2Block,
    ResidualBlock,
    Stem,
)
from timbre.nnet.network import build_network
from timbre.utils.errors import DataError

NAMES = [name for name in CONF if changed(name)["trunk"]["class_path"] == "ResNet"]
TINY: dict[str, Any] = {"channels": [4, 8, 8, 8], "blocks": [1, 2, 1, 1]}
SMALL: dict[str, Config] = {name: changed(name, trunk=TINY, embedding_dim=16) for name in NAMES}
VARIANTS = SMALL | {
    "three stages": changed("resnet_se34v2", trunk=TINY, pooled_stages=3),
    "three averaged stages": changed("thin_resnet34_se", trunk=TINY, pooled_stages=3),
    "res2 with se": changed("resnet34_res2", trunk=TINY | {"attention": "se", "relu_first": "blocks"}),
    "bottleneck with cbam": changed("resnet50", trunk=TINY | {"attention": "cbam", "relu_first": "blocks"}),
    "maximum after norm": changed("resnet34_2d", trunk=TINY | {"relu_first": "everywhere", "stem_pool": 4}),
}
DISTINCT = {str(config): name for name, config in VARIANTS.items()}.values()  # sizes alone make no other network
COMPILED = ("bottleneck with cbam", "resnet34_res2", "maximum after norm", "three averaged stages")


def check_learns_fast(config: Config, feat_dim: int) -> None:
    """So few channels bear, and need, a higher learning rate; and more steps where embeddings are dropped."""
    check_learns(config, feat_dim, num_steps=60 if config.get("embedding_dropout") else 30, lr=1e-2)


CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest, check_learns_fast)


@pytest.mark.parametrize("name", DISTINCT)
@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any, name: str) -> None:
    check(VARIANTS[name], 20)


@pytest.mark.parametrize("name", COMPILED)
def test_compiles(name: str) -> None:
    config = copy.deepcopy(VARIANTS[name])
    config["trunk"]["init_args"]["blocks"] = [1, 1, 1, 1]
    check_compile(config, 20)


FIELDS: list[tuple[dict[str, Any], int]] = [
    ({}, 3 + 4 + (2 + 4) + 2 * 4),
    ({"stem_stride": (3, 2), "stem_kernel": 5}, 5 + 2 * (4 + 2) + 4 * (2 + 4)),
    ({"stem_stride": (1, 2), "stem_kernel": 7, "stem_pool": 3}, 7 + 2 * 2 + 4 * (4 + 2) + 8 * (2 + 4)),
    ({"stem_pool": 2}, 3 + 1 + 2 * (4 + 2) + 4 * (2 + 4)),
    ({"block": "bottleneck", "expansion": 2}, 3 + 2 + 2 + 2 * 2),
    ({"block": "res2"}, 3 + 6 + 2 * 6 + 2 * 6),
    ({"attention": "se", "num_bins": 2}, 3 + 4 + (2 + 4) + 2 * 4),
    ({"attention": "cbam"}, 3 + (4 + 6) + (2 + 2 * 2 + 2 * 6) + 2 * (4 + 6)),
]


@pytest.mark.parametrize(("options", "field"), FIELDS)
def test_receptive_field(options: dict[str, Any], field: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = ResNet(8, (4, 8), (1, 2), (1, 2), **options)
    assert trunk.receptive_field == field
    # a maximum depends on all that it sees, but its gradient reaches one of them
    monkeypatch.setattr(functional, "max_pool2d", functional.avg_pool2d)
    monkeypatch.setattr(ConvolutionalAttention, "channel_weights", lambda self, planes, mask: 1.0)
    check_receptive_field(trunk, 8, monkeypatch, {SqueezeExcitation: lambda self, planes, mask: planes})


COUNTS = [  # of systems B, A and C, to the last place that is given
    ("thin_resnet10", 80, "0.57"),
    ("thin_resnet18", 80, "0.96"),
    ("thin_resnet34", 80, "1.60"),
    ("thin_resnet34_se", 80, "1.62"),
    ("thin_resnet50", 80, "2.53"),
    ("thin_resnet101", 80, "3.73"),
    ("resnet34", 80, "6.63"),  # WeSpeaker
    ("resnet_se34l", 40, "1.437078"),
    ("resnet_se34v2", 64, "8.028492"),
]


@pytest.mark.parametrize(("name", "feat_dim", "millions"), COUNTS)
def test_published_parameter_counts(name: str, feat_dim: int, millions: str) -> None:
    places = len(millions.split(".")[1])
    assert f"{num_parameters(full_size(CONF[name], feat_dim)) / 1e6:.{places}f}" == millions


def test_deeper_bottleneck_networks_have_the_sizes_of_wespeaker() -> None:
    for blocks, millions in (([6, 16, 48, 3], 23.79), ([10, 20, 64, 3], 28.62)):  # ResNet221, ResNet293
        count = num_parameters(full_size(changed("resnet101", trunk={"blocks": blocks}), 80))
        assert count / 1e6 == pytest.approx(millions, abs=0.01)


IMAGES = [  # ImageNet models of torchvision, which have three input channels and 1000 classes
    ("basic", 1, [2, 2, 2, 2], 11_689_512),
    ("basic", 1, [3, 4, 6, 3], 21_797_672),
    ("bottleneck", 4, [3, 4, 6, 3], 25_557_032),
    ("bottleneck", 4, [3, 4, 23, 3], 44_549_160),
]


@pytest.mark.parametrize(("block", "expansion", "blocks", "count"), IMAGES)
def test_resnets_have_the_sizes_of_those_for_images(block: str, expansion: int, blocks: list[int], count: int) -> None:
    config = changed(
        "resnet34_2d", trunk={"block": block, "expansion": expansion, "blocks": blocks}, embedding_dim=1000
    )
    assert num_parameters(full_size(config, 224)) + 2 * 64 * 7 * 7 == count


def test_parameters_of_the_mean_over_frequency_do_not_depend_on_features() -> None:
    for name in ("resnet_se34l", "thin_resnet34", "resnet34_2d"):
        assert num_parameters(full_size(CONF[name], 40)) == num_parameters(full_size(CONF[name], 161))


def normalized(planes: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """BatchNorm in eval mode, from its definition."""
    assert norm.running_mean is not None and norm.running_var is not None
    mean, var, scale, shift = (x[:, None, None] for x in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    return (planes - mean) / (var + norm.eps).sqrt() * scale + shift


def plain_layer(
    layer: Any, planes: Tensor, stride: tuple[int, int] | int, relu_first: bool, relu: bool = True
) -> Tensor:
    """Convolution, BatchNorm and ReLU, in the order asked for."""
    planes = functional.conv2d(planes, layer.conv.weight, layer.conv.bias, stride, layer.conv.weight.shape[2] // 2)
    if relu_first:
        return normalized(planes.clamp(min=0), layer.norm)
    return normalized(planes, layer.norm).clamp(min=0) if relu else normalized(planes, layer.norm)


def excited(planes: Tensor, layer: SqueezeExcitation) -> Tensor:
    """Squeeze-excitation, from its definition."""
    first, second = layer.gate[0], layer.gate[2]
    assert isinstance(first, nn.Linear) and isinstance(second, nn.Linear)
    hidden = (planes.mean((2, 3)) @ first.weight.T + first.bias).clamp(min=0)
    return planes / (1 + torch.exp(-(hidden @ second.weight.T + second.bias)))[:, :, None, None]


def plain_basic(block: Any, planes: Tensor, relu_first: bool) -> Tensor:
    """BasicBlock, from its definition."""
    around = planes
    if block.stride > 1 or block.conv1.conv.weight.shape[0] != planes.shape[1]:
        around = plain_layer(block.shortcut, planes, block.stride, False, relu=False)
    inner = plain_layer(block.conv1, planes, block.stride, relu_first)
    inner = plain_layer(block.conv2, inner, 1, False, relu=False)
    if block.attention is not None:
        inner = excited(inner, block.attention)
    return (inner + around).clamp(min=0)


def random_block(block: ResidualBlock) -> ResidualBlock:
    """BLOCK in eval mode, with BatchNorms that shift and scale."""
    for norm in (module for module in block.modules() if isinstance(module, nn.BatchNorm2d)):
        for tensor in (norm.running_mean, norm.bias):
            assert tensor is not None
            nn.init.normal_(tensor, 0, 0.5)
        assert norm.running_var is not None
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 2)
    return block.eval()


@pytest.mark.parametrize("relu_first", [False, True])
@pytest.mark.parametrize("attention", ["none", "se"])
@pytest.mark.parametrize("stride", [1, 2])
def test_basic_block_is_its_definition(stride: int, attention: Any, relu_first: bool) -> None:
    torch.manual_seed(0)
    for inputs in (3, 6):
        block = random_block(BasicBlock(inputs, 6, stride, attention, reduction=2, relu_first=relu_first))
        planes = torch.randn(2, inputs, 7, 9)
        with torch.no_grad():
            found, _ = block(planes.clone(), None)
            assert torch.allclose(found, plain_basic(block, planes, relu_first), atol=1e-5)


@pytest.mark.parametrize("stride_first", [False, True])
def test_bottleneck_is_its_definition(stride_first: bool) -> None:
    torch.manual_seed(0)
    block: Any = random_block(Bottleneck(5, 12, 2, 4, stride_first=stride_first))
    planes = torch.randn(2, 5, 7, 9)
    first, second = (2, 1) if stride_first else (1, 2)
    inner = plain_layer(block.conv2, plain_layer(block.conv1, planes, first, False), second, False)
    expected = plain_layer(block.conv3, inner, 1, False, relu=False)
    expected = (expected + plain_layer(block.shortcut, planes, 2, False, relu=False)).clamp(min=0)
    with torch.no_grad():
        assert torch.allclose(block(planes, None)[0], expected, atol=1e-5)


def test_res2_block_is_its_definition() -> None:
    torch.manual_seed(0)
    block: Any = random_block(Res2Block(5, 7, 2, 12, 4))
    planes = torch.randn(2, 5, 7, 9)
    first, second, third, last = plain_layer(block.before, planes, 2, False).split(3, 1)
    outputs = [plain_layer(block.convs[0], first, 1, False)]
    outputs.append(plain_layer(block.convs[1], second + outputs[0], 1, False))
    outputs.append(plain_layer(block.convs[2], third + outputs[1], 1, False))
    expected = plain_layer(block.after, torch.cat((*outputs, last), 1), 1, False, relu=False)
    expected = (expected + plain_layer(block.shortcut, planes, 2, False, relu=False)).clamp(min=0)
    with torch.no_grad():
        assert torch.allclose(block(planes, None)[0], expected, atol=1e-5)


def brute_force_cbam(planes: np.ndarray, layer: ConvolutionalAttention) -> np.ndarray:
    """Equations 2 and 3 of the paper for one utterance (C, F, T), point by point."""
    first, second = (layer.channel[index].weight.detach().double().numpy() for index in (0, 2))
    mean, highest = planes.mean((1, 2)), planes.max((1, 2))
    scores = sum(second @ np.maximum(first @ vector, 0) for vector in (mean, highest))
    planes = planes / (1 + np.exp(-scores))[:, None, None]
    kernel = layer.point.weight.detach().double().numpy()[0]
    summary = np.pad(np.stack((planes.mean(0), planes.max(0))), ((0, 0), (3, 3), (3, 3)))
    out = np.empty_like(planes)
    for frequency, frame in np.ndindex(planes.shape[1:]):
        score = (kernel * summary[:, frequency : frequency + 7, frame : frame + 7]).sum()
        out[:, frequency, frame] = planes[:, frequency, frame] / (1 + np.exp(-score))
    return out


def test_cbam_is_brute_force_over_the_real_points() -> None:
    torch.manual_seed(0)
    layer = ConvolutionalAttention(6, 3)
    planes = torch.randn(3, 6, 5, 11) - 1  # so that zeros past the end would be maxima
    lengths = (11, 4, 1)
    mask = (torch.arange(11) < torch.tensor(lengths)[:, None])[:, None]
    with torch.no_grad():
        for past in (0.0, 1e3, torch.nan):
            found = layer(planes.masked_fill(~mask[:, None], past), mask).numpy()
            for utterance, length in enumerate(lengths):
                expected = brute_force_cbam(planes[utterance, :, :, :length].double().numpy(), layer)
                assert np.abs(found[utterance, :, :, :length] - expected).max() < 1e-5
        assert np.abs(layer(planes, None)[0].numpy() - brute_force_cbam(planes[0].double().numpy(), layer)).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "feat_dim", "sizes"),
    [
        ("resnet_se34l", 40, [(20, 200), (20, 200), (10, 100), (5, 50), (5, 50)]),
        ("resnet_se34v2", 64, [(64, 200), (64, 200), (32, 100), (16, 50), (8, 25)]),
        ("resnet34_2d", 128, [(32, 50), (32, 50), (16, 25), (8, 13), (4, 7)]),
        ("thin_resnet34", 80, [(80, 200), (80, 200), (40, 100), (20, 50), (10, 25)]),
    ],
)
def test_network_is_its_definition(name: str, feat_dim: int, sizes: list[tuple[int, int]]) -> None:
    torch.manual_seed(0)
    trunk: Any = trained(build_network(changed(name, trunk=TINY), feat_dim)).trunk
    settings = changed(name)["trunk"]["init_args"]
    stride = settings.get("stem_stride", 1)
    feats = torch.randn(2, 200, feat_dim)
    with torch.no_grad():
        found, _ = trunk(feats)
        planes = feats.transpose(1, 2)[:, None]
        planes = plain_layer(trunk.stem.layer, planes, stride, settings.get("relu_first") == "everywhere")
        assert (trunk.stem.layer.conv.bias is not None) == (name == "resnet_se34v2")
        if name == "resnet34_2d":
            planes = functional.max_pool2d(planes, 3, 2, 1)
        assert planes.shape[2:] == sizes[0]
        for stage, size in zip(trunk.blocks, sizes[1:], strict=True):
            for block in stage:
                planes = plain_basic(block, planes, "relu_first" in settings)
            assert planes.shape[2:] == size
        if "num_bins" in settings:
            planes = functional.adaptive_avg_pool2d(planes, (settings["num_bins"], planes.shape[3]))
        assert torch.allclose(found, planes.flatten(1, 2), atol=1e-5 * float(found.abs().max()))


@pytest.mark.parametrize("bins", range(1, 12))
def test_averages_are_adaptive_and_over_frequency_alone(bins: int) -> None:
    planes = torch.randn(2, 3, bins, 6)
    for averages in (1, 2, 4, 5):
        expected = functional.adaptive_avg_pool2d(planes, (averages, 6))
        assert torch.allclose(FrequencyAverage(bins, averages)(planes), expected.flatten(1, 2), atol=1e-6)
    assert torch.equal(FrequencyAverage(bins, None)(planes), planes.flatten(1, 2))


@pytest.mark.parametrize("pool", [0, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [(1, 1), (1, 2), (2, 1)])
def test_maximum_of_a_padded_utterance_is_that_it_has_alone(stride: tuple[int, int], pool: int) -> None:
    torch.manual_seed(0)
    stem = Stem(3, 3, stride, pool, relu_first=True).eval()
    nn.init.constant_(stem.layer.norm.bias, -5)  # below the zeros of padding
    planes = torch.randn(1, 1, 12, 23)
    with torch.no_grad():
        for length in range(stem.min_frames, 23):
            alone, count = stem(planes[..., :length], None)
            assert count is None and alone.shape[2] == stem.bins(12) and alone.amax() < 0
            padded = torch.cat((planes[..., :length], torch.zeros(1, 1, 12, 9)), 3)
            found, counts = stem(padded, torch.tensor([length]))
            assert counts.tolist() == [alone.shape[3]]
            assert torch.allclose(found[..., : alone.shape[3]], alone, atol=1e-6)
            assert not found[..., alone.shape[3] :].any()


@pytest.mark.parametrize("num_bins", [None, 1, 4])
def test_stages_are_those_of_the_trunk(num_bins: int | None) -> None:
    torch.manual_seed(0)
    trunk = ResNet(20, (4, 8, 12), (1, 1, 2), (1, 2, 2), num_bins=num_bins).eval()
    lengths = torch.tensor([33, 12])
    with torch.inference_mode():
        feats = utterances(2, 33, 20)
        stages = trunk.stages(feats, lengths)
        last, counts = trunk(feats, lengths)
    bins = (20, 10, 5) if num_bins is None else (num_bins,) * 3
    assert trunk.stage_dims == tuple(width * count for width, count in zip((4, 8, 12), bins, strict=True))
    assert [tuple(frames.shape[1:]) for frames, _ in stages] == list(zip(trunk.stage_dims, (33, 17, 9), strict=True))
    assert [count.tolist() for _, count in stages if count is not None] == [[33, 12], [17, 6], [9, 3]]
    assert torch.equal(stages[-1][0], last) and counts is not None and counts.tolist() == [9, 3]


def test_convolutions_begin_with_the_variance_of_he() -> None:
    torch.manual_seed(0)
    trunk = ResNet(20, (32, 64), (2, 2), (1, 2), block="bottleneck", expansion=4, attention="cbam")
    for conv in (module for module in trunk.modules() if isinstance(module, nn.Conv2d)):
        variance = 2 / (conv.out_channels * conv.kernel_size[0] ** 2)
        # four standard errors of a variance estimated from so many weights
        assert conv.weight.var().item() == pytest.approx(variance, rel=4 * (2 / conv.weight.numel()) ** 0.5)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"channels": ()}, "ResNet: .*same length"),
    ({"strides": (1, 2)}, "ResNet: .*same length"),
    ({"blocks": (1, 1, 0, 1)}, "ResNet: .*at least 1"),
    ({"expansion": 4}, "ResNet: expansion is 4"),
    ({"expansion": 0, "block": "bottleneck"}, "ResNet: expansion is 0"),
    ({"reduction": 0}, "ResNet: .*reduction is 0"),
    ({"block": "res2", "scale": 5}, "ResNet: scale is 5"),
    ({"block": "res2", "scale": 1}, "ResNet: scale is 1"),
    ({"num_bins": 0}, "ResNet: num_bins is 0"),
    ({"stem_kernel": 4}, "Stem: kernel is 4"),
    ({"stem_stride": (0, 1)}, r"stride is \(0, 1\)|ResNet: .*at least 1"),
    ({"stem_pool": 1}, "Stem: .*pool is 1"),
]


@pytest.mark.parametrize(("wrong", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_settings(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ResNet(20, **wrong)


def test_too_few_features_for_the_maximum() -> None:
    assert ResNet(2, stem_pool=2).output_dim == 256
    with pytest.raises(DataError, match="ResNet: feat_dim is 1"):
        ResNet(1, stem_pool=2)
