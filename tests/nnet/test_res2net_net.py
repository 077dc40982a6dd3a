"""Res2Net and ERes2Net: published sizes, the hierarchy of groups, fusion by attention, and what holds for every one."""

from typing import Any

import pytest
import torch
from torch import Tensor
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
from timbre.nnet.models.eres2net import AttentionalFusion, ERes2Net
from timbre.nnet.models.plane import ConvNorm, PlaneTrunk
from timbre.nnet.models.res2net import Res2Block, Res2Net
from timbre.nnet.network import build_network
from timbre.utils.errors import DataError

TINY: dict[str, Any] = {"channels": [8, 8, 16, 16], "blocks": [1, 2, 1, 1]}
NAMES = ("res2net34_base", "eres2net34_base", "eres2net34_small", "eres2netv2")
SMALL: dict[str, Config] = {name: changed(name, trunk=TINY) for name in NAMES}
VARIANTS = SMALL | {
    "four groups": changed("res2net34_base", trunk=TINY | {"scale": 4}),
    "four groups, every stage pooled": changed("eres2net34_base", trunk=TINY | {"scale": 4}, pooled_stages=4),
}
CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest, check_learns)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, 20)


@pytest.mark.parametrize("name", ["res2net34_base", "eres2net34_base"])  # the others are their code with other numbers
def test_compiles(name: str) -> None:
    check_compile(changed(name, trunk=TINY | {"blocks": [1, 1, 1, 1]}), 20)


