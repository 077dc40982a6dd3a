"""Segments of utterances: where they lie, and the embeddings that are made of theirs."""

import dataclasses
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from egs_corpus import DIM, NETWORK
from timbre.nnet.network import SpeakerNetwork, build_network
from timbre.nnet.options import SegmentOptions
from timbre.nnet.segments import aggregate, cut_at, cut_grid, embed_whole, grid_starts, num_segments
from timbre.utils.errors import DataError

STAGES = """
trunk: {class_path: IskConvNet, init_args: {channels: [4, 4, 8, 8], blocks: [1, 1, 1, 1], min_hidden: 4}}
pooling: {class_path: StatisticsPooling}
embedding_dim: 16
pooled_stages: 3
instance_norm: true
"""


@pytest.fixture(params=[NETWORK, STAGES], ids=["one stage", "three stages"])
def network(request: pytest.FixtureRequest, tmp_path: Path) -> SpeakerNetwork:
    torch.manual_seed(0)
    (tmp_path / "network.yaml").write_text(request.param)
    return build_network(tmp_path / "network.yaml", DIM).eval()


@pytest.mark.parametrize("length", [10, 15, 100, 137])
def test_segments_cover_every_frame(length: int) -> None:
    for frames in range(1, 6 * length):
        starts = grid_starts(frames, length)
        ends = [start + min(length, frames) for start in starts]
        assert starts[0] == 0 and ends[-1] == frames and starts == sorted(starts)
        steps = np.diff(starts)
        assert np.abs(steps[:-1] - 0.9 * length).max(initial=0) < 1  # the last one may be nearer
        assert steps.max(initial=0) <= math.ceil(0.9 * length)
        assert len(starts) == (1 if frames <= length else math.floor(Fraction(10 * frames - length, 9 * length)) + 1)


def test_counts_are_those_of_the_definition() -> None:
    """n = floor((T - L / 10) / (0.9 L)) + 1: 3 s in segments of 1 s are four."""
    assert [num_segments(frames, 100) for frames in (100, 101, 189, 190, 279, 280, 300, 400)] == [
        1,
        2,
        2,
        3,
        3,
        4,
        4,
        5,
    ]
    assert grid_starts(300, 100) == [0, 90, 180, 200]
    assert grid_starts(400, 200) == [0, 180, 200]


def test_segments_are_cut_where_they_begin() -> None:
    feats = torch.arange(2 * 30 * 3.0).view(2, 30, 3)
    grid = cut_grid(feats, 12)
    assert grid.shape == (2, 3, 12, 3)
    for row in range(2):
        for place, start in enumerate(grid_starts(30, 12)):
            assert torch.equal(grid[row, place], feats[row, start : start + 12])
    starts = torch.tensor([[0, 5], [18, 2]])
    cuts = cut_at(feats, starts, 12)
    assert all(
        torch.equal(cuts[row, place], feats[row, start : start + 12])
        for row in range(2)
        for place, start in enumerate(starts[row].tolist())
    )
    assert cut_grid(feats, 30).shape == cut_grid(feats, 50).shape == (2, 1, 30, 3)


@pytest.mark.parametrize("kind", ["codes", "maps"])
def test_one_segment_is_the_plain_forward(network: SpeakerNetwork, kind: str) -> None:
    feats = torch.randn(3, 40, DIM)
    plain = network(feats)
    for length in (40, 60):
        embeddings, codes = aggregate(network, cut_grid(feats, length), kind)
        assert torch.equal(embeddings, plain) and torch.equal(codes[:, 0], plain)
        assert torch.equal(embed_whole(network, feats, None, length, kind), plain)


def test_both_kinds_have_the_same_segments(network: SpeakerNetwork) -> None:
    """They differ in the aggregate: the mean of codes, or the pooled frames of all."""
    feats = torch.randn(2, 60, DIM) * torch.linspace(0.2, 5, 60)[:, None]  # what is in the segments differs
    cuts = cut_grid(feats, 25)
    (mean, codes), (pooled, same) = (aggregate(network, cuts, kind) for kind in ("codes", "maps"))
    assert torch.equal(codes, same)
    for row in range(2):
        alone = torch.stack([network(cuts[row, place][None])[0] for place in range(cuts.shape[1])])
        assert codes[row].detach().numpy() == pytest.approx(alone.detach().numpy(), abs=1e-5)
        assert mean[row].detach().numpy() == pytest.approx(alone.mean(0).detach().numpy(), abs=1e-5)
    assert (pooled - mean).abs().max() > 1e-3
    # what is pooled of an utterance are its own frames, in order
    frames = [network.frames(cuts[1, place][None]) for place in range(cuts.shape[1])]
    joined = [(torch.cat([one[stage][0] for one in frames], 2), None) for stage in range(len(frames[0]))]
    assert pooled[1].detach().numpy() == pytest.approx(network.embed(joined)[0].detach().numpy(), abs=1e-5)


@pytest.mark.parametrize("at_test", ["codes", "aggregate", "whole"])
def test_a_padded_batch_gives_what_each_utterance_has_alone(network: SpeakerNetwork, at_test: str) -> None:
    network.segments = SegmentOptions(length=20, max_length=30, kind="maps", at_test=at_test)
    lengths = torch.tensor([90, 15, 25, 26, 61, 15])
    feats = torch.randn(6, 90, DIM) * torch.linspace(0.2, 5, 90)[:, None]
    together = network(feats, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = network(feats[row : row + 1, :length])[0]
        assert together[row].detach().numpy() == pytest.approx(alone.detach().numpy(), abs=1e-5)
    assert network.segments.test_length == 25
    network.segments = None
    whole = network(feats, lengths)
    long = lengths > 25
    assert (together - whole)[~long].abs().max() < 1e-5
    assert ((together - whole)[long].abs().max() > 1e-3) == (at_test != "whole")


def test_training_sees_what_it_is_given(network: SpeakerNetwork) -> None:
    """Only in evaluation are utterances cut up: in training that is done before."""
    network.train()
    feats = torch.randn(4, 60, DIM)
    plain = network(feats)
    network.segments = SegmentOptions(length=20)
    assert torch.equal(network(feats), plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length 0 and max_length 0 must be"),
        ({"length": 100, "max_length": 50}, "length 100 and max_length 50 must be"),
        ({"max_length": -1}, "max_length -1 must be"),
        ({"code_length": -1.0}, "code_length is -1.0; it must not be below 0"),
    ],
)
def test_options_are_checked(options: dict[str, float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dataclasses.replace(SegmentOptions(), **options)
