"""What is measured of explanations: that good maps are told from bad ones, and what the figures are of."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from explained import DIM, RESNET, logit_of, make_network, score_of
from torch import Tensor, nn

from timbre.explain.deletion_curves import SHARES, area, curves, positive_share, randomized, rank_correlation, vad_map
from timbre.explain.explained_score import Part
from timbre.explain.explanation_study import Measured, Wanted
from timbre.explain.study_options import StudyOptions
from timbre.explain.study_summary import Summary
from timbre.explain.time_cells import CellOptions, Cells
from timbre.utils.errors import DataError


class Weighted(nn.Module):
    """The embedding is a sum of the features, each cell of 10 frames and 4 bins weighted by its number."""

    def __init__(self, cells: Cells) -> None:
        super().__init__()
        self.weights = torch.from_numpy(cells.numbers.astype(np.float32))

    def forward(self, feats: Tensor, lengths: Tensor | None = None) -> Tensor:
        return (self.weights * feats).sum((1, 2))[:, None]


def test_curves_rank_maps_by_what_cells_are_worth() -> None:
    cells = Cells.of(50, DIM, CellOptions(num_bands=4), 0.01, "utt")
    inputs = torch.ones(50, DIM)
    inputs[::2] = 3.0  # of each cell the mean is 2, that of the mean frame too: nothing is lost but what is above it
    score = score_of(Weighted(cells), inputs)
    rng = np.random.default_rng(0)
    assert np.ptp(curves(score, cells, rng.random(20), rng)[0]) < 1e-3 * abs(score.values(inputs[None])[0])
    inputs = torch.linspace(0, 1, 50)[:, None].expand(50, DIM).contiguous()
    score = score_of(Weighted(cells), inputs)
    truth = cells.means(((inputs - inputs.mean(0)) * score.network.weights).numpy())
    deletion, insertion = zip(*(curves(score, cells, one, rng) for one in (truth, -truth)), strict=True)
    ends = score.values(torch.stack([inputs, score.neutral.expand(50, DIM)]))
    for down, up in zip(deletion, insertion, strict=True):
        assert down[[0, -1]] == pytest.approx(ends, rel=1e-5) and up[[0, -1]] == pytest.approx(ends[::-1], rel=1e-5)
    assert len(deletion[0]) == len(insertion[0]) == len(SHARES)
    chance = np.mean([[area(c) for c in curves(score, cells, np.zeros(20), rng)] for _ in range(20)], axis=0)
    assert area(deletion[0]) < chance[0] < area(deletion[1]) and area(insertion[0]) > chance[1] > area(insertion[1])
    assert insertion[1][::-1] == pytest.approx(deletion[0], rel=1e-4), "the best alone, and all but the worst"


def test_ties_are_broken_by_chance() -> None:
    cells = Cells.of(50, DIM, CellOptions(num_bands=4), 0.01, "utt")
    score = score_of(Weighted(cells), torch.rand(50, DIM, generator=torch.Generator().manual_seed(0)))
    one, other, again = (
        curves(score, cells, np.zeros(20), np.random.default_rng(seed))[0].tolist() for seed in (0, 1, 0)
    )
    assert one == again != other


def test_randomised_weights_are_the_same_numbers_elsewhere() -> None:
    network = make_network(RESNET)
    changed = randomized(network, 0)
    for (name, before), after in zip(network.named_parameters(), changed.parameters(), strict=True):
        assert torch.equal(before.flatten().sort().values, after.flatten().sort().values), name
    inputs = logit_of(network).inputs[None]
    assert not torch.allclose(network(inputs), changed(inputs), rtol=0.1)
    assert torch.equal(randomized(network, 0)(inputs), changed(inputs))


def test_small_measures() -> None:
    assert rank_correlation(np.array([1.0, 2.0, 9.0]), np.array([2.0, 3.0, 4.0])) == pytest.approx(1)
    assert rank_correlation(np.array([1.0, 2.0, 9.0]), np.zeros(3)) == 0
    values = np.array([[1.0, 3.0], [-9.0, 0.0], [4.0, 0.0]], np.float32)
    assert positive_share(values, np.array([True, True, False])) == 0.5
    assert np.isnan(positive_share(-np.abs(values), np.array([True, True, False])))
    voiced = np.zeros(200, bool)
    voiced[60:140] = True
    part = Part("utt", np.zeros((200, 3), np.float32), np.ones(200, bool), voiced, np.zeros((200, 3), np.float32))
    around = vad_map(part)
    assert around[100, 0] == 1 and around[0, 0] == 0 and around[60, 0] == pytest.approx(26 / 51)
    only = replace(part, seen=voiced, inputs=part.inputs[voiced])
    assert np.array_equal(vad_map(only), around[voiced])


def measured(speaker: str, kept: float, located: float, whole: float = 1.0) -> Measured:
    """A map that keeps so much of WHOLE in the middle of the curve, beside a random order that keeps half."""
    curve = np.full(11, kept * whole)
    curve[[0, -1]] = whole, 0.0
    half = np.linspace(whole, 0, 11)
    others: dict[str, Any] = dict.fromkeys(("random", "energy", "vad"), half)
    deletion, insertion = {"gradient": curve, **others}, {"gradient": curve[::-1], **others}
    return Measured(Wanted(speaker, "utt"), deletion, insertion, {"gradient": 0.1}, {"gradient": located})


def test_figures_are_shares_of_the_score_with_intervals_over_speakers() -> None:
    found = [measured("a", 0.2, 0.6), measured("a", 0.2, 0.6, 3.0), measured("b", 0.4, 0.8), measured("c", 0.4, np.nan)]
    row = Summary(found, 500, 0).table["gradient"]
    expected = 0.05 + (4 * 0.2 + 2 * 0.4) / 6 * 0.9  # weighted by the scores
    assert row["deletion"].value == pytest.approx(expected) and row["insertion"].value == pytest.approx(expected)
    assert row["deletion_gain"].value == pytest.approx(0.5 - expected) == -row["insertion_gain"].value
    assert row["located"].value == pytest.approx((0.6 + 0.6 + 0.8) / 3) and row["sanity"].value == pytest.approx(0.1)
    low, high = row["deletion"].ends or (0, 0)
    assert 0.23 <= low < 0.25 and high == pytest.approx(0.05 + 0.36), "draws of one speaker alone are among them"
    table = Summary(found, 500, 0).table
    assert "located" not in table["energy"] and "deletion_gain" not in table["random"]
    alone = Summary(found[:2], 500, 0).table["gradient"]["deletion"]
    assert alone.ends is None and str(alone) == "0.230"


def test_options_that_measure_nothing_are_refused() -> None:
    for options in ({"num_utts": 0}, {"num_random": 0}, {"max_frames": -1}):
        with pytest.raises(DataError, match="must be at least 1"):
            StudyOptions(**options)
