"""Objectives that compare the examples of a batch: against float64 loops and an oracle, and what all of them share."""

import math
from typing import Any

import pytest
import torch
import yaml
from pytorch_metric_learning.losses import MultiSimilarityLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner
from torch import Tensor, nn

from metric_batches import DIM, NAMES, SPEAKERS, UTTS, batch, gradient, of, suitable
from timbre.nnet.objectives import (
    AngularPrototypical,
    Contrastive,
    Ge2e,
    MultiSimilarity,
    Prototypical,
    Softmax,
    Triplet,
    WeightedSum,
    build_objective,
)
from timbre.utils.errors import DataError


def cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / (one.norm() * other.norm()))


@pytest.mark.parametrize("utts", [2, 3, 5])
@pytest.mark.parametrize("variant", ["softmax", "contrast"])
def test_ge2e_is_its_definition(variant: Any, utts: int) -> None:
    embeddings, labels = batch(utts=utts)
    objective = Ge2e(DIM, SPEAKERS, variant, scale=3.0, offset=-1.0).double()
    objective.utts_per_speaker = utts
    loss, correct = objective.loss(embeddings.double(), labels)
    unit = [vector / vector.norm() for vector in embeddings.double()]
    losses, right = [], []
    for row, vector in enumerate(unit):
        similarities = []
        for speaker in range(SPEAKERS):
            members = [other for other in range(utts * speaker, utts * (speaker + 1)) if other != row]
            similarities.append(3 * cosine(vector, sum(unit[other] for other in members) / len(members)) - 1)
        own = similarities.pop(row // utts)
        if variant == "softmax":
            losses.append(-own + math.log(math.exp(own) + sum(map(math.exp, similarities))))
        else:
            losses.append(1 - 1 / (1 + math.exp(-own)) + max(1 / (1 + math.exp(-other)) for other in similarities))
        right.append(own > max(similarities))
    assert loss.item() == pytest.approx(sum(losses) / len(losses), abs=1e-12)
    assert correct.tolist() == right and 0 < sum(right) < len(right)


@pytest.mark.parametrize("utts", [2, 3, 5])
@pytest.mark.parametrize("angular", [False, True])
def test_prototypical_losses_are_their_definition(angular: bool, utts: int) -> None:
    embeddings, labels = batch(utts=utts)
    embeddings = embeddings.double() + 20 * (not angular)  # far from 0, which distances do not mind
    objective = AngularPrototypical(DIM, SPEAKERS, 3.0, -1.0).double() if angular else Prototypical(DIM, SPEAKERS)
    objective.utts_per_speaker = utts
    loss, correct = objective.loss(embeddings, labels)
    groups = embeddings.reshape(SPEAKERS, utts, DIM)
    losses, right = [], []
    for speaker in range(SPEAKERS):
        query, logits = groups[speaker, 0], []
        for other in range(SPEAKERS):
            prototype = sum(groups[other, 1:]) / (utts - 1)
            logits.append(3 * cosine(query, prototype) - 1 if angular else -(float((query - prototype).norm()) ** 2))
        losses.append(-logits[speaker] + math.log(sum(map(math.exp, logits))))
        right.append(logits[speaker] == max(logits))
    assert loss.item() == pytest.approx(sum(losses) / len(losses), abs=1e-10)
    assert correct.tolist() == right


@pytest.mark.parametrize("kind", [Ge2e, AngularPrototypical])
def test_scale_of_cosines_stays_above_zero_and_is_not_stuck_there(kind: type[Ge2e | AngularPrototypical]) -> None:
    embeddings, labels = batch(0.3, utts=2)
    objective, floor = kind(DIM, SPEAKERS), kind(DIM, SPEAKERS, scale=1e-6)
    with torch.no_grad():
        objective.scale.fill_(-3.0)
    assert torch.equal(objective(embeddings, labels)[0], floor(embeddings, labels)[0])
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.1)
    for step in range(30):
        loss, _ = objective(embeddings, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            objective.constrain(step)
        assert objective.scale > 0
    assert objective.scale > 0.5  # speakers are apart, so it grows


@pytest.mark.parametrize("name", [name for name in NAMES if of(name).batches == "speakers"])
def test_batches_of_speakers_need_two_utterances_of_each(name: str) -> None:
    with pytest.raises(DataError, match="utts_per_speaker is 1; it must be at least 2"):
        of(name, utts_per_speaker=1)
    with pytest.raises(ValueError, match="21 examples is not of 4 utterances"):
        of(name)(torch.randn(21, DIM), torch.zeros(21, dtype=torch.long))


def test_only_one_speaker_in_a_batch_is_no_error() -> None:
    for name in ("ge2e", "ge2e_contrast", "prototypical", "angular_prototypical"):
        objective = of(name)
        loss, correct = objective(torch.randn(UTTS, DIM), torch.zeros(UTTS, dtype=torch.long))
        assert loss.isfinite() and correct.all()
        assert gradient(objective, torch.randn(UTTS, DIM), torch.zeros(UTTS, dtype=torch.long)).isfinite().all()


@pytest.mark.parametrize("epsilon", [None, 0.1])
@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_multi_similarity_is_that_of_pytorch_metric_learning(epsilon: float | None, spread: float) -> None:
    embeddings, labels = batch(spread)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(2))
    embeddings, labels = embeddings[order], labels[order].clone()
    labels[3] = SPEAKERS  # one that has no other example
    leaf = embeddings.clone().requires_grad_()
    mined = MultiSimilarityMiner(epsilon)(leaf, labels) if epsilon else None
    expected = MultiSimilarityLoss(2, 50, 0.5)(leaf, labels, mined)
    expected.backward()
    objective = MultiSimilarity(DIM, SPEAKERS, epsilon=epsilon)
    assert objective(embeddings, labels)[0].item() == pytest.approx(expected.item(), rel=1e-5) and expected > 0
    assert torch.allclose(gradient(objective, embeddings, labels), leaf.grad, atol=1e-6)


