"""Objectives on pairs: contrastive loss by its definition, a pair's head in both orders."""

from typing import Any

import pytest
import torch
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import ContrastiveLoss
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor, nn
from torch.nn import functional

from metric_batches import DIM, SPEAKERS, batch, gradient, of, pairs
from timbre.nnet.objectives import Contrastive, Siamese, build_objective
from timbre.nnet.objectives.pair_losses import PairHead


class SquaredContrastive(ContrastiveLoss):
    """That of pytorch-metric-learning, with the squares of the definition."""

    def get_per_pair_loss(self, pair_dists: Tensor, pos_or_neg: str) -> Tensor:
        return super().get_per_pair_loss(pair_dists, pos_or_neg).square()


@pytest.mark.parametrize(("normalize", "margin"), [(True, 1.0), (False, 3.0)])
def test_contrastive_loss_is_its_definition(normalize: bool, margin: float) -> None:
    embeddings, labels = pairs()
    vectors = functional.normalize(embeddings.double()) if normalize else embeddings.double()
    losses, right = [], []
    for row in range(0, len(labels), 2):
        distance, same = float((vectors[row] - vectors[row + 1]).norm()), bool(labels[row] == labels[row + 1])
        losses.append(distance**2 / 2 if same else max(0.0, margin - distance) ** 2 / 2)
        right.append((distance < margin / 2) == same)
    objective = Contrastive(DIM, SPEAKERS, margin, normalize)
    loss, correct = objective(embeddings, labels)
    assert objective.batches == "pairs"
    assert loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    assert correct.tolist() == right and 0 < sum(right) < len(right)
    twice = Contrastive(DIM, SPEAKERS, margin, normalize, half=False)(embeddings, labels)[0]
    assert twice.item() == pytest.approx(2 * loss.item())

    embeddings, labels = batch()
    objective = Contrastive(DIM, SPEAKERS, margin, normalize, half=False, pairs="all")
    measure = LpDistance(normalize_embeddings=normalize)
    leaf = embeddings.clone().requires_grad_()
    expected = SquaredContrastive(neg_margin=margin, distance=measure, reducer=MeanReducer())(leaf, labels) / 2
    expected.backward()
    assert objective.batches == "any"
    assert objective(embeddings, labels)[0].item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.allclose(gradient(objective, embeddings, labels), leaf.grad, atol=1e-5)


def test_listed_pairs_of_a_batch_are_all_its_pairs_where_there_are_no_others() -> None:
    embeddings = torch.randn(2, DIM)
    for labels in (torch.tensor([0, 0]), torch.tensor([0, 1])):
        listed = Contrastive(DIM, SPEAKERS, 2.5)(embeddings, labels)[0]
        every = Contrastive(DIM, SPEAKERS, 2.5, pairs="all")(embeddings, labels)[0]
        assert every.item() == pytest.approx(listed.item() / 2, rel=1e-5)  # the half of the other kind is not there


def test_coinciding_embeddings_of_two_speakers_have_the_full_loss() -> None:
    embeddings, labels = torch.ones(4, DIM), torch.tensor([0, 1, 2, 3])
    for normalize in (False, True):
        objective = Contrastive(DIM, SPEAKERS, 3.0, normalize)
        assert objective(embeddings, labels)[0].item() == pytest.approx(4.5, rel=1e-3)
        assert gradient(objective, embeddings + 1e-9, labels).isfinite().all()
        every = Contrastive(DIM, SPEAKERS, 3.0, normalize, pairs="all")
        assert gradient(every, embeddings, labels).isfinite().all()


@pytest.mark.parametrize(
    ("dim", "hidden", "expected"), [(128, (128,), 33_025), (128, (100, 50), 30_801), (512, (512,), 525_313)]
)
def test_a_pair_head_has_the_size_of_its_model(dim: int, hidden: tuple[int, ...], expected: int) -> None:
    """ConvMixer's, 256-128-1, whose size is published; the thin ResNet's, 256-100-50-1; ResNet34's, 1024-512-1."""
    head = PairHead(dim, "concat", hidden, 0.3)
    assert sum(parameter.numel() for parameter in head.parameters()) == expected


@pytest.mark.parametrize("hidden", [(16,), (12, 5)])
def test_concatenated_pairs_are_seen_in_both_orders(hidden: tuple[int, ...]) -> None:
    objective = Siamese(DIM, SPEAKERS, "concat", hidden).eval()
    plain = nn.Sequential(objective.head.first, *objective.head.rest)  # the head as it is written in the papers
    one, other = torch.randn(2, 10, DIM)
    there, back = plain(torch.cat([one, other], 1)), plain(torch.cat([other, one], 1))
    assert (there - back).abs().min() > 1e-4
    assert torch.allclose(objective.score(one, other), (there + back)[:, 0] / 2, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"inputs": "symmetric"}, {"inputs": "symmetric", "hidden_dims": []}])
def test_order_within_a_pair_does_not_matter(settings: dict[str, Any]) -> None:
    objective = build_objective({"class_path": "Siamese", "init_args": settings}, DIM, SPEAKERS).eval()
    assert isinstance(objective, Siamese)
    embeddings, labels = pairs()
    swapped = torch.arange(len(labels)) ^ 1
    loss, correct = objective(embeddings, labels)
    again, still = objective(embeddings[swapped], labels[swapped])
    assert again.item() == pytest.approx(loss.item(), abs=1e-6) and torch.equal(correct, still)
    logits = objective.score(embeddings[::2], embeddings[1::2])
    assert torch.allclose(logits, objective.score(embeddings[1::2], embeddings[::2]), atol=1e-6)
    same = labels[::2] == labels[1::2]
    expected = torch.where(same, -logits.sigmoid().log(), -(1 - logits.sigmoid()).log()).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert torch.equal(correct, (logits.sigmoid() > 0.5) == same)


def test_pairs_come_in_twos() -> None:
    for name in ("contrastive", "siamese"):
        with pytest.raises(ValueError, match="21 examples is not of pairs"):
            of(name)(torch.randn(21, DIM), torch.zeros(21, dtype=torch.long))
