"""CAM++: its published size, the means of segments, and what holds for every network."""

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
    check_receptive_field,
    check_round_trip,
    check_shortest,
    full_size,
    num_parameters,
)
from timbre.nnet.models.campplus import CamPlusPlus, ContextMask, FrontEnd, cut
from timbre.utils.errors import DataError

TINY: dict[str, Any] = {
    "planes": 4,
    "stem_channels": 16,
    "growth": 8,
    "bottleneck": 12,
    "blocks": [2, 2, 1],
    "segment": 7,
}
SMALL: dict[str, Config] = {"campplus": changed("campplus", trunk=TINY, embedding_dim=24)}
VARIANTS = SMALL | {"one segment": changed("campplus", trunk=TINY | {"segment": 100}, embedding_dim=24)}
CHECKS = (check_padding, check_gradients, check_round_trip, check_shortest, check_compile, check_learns)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS.keys())
@pytest.mark.parametrize("check", CHECKS)
def test_what_holds_for_every_network(check: Any, config: Config) -> None:
    check(config, 20)


def test_receptive_field(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = CamPlusPlus(9, 3, 8, 4, 6, (2, 1), (1, 2))
    assert trunk.receptive_field == 21 + 4 + 2 * (2 * 2 * 1 + 2 * 1 * 2)
    check_receptive_field(trunk, 9, monkeypatch, {ContextMask: lambda self, frames, segments: 1.0})


def test_published_size() -> None:
    network = full_size(CONF["campplus"], 80)
    assert f"{num_parameters(network) / 1e6:.2f}" == "7.18"  # WeSpeaker, docs and README; 3D-Speaker: 7.2
    assert network.embedding_dim == 512 and network.receptive_field == 393
    trunk = network.trunk
    assert isinstance(trunk, CamPlusPlus)
    assert trunk.stem.in_channels == 320 and [len(block) for block in trunk.blocks] == [12, 24, 16]  # type: ignore[arg-type]
    assert [transit.affine.out_channels for transit in trunk.transits] == [256, 512, 512]  # type: ignore[union-attr]


@pytest.mark.parametrize("num_frames", [1, 9, 10, 11, 34])
def test_mask_is_that_of_every_frame_of_its_own(num_frames: int) -> None:
    """Of a batch of utterances of 1, 2, ... frames, and of the longest alone without lengths."""
    torch.manual_seed(0)
    context = ContextMask(6, 4, 5).double()
    frames = torch.randn(num_frames, 6, num_frames).double()
    lengths = torch.arange(1, num_frames + 1)
    padded = frames.masked_fill(torch.arange(num_frames) >= lengths[:, None, None], 0)
    found = context(padded, cut(padded, lengths, 10))
    assert torch.allclose(context(frames[-1:], cut(frames, None, 10)), found[-1:])
    for mask, utterance, length in zip(found, frames, lengths.tolist(), strict=True):
        for number in range(length):
            start = number // 10 * 10
            both = utterance[:, start : min(start + 10, length)].mean(1) + utterance[:, :length].mean(1)
            assert torch.allclose(mask[:, number], context.gate(both[None, :, None])[0, :, 0])


def test_segments_change_the_output() -> None:
    torch.manual_seed(0)
    feats = torch.randn(1, 60, 20)
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in TINY.items()}
    trunk, other = CamPlusPlus(20, **settings), CamPlusPlus(20, **settings | {"segment": 30})
    other.load_state_dict(trunk.state_dict())
    assert (trunk(feats)[0] - other(feats)[0]).abs().max() > 1e-3


@pytest.mark.parametrize(("feat_dim", "bins"), [(80, 10), (20, 3), (1, 1), (65, 9)])
def test_front_end_divides_the_bins_by_eight(feat_dim: int, bins: int) -> None:
    front_end = FrontEnd(2)
    assert front_end(torch.randn(1, 5, feat_dim), None).shape == (1, 2 * bins, 5)
    assert sum(isinstance(module, nn.Conv2d) for module in front_end.modules()) == 1 + 4 * 2 + 2 + 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"blocks": (2, 2)}, "lists of the same length"),
        ({"growth": 0}, "must be at least 1"),
        ({"segment": 0}, "must be at least 1"),
        ({"reduction": 129}, "from 1 to bottleneck, 128"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        CamPlusPlus(20, **settings)
