"""Conformer: the one of torchaudio but for its padding, published sizes, and what holds for every network."""

from typing import Any

import pytest
import torch
import torchaudio
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
    check_round_trip,
    check_shortest,
    full_size,
    num_parameters,
    utterances,
)
from timbre.nnet.models.conformer import Conformer
from timbre.nnet.models.sequence import DepthwiseConvolution, SelfAttention
from timbre.utils.errors import DataError

TINY: dict[str, Any] = {"channels": 16, "blocks": 2, "heads": 2, "hidden": 24, "kernel": 5}
SMALL: dict[str, Config] = {
    name: changed(name, trunk=TINY) for name in ("conformer", "conformer_mean", "mfa_conformer")
}
VARIANTS = SMALL | {
    "subsampling 4": changed("conformer", trunk=TINY | {"subsampling": 4}, pooling={}),
    "mfa at the full rate": changed("mfa_conformer", trunk=TINY | {"subsampling": 1}),
}
CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest, check_compile, check_learns)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, 20)


def test_parameter_counts() -> None:
    network = full_size(CONF["conformer"], 40)
    assert num_parameters(network) == 3_280 + 361_024 + 6_560
    assert num_parameters(network.poolings) == 6_560
    assert network.embedding_dim == 80
    trunk = network.trunk
    assert isinstance(trunk, Conformer)
    assert num_parameters(trunk.blocks) == 361_024
    assert num_parameters(trunk.entry) == 3_280


def as_torchaudio(trunk: Conformer, channels: int, heads: int, hidden: int, kernel: int) -> nn.Module:
    """torchaudio's Conformer with the weights of the blocks of TRUNK, without dropout."""
    theirs = torchaudio.models.Conformer(channels, heads, hidden, len(trunk.blocks), kernel)
    for block, layer in zip(trunk.blocks, theirs.conformer_layers, strict=True):
        layer.ffn1.sequential.load_state_dict(block.first_half.state_dict())
        layer.ffn2.sequential.load_state_dict(block.second_half.state_dict())
        layer.self_attn_layer_norm.load_state_dict(block.attention_norm.state_dict())
        layer.final_layer_norm.load_state_dict(block.norm.state_dict())
        attention = block.attention.state_dict()
        layer.self_attn.load_state_dict(
            {
                "in_proj_weight": attention["project.weight"],
                "in_proj_bias": attention["project.bias"],
                "out_proj.weight": attention["combine.weight"],
                "out_proj.bias": attention["combine.bias"],
            }
        )
        ours, module = block.convolution, layer.conv_module
        module.layer_norm.load_state_dict(ours.norm.state_dict())
        module.sequential[3].load_state_dict(ours.depthwise_norm.state_dict())
        for number, source in ((0, ours.expand), (2, ours.depthwise.filters), (5, ours.combine)):
            target = module.sequential[number]
            target.weight.data.copy_(source.weight.reshape(target.weight.shape))
            target.bias.data.copy_(source.bias)
    return theirs.to(next(trunk.parameters()).dtype)


def randomized(trunk: Conformer) -> Conformer:
    """TRUNK with every weight and running statistic away from where it starts."""
    for parameter in trunk.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.3)  # type: ignore[union-attr, operator]
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    return trunk


def test_it_is_the_one_of_torchaudio() -> None:
    torch.manual_seed(0)
    trunk = randomized(Conformer(40, dropout=0.0))
    theirs = as_torchaudio(trunk, 80, 4, 128, 31)
    feats, lengths = utterances(3, 70, 40), torch.full((3,), 70)
    for training in (False, True):  # in training BatchNorm takes the statistics of the batch
        trunk.train(training)
        theirs.train(training)
        expected, _ = theirs(trunk.entry.affine(feats), lengths)
        found = trunk(feats)[0].transpose(1, 2)
        assert (found - expected).abs().max() <= 1e-5 * expected.detach().abs().max()
        gradients = [
            torch.autograd.grad(frames.square().mean(), trunk.entry.parameters()) for frames in (found, expected)
        ]
        for ours, exact in zip(*gradients, strict=True):
            assert (ours - exact).abs().max() <= 1e-4 * exact.abs().max()