@pytest.mark.parametrize(
    ("trunk", "field"),
    [
        (Res2Net(8, (4, 8), (1, 2), (1, 2), stem_stride=2), 3 + 4 + 2 * (4 + 4)),
        (Res2Net(8, (8, 8), (2, 1), (1, 2), scale=4, group_width=0.25), 3 + 2 * 6 + 12),
        (ERes2Net(8, (4, 8), (1, 1), (1, 2), global_fusion=2), 3 + 4 + 8),
        # the way of the fusions reaches further than the last stage where the blocks stride by 1x1 convolutions alone
        (ERes2Net(8, (8, 8, 8), (2, 1, 1), (1, 2, 3), local_fusion=0, global_fusion=3), 3 + 8 + 8 + 2 * 3 * 4),
    ],
)
def test_receptive_field(trunk: PlaneTrunk, field: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert trunk.receptive_field == field
    check_receptive_field(trunk, 8, monkeypatch)


def test_published_parameter_counts() -> None:
    for name, dim, published in (
        ("res2net34_base", 256, 4.68e6),  # WeSpeaker
        ("res2net34_base", 192, 4.03e6),  # 3D-Speaker
        ("eres2net34_base", 192, 6.61e6),  # 3D-Speaker
        ("eres2netv2", 192, 17.86e6),  # 3D-Speaker
    ):
        count = num_parameters(full_size(changed(name, embedding_dim=dim), 80))
        assert abs(count / published - 1) < 0.0025, name


def test_counts_in_the_comments() -> None:
    for name, dim in (("res2net34_base", 192), ("eres2net34_base", 512)):
        count = num_parameters(full_size(changed(name, embedding_dim=dim), 80))
        assert f"{count:,}" in CONF[name].read_text()


def normalized(planes: Tensor, layer: ConvNorm) -> Tensor:
    """PLANES after the convolution and the BatchNorm of LAYER, from their weights."""
    planes = functional.conv2d(planes, layer.conv.weight, stride=layer.conv.stride, padding=layer.conv.padding)
    norm = layer.norm
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return (planes - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


@pytest.mark.parametrize(("convolve_last", "limit"), [(False, 20.0), (True, 0.5)])
def test_hierarchy_of_groups_is_that_of_the_paper(convolve_last: bool, limit: float) -> None:
    torch.manual_seed(0)
    block = Res2Block(6, 10, 2, 3, 4, convolve_last, limit).double().eval()
    for norm in (module.norm for module in block.modules() if isinstance(module, ConvNorm)):
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    planes = torch.randn(2, 6, 7, 9, dtype=torch.float64)
    x = normalized(planes, block.before).clamp(0, limit)
    convs = [conv for conv in block.convs if isinstance(conv, ConvNorm)]
    assert len(convs) == 3 + convolve_last
    y = torch.zeros(2, 12, 4, 5, dtype=torch.float64)
    for i in range(4):
        group = slice(3 * i, 3 * i + 3)
        before = y[:, 3 * i - 3 : 3 * i] if i else torch.zeros(())
        last = i == 3 and not convolve_last
        y[:, group] = x[:, group] if last else normalized(x[:, group] + before, convs[i]).clamp(0, limit)
    shortcut = block.shortcut
    assert isinstance(shortcut, ConvNorm)
    expected = (normalized(y, block.after) + normalized(planes, shortcut)).clamp(0, limit)
    found, _ = block(planes, None)
    assert (found - expected).abs().max() < 1e-12


def test_activations_are_limited_unless_the_limit_is_infinite() -> None:
    feats = 1000 * utterances(1, 20, 8)
    for limit in (20.0, float("inf")):
        torch.manual_seed(0)
        network = trained(build_network(changed("res2net34_base", trunk=TINY | {"relu_limit": limit}), 8))
        highest = network.trunk(feats)[0].max().item()
        assert highest == 20 if limit == 20 else highest > 20


def test_attentional_fusion_is_the_formula_of_the_paper() -> None:
    torch.manual_seed(0)
    fusion = AttentionalFusion(8).double().eval()
    first, second = torch.randn(2, 2, 8, 3, 5, dtype=torch.float64)
    norm, _, expand, norm_out, _ = fusion.gate
    weight = torch.cat((fusion.first.weight, fusion.second.weight), 1)  # of [first; second] as one
    hidden = functional.silu(norm(functional.conv2d(torch.cat((first, second), 1), weight, fusion.first.bias)))
    gate = 1 + torch.tanh(norm_out(expand(hidden)))
    assert (fusion(first, second) - (gate * first + (2 - gate) * second)).abs().max() < 1e-12
    assert num_parameters(fusion) == 16 * 2 + 2 + 2 * 2 + 2 * 8 + 8 + 2 * 8
    # an attention that does not care adds
    torch.nn.init.zeros_(norm_out.weight)
    assert torch.allclose(fusion(first, second), first + second)


def test_global_fusion_reaches_back_to_its_first_stage() -> None:
    torch.manual_seed(0)
    feats = torch.randn(1, 24, 8)
    for count in (1, 2, 3):
        trunk = ERes2Net(8, (8, 8, 8), (1, 1, 1), (1, 2, 2), local_fusion=1, global_fusion=count).eval()
        outputs = [planes for planes, _ in trunk.planes(feats, None)]
        plain = [planes for planes, _ in PlaneTrunk.planes(trunk, feats, None)]
        assert all(torch.equal(one, other) for one, other in zip(outputs[:-1], plain[:-1], strict=True))
        expected = plain[-count]
        for conv, fusion, later in zip(trunk.downsamples, trunk.fusions, plain[len(plain) - count + 1 :], strict=True):
            expected = fusion(later, conv(expected))
        assert torch.equal(outputs[-1], expected)
        assert torch.equal(outputs[-1], plain[-1]) == (count == 1)


BAD: list[tuple[type[PlaneTrunk], dict[str, Any], str]] = [
    (Res2Net, {"channels": (8, 8), "blocks": (1,)}, "Res2Net: channels, blocks and strides must be lists of the same"),
    (Res2Net, {"channels": ()}, "Res2Net: .*no groups"),
    (Res2Net, {"blocks": (1, 1, 0, 1)}, "Res2Net: .*at least 1"),
    (Res2Net, {"stem_stride": 0}, "Res2Net: .*at least 1"),
    (Res2Net, {"group_width": 0.01}, "Res2Net: group_width is 0.01"),
    (Res2Net, {"scale": 1}, "Res2Net: .*scale is 1"),
    (Res2Net, {"relu_limit": 0.0}, "Res2Net: .*relu_limit is 0.0"),
    (ERes2Net, {"expansion": 0}, "ERes2Net: expansion is 0"),
    (ERes2Net, {"local_fusion": 5}, "ERes2Net: local_fusion is 5"),
    (ERes2Net, {"global_fusion": 0}, "ERes2Net: .*global_fusion is 0"),
]


@pytest.mark.parametrize(("kind", "wrong", "message"), BAD, ids=[message for _, _, message in BAD])
def test_bad_settings(kind: type[PlaneTrunk], wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        kind(20, **wrong)
