"""ReDimNet: published sizes, the way its volume is reshaped, and what holds for every network."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import network_checks
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
from timbre.nnet.layers import SqueezeExcitation
from timbre.nnet.models.redimnet import Block, PlaneStage, ReDimNet, TimeContext, WeightedSum
from timbre.nnet.models.sequence import SelfAttention
from timbre.nnet.network import SpeakerNetwork
from timbre.utils.errors import DataError

FEAT_DIM = 24  # a multiple of the strides
NAMES = [f"redimnet_b{size}" for size in range(7)]


def tiny(name: str, **settings: Any) -> Config:
    """The network of NAME with every other stage, 4 channels and one block a stage, and 8 channels along time."""
    given = changed(name)["trunk"]["init_args"]
    small = {key: value[1::2] for key, value in given.items() if isinstance(value, list)}
    small |= {"channels": 4, "heads": 2, "blocks": [1 for _ in small["blocks"]]}
    small["reductions"] = [12 if reduction else 0 for reduction in small["reductions"]]
    return changed(name, trunk=small | settings, pooling={"bottleneck": 8}, embedding_dim=16)


SMALL: dict[str, Config] = {name: tiny(name) for name in NAMES}
VARIANTS = SMALL | {"planes alone": tiny("redimnet_b3", reductions=[0, 0, 0])}
CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest)


@pytest.fixture(autouse=True)
def moderate_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores of the attention that training gives: with random weights they are of the order of 100, for there is no
    LayerNorm before it, and a softmax of those is a choice that rounding decides.
    """

    def moderate(network: SpeakerNetwork) -> SpeakerNetwork:
        for module in trained(network).modules():
            if isinstance(module, SelfAttention):
                module.project.weight.data.mul_(0.1)
        return network

    monkeypatch.setattr(network_checks, "trained", moderate)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, FEAT_DIM)


@pytest.mark.parametrize("name", ["redimnet_b0", "redimnet_b1", "redimnet_b5"])  # one of each kind of blocks
@pytest.mark.parametrize("check", [check_compile, check_learns])
def test_each_kind_compiles_and_learns(check: Any, name: str) -> None:
    check(SMALL[name], FEAT_DIM)