def test_padded_utterances_are_what_torchaudio_gives_alone_and_not_padded() -> None:
    torch.manual_seed(1)
    trunk = randomized(Conformer(40)).eval()
    theirs = as_torchaudio(trunk, 80, 4, 128, 31).eval()
    feats, lengths = utterances(4, 60, 40), torch.tensor([60, 5, 31, 44])
    with torch.no_grad():
        found, found_lengths = trunk(feats, lengths)
        padded, _ = theirs(trunk.entry.affine(feats), lengths)
        assert found_lengths is not None and torch.equal(found_lengths, lengths)
        for number, length in enumerate(lengths.tolist()):
            alone, _ = theirs(trunk.entry.affine(feats[number : number + 1, :length]), lengths[number : number + 1])
            ours = found[number, :, :length].T
            assert (ours - alone[0]).abs().max() <= 1e-5 * float(alone.abs().max())
            # its convolutions see the padding, so that the shorter utterances change
            assert length == 60 or (padded[number, :length] - alone[0]).abs().max() > 0.1


def test_attention_knows_no_positions_and_drops_weights_without_bias() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8, 2, dropout=0.4).eval()
    frames, order = torch.randn(1, 9, 8), torch.randperm(9)
    exact = attention(frames, None)
    assert torch.allclose(attention(frames[:, order], None), exact[:, order], atol=1e-6)
    draws = attention.train()(frames.expand(8000, -1, -1), None)
    assert draws.std(0).min() > 0.01
    assert (draws.mean(0) - exact[0]).abs().max() < 0.02


@pytest.mark.parametrize("kernel", [1, 3, 31])
def test_depthwise_convolution_is_conv1d(kernel: int) -> None:
    convolution = DepthwiseConvolution(6, kernel).double()
    frames = torch.randn(2, 20, 6, dtype=torch.float64)
    filters, offsets = convolution.filters.weight[..., 0], convolution.filters.bias
    expected = functional.conv1d(frames.transpose(1, 2), filters, offsets, padding=kernel // 2, groups=6)
    assert torch.allclose(convolution(frames), expected.transpose(1, 2))


@pytest.mark.parametrize("subsampling", [1, 2, 4, 8])
def test_lengths_are_the_numbers_of_frames(subsampling: int) -> None:
    trunk = Conformer(20, **TINY, subsampling=subsampling).eval()
    feats = torch.randn(1, 47, 20)
    for length in range(1, 48):
        frames, lengths = trunk(feats, torch.tensor([length]))
        alone, _ = trunk(feats[:, :length])
        assert lengths is not None and lengths.tolist() == [alone.shape[2]] == [-(-length // subsampling)]
        assert torch.allclose(frames[:, :, : alone.shape[2]], alone, atol=1e-5)


def test_mfa_normalizes_the_outputs_of_all_blocks() -> None:
    trunk = Conformer(20, **TINY, mfa=True).eval()
    outputs: list[Tensor] = []
    for block in trunk.blocks:
        block.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    frames, _ = trunk(torch.randn(2, 30, 20))
    assert frames.shape == (2, 32, 30)
    assert torch.allclose(frames, functional.layer_norm(torch.cat(outputs, 2), (32,)).transpose(1, 2), atol=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 3}, "80 channels do not make 3 equal heads"),
        ({"kernel": 30}, "30 frames is not odd"),
        ({"subsampling": 3}, "subsampling is 3"),
        ({"dropout": 1.0}, "dropout from 0 to below 1"),
        ({"blocks": 0}, "sizes must be at least 1"),
        ({"subsampling": 8, "feat_dim": 14}, "feat_dim 14 is too small for a subsampling of 8"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Conformer(**{"feat_dim": 20} | settings)
