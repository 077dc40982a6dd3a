"""Triplets that are counted, not made: against those of pytorch-metric-learning, and all of them in float64."""

from typing import Any

import pytest
import torch
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from pytorch_metric_learning.reducers import AvgNonZeroReducer, MeanReducer, ThresholdReducer
from torch import Tensor
from torch.nn import functional

from metric_batches import DIM, SPEAKERS, UTTS, batch, gradient
from timbre.nnet.objectives import Triplet


def oracle_triplet(distance: Any, mining: str, margin: float, reducer: Any, miner_margin: float) -> Any:
    """The loss of pytorch-metric-learning, as a function of embeddings and labels."""
    loss = TripletMarginLoss(margin, distance=distance, reducer=reducer)
    miner = TripletMarginMiner(miner_margin, mining, distance=distance)

    def call(embeddings: Tensor, labels: Tensor) -> Tensor:
        # all of the miner are those with a loss, all of the loss are all there are
        return loss(embeddings, labels, None if mining == "all" else miner(embeddings, labels))

    return call


@pytest.mark.parametrize("distance", ["cosine", "squared_euclidean"])
@pytest.mark.parametrize("reduction", ["nonzero", "mined"])
@pytest.mark.parametrize("mining", ["all", "semihard", "hard"])
@pytest.mark.parametrize("spread", [0.5, 1.0])
def test_triplets_are_those_of_pytorch_metric_learning(
    mining: Any, reduction: Any, distance: Any, spread: float
) -> None:
    embeddings, labels = batch(spread)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(2))[:-3]  # of any order, uneven
    embeddings, labels = embeddings[order], labels[order]
    ours = Triplet(DIM, SPEAKERS, distance, 0.2, mining, reduction=reduction)
    measure = CosineSimilarity() if distance == "cosine" else LpDistance(power=2)
    reducer = AvgNonZeroReducer() if reduction == "nonzero" else MeanReducer()
    leaf = embeddings.clone().requires_grad_()
    expected = oracle_triplet(measure, mining, 0.2, reducer, 0.2)(leaf, labels)
    expected.backward()
    assert ours(embeddings, labels)[0].item() == pytest.approx(expected.item(), abs=1e-6) and expected.item() > 0
    assert torch.allclose(gradient(ours, embeddings, labels), leaf.grad, atol=1e-6)


@pytest.mark.parametrize("mining", ["semihard", "hard"])
def test_the_margin_of_the_miner_does_not_matter_where_zeros_are_left_out(mining: Any) -> None:
    """Margin 0.1 with a miner of margin 0.2 and a reducer of losses above 0 is what Triplet does without the two."""
    embeddings, labels = batch(0.8)
    expected = oracle_triplet(CosineSimilarity(), mining, 0.1, ThresholdReducer(low=0), 0.2)(embeddings, labels)
    loss = Triplet(DIM, SPEAKERS, "cosine", 0.1, mining)(embeddings, labels)[0]
    assert loss.item() == pytest.approx(expected.item(), abs=1e-6) and loss.item() > 0


def test_triplets_are_counted_right_in_a_large_batch_too() -> None:
    """Against all B^3 of them, in float64."""
    generator = torch.Generator().manual_seed(0)
    embeddings, labels = torch.randn(120, 16, generator=generator), torch.randint(30, (120,), generator=generator)
    unit = functional.normalize(embeddings.double())
    distances = 1 - unit @ unit.T
    same = labels[:, None] == labels
    valid = (same & ~torch.eye(120, dtype=torch.bool))[:, :, None] & ~same[:, None, :]
    gaps = (distances[:, None, :] - distances[:, :, None])[valid]
    losses = (0.1 - gaps).relu()
    for mining, mined in {"all": gaps < 0.1, "semihard": (gaps > 0) & (gaps < 0.1), "hard": gaps <= 0}.items():
        loss = Triplet(16, 30, mining=mining)(embeddings, labels)[0]
        assert loss.item() == pytest.approx(losses[mined].mean().item(), rel=1e-5)
    loss = Triplet(16, 30, reduction="mined")(embeddings, labels)[0]
    assert loss.item() == pytest.approx(losses.mean().item(), rel=1e-5)


def test_ranked_negatives_are_the_nearest_ones_of_other_speakers() -> None:
    embeddings, labels = batch()
    unit = functional.normalize(embeddings)
    squares = 2 - 2 * unit @ unit.T
    same = labels[:, None] == labels
    anchors, positives = (same & ~torch.eye(len(labels), dtype=torch.bool)).nonzero().unbind(1)
    ordered = squares.masked_fill(same, torch.inf).sort(1).values
    negatives = len(labels) - UTTS

    def losses(place: int) -> Tensor:
        return (squares[anchors, positives] - ordered[anchors, place] + 0.1).relu()

    for rank in (1, 3, 100):
        nearest = min(rank, negatives)
        objective = Triplet(DIM, SPEAKERS, "squared_euclidean", 0.1, "ranked", rank, "mined")
        torch.manual_seed(0)
        drawn = torch.stack([objective(embeddings, labels)[0] for _ in range(300)])
        torch.manual_seed(0)
        assert torch.equal(objective(embeddings, labels)[0], drawn[0])  # torch's generator
        mean = torch.stack([losses(place) for place in range(nearest)]).mean()
        assert drawn.mean().item() == pytest.approx(mean.item(), rel=0.02 if rank > 1 else 1e-5)
        assert (drawn.std() > 1e-4) == (rank > 1)
        assert losses(nearest - 1).mean() <= drawn.min() + 1e-6 and drawn.max() <= losses(0).mean() + 1e-6
    nonzero = Triplet(DIM, SPEAKERS, "squared_euclidean", 0.1, "ranked", 1)(embeddings, labels)[0]
    assert nonzero.item() == pytest.approx(losses(0)[losses(0) > 0].mean().item(), rel=1e-5)


@pytest.mark.parametrize("mining", ["all", "semihard", "hard", "ranked"])
@pytest.mark.parametrize("reduction", ["nonzero", "mined"])
def test_a_batch_without_triplets_has_loss_zero_and_a_gradient(mining: Any, reduction: Any) -> None:
    objective = Triplet(DIM, SPEAKERS, mining=mining, reduction=reduction)
    for labels in (torch.arange(6), torch.zeros(6, dtype=torch.long), torch.zeros(1, dtype=torch.long)):
        embeddings = torch.randn(len(labels), DIM)
        loss, correct = objective(embeddings, labels)
        assert loss.item() == 0
        assert torch.equal(gradient(objective, embeddings, labels), torch.zeros_like(embeddings))
        assert correct.all() == (len(labels) > 1 and not labels.any())


def test_of_equal_embeddings_every_triplet_is_hard() -> None:
    embeddings, labels = torch.eye(4, DIM)[[0] * 6], torch.arange(6) // 2
    for mining, expected in {"all": 0.1, "hard": 0.1, "semihard": 0.0, "ranked": 0.1}.items():
        assert Triplet(DIM, 3, mining=mining)(embeddings, labels)[0].item() == pytest.approx(expected)