@pytest.mark.parametrize(
    ("block", "expansions", "field"),
    [("convnext", (1, 1), 3 + 2 * 3), ("residual", (2, 1), 3 + 2 * (6 + 1)), ("residual_se", (1, 3), 3 + 2 * (6 + 1))],
)
def test_receptive_field(block: Block, expansions: Any, field: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = ReDimNet(4, 2, (1, 2), (1, 2), expansions, (0, 0), block, 1)
    assert trunk.receptive_field == field
    check_receptive_field(trunk, 4, monkeypatch, {SqueezeExcitation: lambda self, planes, mask: planes})
    assert ReDimNet(4, 2, (1, 2), (1, 2), expansions, (0, 2), block, 1).receptive_field is None


def test_published_sizes() -> None:
    """The paper's, and what WeSpeaker counts of the authors' structures, without BatchNorm of pooled."""
    paper = {"redimnet_b0": 1.0, "redimnet_b6": 15.0}
    for name, millions in paper.items():
        assert num_parameters(full_size(CONF[name], 72 if name > "redimnet_b0" else 60)) == pytest.approx(
            1e6 * millions, rel=0.01
        )
    wespeaker = ("1.0", "2.1", "4.9", "3.2", "6.4", "7.7", "15.0")  # its "7.65" is 7,650,544
    for name, millions in zip(NAMES, wespeaker, strict=True):
        trunk = {"strides": [1, 2, 1, 2, 1, 2]} if name == "redimnet_b2" else {}
        config = changed(name, trunk=trunk, pooling_norm=False)
        assert f"{num_parameters(full_size(config, 60 if name == 'redimnet_b0' else 72)) / 1e6:.1f}" == millions


def test_sizes_of_the_released_weights() -> None:
    """All numbers in files b2-vox2-ft_lm.pt and b5-vox2-ft_lm.pt of the authors, BatchNorm statistics included."""
    front_end = 400 + 257 * 72 + 2  # window, mel filters, pre-emphasis
    fixed = 1  # the weight of the only input of the first stage
    for name, numbers in (("redimnet_b2", 5_100_983), ("redimnet_b5", 7_709_351)):
        state = full_size(CONF[name], 72).state_dict()
        assert sum(tensor.numel() for tensor in state.values()) + front_end + fixed == numbers


def channels_first(stage: PlaneStage, maps: Tensor, channels: int, stride: int) -> Tensor:
    """What STAGE, of ConvNeXt blocks, does to maps (B, F * C, T), by convolutions of planes (B, C, F, T)."""

    def convolve(planes: Tensor, filters: nn.Module) -> Tensor:
        assert isinstance(filters, nn.Conv2d)
        return functional.conv2d(planes, filters.weight.mT, filters.bias, padding=1, groups=filters.groups)

    def pointwise(planes: Tensor, affine: Any) -> Tensor:
        return functional.conv2d(planes, affine.weight[:, :, None, None], affine.bias)

    def normalize(planes: Tensor, norm: Any) -> Tensor:
        return functional.gelu(
            functional.batch_norm(planes, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)
        )

    planes = maps.unflatten(1, (-1, channels)).transpose(1, 2)
    kernel = torch.stack(stage.entry.weight.chunk(stride, 1), 2)[..., None]  # of neighbouring bins
    planes = functional.conv2d(planes, kernel, stage.entry.bias, (stride, 1))
    for block in stage.blocks:
        assert not isinstance(block, Tensor)
        planes = planes + pointwise(normalize(convolve(planes, block.spatial.filters), block.norm), block.pointwise)
    if stage.exit is not None:
        planes = pointwise(
            normalize(convolve(planes, stage.exit.spatial.filters), stage.exit.norm), stage.exit.pointwise
        )
    return planes.transpose(1, 2).flatten(1, 2)


@pytest.mark.parametrize(("stride", "expansion", "group_width"), [(1, 1, 1), (2, 1, 4), (3, 2, 2), (2, 3, 64)])
def test_stage_is_convolutions_of_planes(stride: int, expansion: int, group_width: int) -> None:
    torch.manual_seed(0)
    stage = PlaneStage(4, 12, stride, 2, expansion, "convnext", group_width).double().eval()
    for norm in stage.modules():
        if isinstance(norm, nn.BatchNorm1d):
            norm.running_mean.normal_()  # type: ignore[union-attr, operator]
    maps = torch.randn(2, 48, 9, dtype=torch.float64)
    expected = channels_first(stage, maps, 4, stride)
    assert expected.shape == maps.shape
    assert torch.allclose(stage(maps.transpose(1, 2), None).transpose(1, 2), expected)


def test_stages_see_the_sum_that_their_weights_say() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(2, 7, 5) for _ in range(3)]
    weighted = WeightedSum(3, 5)
    assert torch.allclose(weighted(maps), torch.stack(maps).mean(0), atol=1e-6)
    nn.init.normal_(weighted.scores)
    expected = (torch.stack(maps) * weighted.scores.softmax(0)[:, None, None]).sum(0)
    assert torch.allclose(weighted(maps), expected, atol=1e-6)


def test_excitation_scales_bins() -> None:
    """What squeeze-excitation multiplies with is the same for all channels and frames of a bin."""
    torch.manual_seed(0)
    block = PlaneStage(4, 6, 1, 1, 1, "residual_se", 1).blocks[0].eval()
    planes = torch.randn(1, 9, 6, 4)
    factors: list[Tensor] = []
    block.gate.register_forward_hook(  # type: ignore[union-attr, operator]
        lambda module, inputs, output: factors.append(output / inputs[0])
    )
    block(planes, None)
    assert factors[0].std((2, 3)).max() < 1e-5 < 1e-3 < factors[0].mean((2, 3)).std()


def test_time_context_sees_all_frames_and_starts_from_its_input() -> None:
    context = TimeContext(12, 8, 2).double().eval()
    frames = torch.randn(1, 90, 12, dtype=torch.float64, requires_grad=True)
    context(frames, None)[:, 45].sum().backward()
    assert frames.grad is not None and (frames.grad.abs().sum((0, 2)) > 0).all()
    nn.init.zeros_(context.expand.weight)
    nn.init.zeros_(context.expand.bias)
    assert torch.equal(context(frames, None), frames)


@pytest.mark.parametrize(
    ("feat_dim", "settings", "message"),
    [
        (80, {}, "feat_dim 80 is no multiple of the strides' product 12"),
        (72, {"blocks": (1, 1)}, "lists of the same length"),
        (72, {"group_width": 0}, "must be at least 1"),
        (72, {"group_width": 5}, "do not make 3 groups of 5"),
        (72, {"reductions": (5, 0, 0, 0, 0, 0)}, "230 channels do not make 4 equal heads"),
        (72, {"reductions": (1200, 0, 0, 0, 0, 0)}, "nothing of 1152 channels"),
    ],
)
def test_bad_settings(feat_dim: int, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        ReDimNet(feat_dim, **settings)