SEPARATING = [name for name in NAMES if not name.startswith(("siamese", "softmax", "aam", "triplet_"))]


@pytest.mark.parametrize("name", SEPARATING)
def test_loss_falls_as_speakers_separate(name: str) -> None:
    objective = Triplet(DIM, SPEAKERS, reduction="mined") if name == "triplet" else of(name)
    results = [objective(*suitable(objective, spread)) for spread in (2.0, 1.0, 0.5, 0.25)]
    losses = [loss.item() for loss, _ in results]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.5 * losses[0]
    assert results[0][1].float().mean() < results[-1][1].float().mean() == 1


@pytest.mark.parametrize("name", [name for name in NAMES if name != "triplet_ranked"])
def test_order_of_speakers_does_not_matter(name: str) -> None:
    """Nor that of examples, where batches may have any order."""
    objective = of(name).eval()
    embeddings, labels = suitable(objective)
    generator = torch.Generator().manual_seed(3)
    size = {"speakers": UTTS, "pairs": 2, "any": 1}[objective.batches]
    order = torch.arange(len(labels)).view(-1, size)
    order = order[torch.randperm(len(order), generator=generator)].flatten()
    loss, correct = objective(embeddings, labels)
    again, moved = objective(embeddings[order], labels[order])
    assert again.item() == pytest.approx(loss.item(), rel=1e-5)
    assert correct is not None and moved is not None
    step = len(labels) // len(correct)
    assert torch.equal(moved, correct[order[::step] // step])


def test_right_is_who_has_a_neighbour_of_the_same_speaker() -> None:
    angles = torch.tensor([0.0, 0.1, 0.25, 1.0, 1.2, 2.0, 2.1])
    embeddings, labels = torch.stack([angles.cos(), angles.sin()], 1), torch.tensor([0, 0, 1, 1, 1, 0, 7])
    for objective in (Triplet(2, 8), MultiSimilarity(2, 8), Contrastive(2, 8, pairs="all")):
        loss, correct = objective(embeddings, labels)
        assert loss.isfinite()
        assert correct.tolist() == [True, True, False, True, True, False, False]


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_where_embeddings_coincide(name: str) -> None:
    objective = of(name)
    embeddings, labels = suitable(objective)
    zero = embeddings.clone()
    zero[:2] = 0
    for vectors in (embeddings[:1].expand(len(labels), -1), zero, embeddings.repeat_interleave(2, 0)[: len(labels)]):
        objective.zero_grad()
        assert objective(vectors, labels)[0].isfinite()
        assert gradient(objective, vectors, labels).isfinite().all()
        for parameter in objective.parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_nothing(name: str) -> None:
    objective = of(name)
    embeddings, labels = suitable(objective)
    embeddings = embeddings.bfloat16()
    torch.manual_seed(0)
    expected = objective(embeddings.float(), labels)[0]
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        loss, correct = objective(embeddings, labels)
    assert loss.dtype == torch.float32 and torch.equal(loss, expected)
    assert correct is not None and not correct.requires_grad
    assert gradient(objective, embeddings, labels).isfinite().all()


@pytest.mark.parametrize("name", [name for name in NAMES if not isinstance(of(name), WeightedSum)])
def test_one_graph_for_any_number_of_examples(name: str) -> None:
    torch._dynamo.reset()
    objective = of(name).eval()
    compiled = torch.compile(objective, dynamic=True, fullgraph=True, backend="aot_eager")
    embeddings, labels = suitable(objective)
    for number in (24, 16, 20):
        leaves = [embeddings[:number].clone().requires_grad_() for _ in range(2)]
        losses = []
        for leaf, called in zip(leaves, (objective, compiled), strict=True):
            torch.manual_seed(0)
            loss, _ = called(leaf, labels[:number])
            loss.backward()
            losses.append(loss.item())
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
        assert torch.allclose(leaves[0].grad, leaves[1].grad, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_training_separates_speakers(name: str) -> None:
    """Embeddings that are free to go anywhere, from random ones: at last every neighbour is of the same speaker."""
    objective = of(name)
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(SPEAKERS).repeat_interleave(UTTS)
    embeddings = nn.Parameter(torch.randn(len(labels), DIM, generator=generator))
    optimizer = torch.optim.Adam([embeddings, *objective.parameters()], lr=0.03)
    for step in range(250):
        shuffled = torch.randperm(len(labels), generator=generator)
        rows = shuffled[labels[shuffled].argsort(stable=True)].view(SPEAKERS, UTTS)
        if objective.batches == "pairs":  # half of them of one speaker
            rows = torch.cat([rows[:, :2], torch.stack([rows[:, 2], rows[:, 3].roll(1 + step % 5)], 1)])
        rows = rows.flatten()
        objective.update(step, 250)
        loss, _ = objective(embeddings[rows], labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            objective.constrain(step)
    if objective.batches == "pairs":
        objective.eval()
        assert objective(embeddings[rows], labels[rows])[1].all()  # type: ignore[union-attr]
    if name != "siamese":  # whose head may draw any line
        assert Triplet(DIM, SPEAKERS)(embeddings, labels)[1].all()


def test_softmax_and_angular_prototypical_are_added() -> None:
    total = of("softmax_angular_prototypical")
    assert isinstance(total, WeightedSum) and total.classifies and total.batches == "speakers"
    softmax, angular = total.terms
    assert isinstance(softmax, Softmax) and isinstance(angular, AngularPrototypical)
    assert angular.utts_per_speaker == UTTS
    embeddings, labels = batch()
    loss, correct = total(embeddings, labels)
    by_class, recognised = softmax(embeddings, labels)
    assert loss.item() == pytest.approx((by_class + angular(embeddings, labels)[0]).item())
    assert torch.equal(correct, recognised)


def test_what_is_learned_is_kept() -> None:
    objective = of("ge2e")
    with torch.no_grad():
        objective.scale.fill_(7.0)
        objective.offset.fill_(1.0)
    again = build_objective(yaml.safe_load(yaml.safe_dump(objective.config)), DIM, SPEAKERS, UTTS)
    assert torch.equal(of("ge2e")(*batch())[0], again(*batch())[0])
    again.load_state_dict(objective.state_dict())
    assert torch.equal(objective(*batch())[0], again(*batch())[0])


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("Ge2e", {"scale": 0}, "Ge2e: scale is 0.0"),
    ("Ge2e", {"variant": "hard"}, "Ge2e: .*variant"),
    ("AngularPrototypical", {"scale": -1}, "AngularPrototypical: scale is -1.0"),
    ("Triplet", {"margin": 0}, "Triplet: margin is 0.0, rank is 10"),
    ("Triplet", {"rank": 0}, "Triplet: margin is 0.1, rank is 0"),
    ("Triplet", {"mining": "easy"}, "Triplet: .*mining"),
    ("Contrastive", {"margin": -1}, "Contrastive: margin is -1.0"),
    ("MultiSimilarity", {"beta": 0}, "MultiSimilarity: alpha is 2.0, beta is 0.0"),
    ("Siamese", {"hidden_dims": [0]}, r"Siamese: hidden_dims \(0,\)"),
    ("Siamese", {"hidden_dims": []}, "Siamese: a head without hidden layers"),
    ("Siamese", {"dropout": 1}, "Siamese: .*dropout 1.0"),
    ("Prototypes", {}, "'Prototypes' is unknown"),
    ("ScaledCosines", {}, "'ScaledCosines' is unknown"),
]


@pytest.mark.parametrize(("name", "settings", "message"), BAD, ids=[message for *_, message in BAD])
def test_bad_settings_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_objective({"class_path": name, "init_args": settings}, DIM, SPEAKERS)
