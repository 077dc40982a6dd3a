"""Center loss and ring loss: closed forms, what moves and what does not."""

from pathlib import Path

import numpy as np
import pytest
import torch

from timbre.nnet.objectives import CenterLoss, RingLoss, WeightedSum, build_objective

CONF = Path(__file__).resolve().parents[2] / "conf" / "objective"


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(20, 5, generator=generator), torch.arange(20) % 7


def test_center_loss_is_its_closed_form_and_its_gradients() -> None:
    embeddings, labels = batch()
    embeddings.requires_grad_()
    objective = CenterLoss(5, 7)
    torch.nn.init.normal_(objective.centers)
    loss, correct = objective(embeddings, labels)
    assert correct is None and not objective.classifies
    deviations = (embeddings - objective.centers[labels]).detach().double()
    assert loss.item() == pytest.approx(deviations.square().sum().item() / 40)
    loss.backward()
    assert embeddings.grad is not None and torch.allclose(embeddings.grad, deviations.float() / 20, atol=1e-6)
    sums = torch.zeros(7, 5).index_add(0, labels, -deviations.float() / 20)
    assert isinstance(objective.centers, torch.nn.Parameter)
    assert objective.centers.grad is not None and torch.allclose(objective.centers.grad, sums, atol=1e-6)


def test_centers_follow_their_embeddings() -> None:
    objective = CenterLoss(2, 4, alpha=0.5)
    assert not list(objective.parameters())
    torch.nn.init.normal_(objective.centers)
    before = objective.centers.clone()
    embeddings = torch.randn(5, 2, requires_grad=True)
    labels = torch.tensor([0, 2, 2, 0, 2])
    loss, _ = objective(embeddings, labels)
    expected = before.clone()
    for speaker in (0, 2):
        own = embeddings[labels == speaker].detach()
        expected[speaker] -= 0.5 * (before[speaker] - own).sum(0) / (1 + len(own))
    assert torch.allclose(objective.centers, expected)
    assert torch.equal(objective.centers[[1, 3]], before[[1, 3]])
    assert loss.item() == pytest.approx((embeddings - before[labels]).square().sum().item() / 10)
    loss.backward()
    assert embeddings.grad is not None and torch.allclose(embeddings.grad, (embeddings - before[labels]).detach() / 5)
    resumed = CenterLoss(2, 4, alpha=0.5).eval()
    resumed.load_state_dict(objective.state_dict())
    resumed(embeddings, labels)  # validation moves nothing
    assert torch.equal(resumed.centers, objective.centers)
    for _ in range(200):
        objective(embeddings, labels)
    assert torch.allclose(objective.centers[2], embeddings[labels == 2].mean(0), atol=1e-4)


def test_centers_follow_in_a_compiled_graph() -> None:
    embeddings, labels = batch()
    objectives = [CenterLoss(5, 7, alpha=0.5) for _ in range(2)]
    torch._dynamo.reset()
    compiled = torch.compile(objectives[1], fullgraph=True, backend="aot_eager")
    for _ in range(2):
        assert torch.allclose(objectives[0](embeddings, labels)[0], compiled(embeddings, labels)[0])
    assert torch.allclose(objectives[0].centers, objectives[1].centers)
    assert objectives[0].centers.abs().min() > 0


def test_ring_loss_is_its_closed_form_and_its_radius_moves() -> None:
    embeddings, labels = batch()
    embeddings[0] = 0  # where a length has no direction to grow in
    embeddings.requires_grad_()
    objective = RingLoss(5, 7, radius=3.0)
    lengths = np.linalg.norm(embeddings.detach().double().numpy(), axis=1)
    loss, correct = objective(embeddings, labels)
    assert correct is None and not objective.classifies
    assert loss.item() == pytest.approx(((lengths - 3) ** 2).mean() / 2, rel=1e-5)
    loss.backward()
    assert embeddings.grad is not None and embeddings.grad.isfinite().all() and embeddings.grad[1:].abs().min() > 0
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.5)
    for _ in range(30):
        optimizer.zero_grad()
        objective(embeddings.detach(), labels)[0].backward()
        optimizer.step()
    assert objective.radius.item() == pytest.approx(lengths.mean(), abs=1e-4)


@pytest.mark.parametrize("name", ["softmax_center", "softmax_ring"])
def test_terms_beside_softmax_leave_it_the_judge(name: str) -> None:
    embeddings, labels = batch()
    objective = build_objective(CONF / f"{name}.yaml", 5, 7)
    assert isinstance(objective, WeightedSum) and objective.classifies and objective.batches == "any"
    softmax, term = objective.terms
    alone, recognised = softmax(embeddings, labels)
    expected = alone + (0.003 if name == "softmax_center" else 0.01) * term.eval()(embeddings, labels)[0]
    loss, correct = objective(embeddings, labels)
    assert torch.allclose(loss, expected) and torch.equal(correct, recognised)
