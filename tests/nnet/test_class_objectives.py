"""Objectives with a class a speaker: closed forms in float64, limits, pytorch_metric_learning."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pytorch_metric_learning import losses as oracles
from torch.nn import functional

from timbre.nnet.objectives import (
    AamSoftmax,
    AmSoftmax,
    Annealing,
    ASoftmax,
    Objective,
    SphereFace2,
    build_objective,
)
from timbre.nnet.objectives.class_chunks import class_cross_entropy
from timbre.nnet.objectives.margin import AngularSoftmax, MarginWarmup, add_angle
from timbre.utils.errors import DataError

Array = npt.NDArray[np.float64]
CONF = Path(__file__).resolve().parents[2] / "conf" / "objective"
NAMES = (
    "aam",
    "aam_subcenter_topk",
    "amsoftmax",
    "asoftmax",
    "softmax",
    "softmax_center",
    "softmax_ring",
    "sphereface2",
)
NO_ANNEALING = Annealing(start=0, least=0)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def batch(num_speakers: int = 7, length: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return length * torch.randn(20, 5, generator=generator), torch.arange(20) % num_speakers


def angles(weight: torch.Tensor, embeddings: torch.Tensor) -> Array:
    """Between EMBEDDINGS and the class weights (C, D), in (B, C) float64."""
    vectors, rows = embeddings.detach().double().numpy(), weight.detach().double().numpy()
    return np.arccos(vectors @ rows.T / np.linalg.norm(vectors, axis=1)[:, None] / np.linalg.norm(rows, axis=1))


def cross_entropy(logits: Array, labels: torch.Tensor) -> float:
    return float(np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(logits)), labels.numpy()]))


def psi(theta: Array, margin: int) -> Array:
    """By its definition."""
    turns = np.floor(theta * margin / math.pi)
    return np.asarray((-1) ** turns * np.cos(margin * theta) - 2 * turns)


@pytest.mark.parametrize("margin", [1, 2, 3, 4, 5])
def test_psi_is_its_definition_and_falls_all_the_way(margin: int) -> None:
    objective = ASoftmax(3, 3, margin).double()
    theta = torch.linspace(0, math.pi, 100_001, dtype=torch.float64)[1:-1]
    found = objective.psi(theta.cos()[:, None])[:, 0]
    assert np.abs(found.numpy() - psi(theta.numpy(), margin)).max() < 1e-9
    steps = found.diff()
    assert steps.max() < 0 and steps.min() > -1e-3  # no jump
    ends = objective.psi(torch.tensor([[1.0], [-1.0]], dtype=torch.float64))[:, 0]
    assert ends.tolist() == [1, 1 - 2 * margin]


@pytest.mark.parametrize("margin", [1, 3, 4])
@pytest.mark.parametrize("damping", [0.0, 5.0, 1500.0])
def test_a_softmax_is_its_closed_form(margin: int, damping: float) -> None:
    embeddings, labels = batch(length=4)
    objective = ASoftmax(5, 7, margin, Annealing(damping, least=0))
    theta = angles(objective.weight, embeddings)
    cosines = np.cos(theta)
    own = np.arange(20), labels.numpy()
    cosines[own] = (damping * cosines[own] + psi(theta[own], margin)) / (1 + damping)
    lengths = np.linalg.norm(embeddings.double().numpy(), axis=1)[:, None]
    loss, correct = objective(embeddings, labels)
    assert abs(loss.item() - cross_entropy(lengths * cosines, labels)) < 1e-4
    assert (correct.numpy() == (theta.argmin(1) == labels.numpy())).all()


def test_annealing_falls_to_its_least() -> None:
    annealing = Annealing()
    course = [annealing.at(step) for step in range(5000)]
    assert course[0] == 1500 and course[10] == 750 and course[-1] == 5
    assert all(late <= early for early, late in itertools.pairwise(course))
    assert course[2980] > 5 == course[2990]  # 1500 / (1 + 0.1 * 2990) = 5
    sphereface = Annealing(start=1000, gamma=0.12, power=1)
    assert sphereface.at(100) == pytest.approx(1000 / 13)
    assert Annealing(start=100, gamma=1, power=2, least=1).at(4) == pytest.approx(4)


def test_annealing_goes_on_where_it_was() -> None:
    embeddings, labels = batch(length=4)
    objective = ASoftmax(5, 7)
    assert objective.damping == 1500 and objective.current_margin == pytest.approx(1, abs=0.01)
    objective.update(40, 1000)
    assert objective.damping == 300
    resumed = ASoftmax(5, 7)
    resumed.load_state_dict(objective.state_dict())
    assert torch.equal(resumed(embeddings, labels)[0], objective(embeddings, labels)[0])
    late = ASoftmax(5, 7, 4, NO_ANNEALING)
    assert late.current_margin == 4


def one_direction(weight: torch.Tensor) -> torch.Tensor:
    """Class weights, or with several sub-centres the first of each."""
    return weight if weight.dim() == 2 else weight[:, 0]


ORACLES: list[tuple[str, Callable[[], AngularSoftmax], Callable[[], Any]]] = [
    (
        "ArcFace",
        lambda: AamSoftmax(5, 7, scale=24, margin=math.radians(20)),
        lambda: oracles.ArcFaceLoss(7, 5, margin=20, scale=24),
    ),
    ("CosFace", lambda: AmSoftmax(5, 7, scale=24, margin=0.3), lambda: oracles.CosFaceLoss(7, 5, margin=0.3, scale=24)),
    ("SphereFace", lambda: ASoftmax(5, 7, 4, NO_ANNEALING), lambda: oracles.SphereFaceLoss(7, 5, margin=4)),
    ("SphereFace 3", lambda: ASoftmax(5, 7, 3, NO_ANNEALING), lambda: oracles.SphereFaceLoss(7, 5, margin=3)),
    (
        "SubCenterArcFace",
        lambda: AamSoftmax(5, 7, scale=24, margin=math.radians(20), sub_centers=3),
        lambda: oracles.SubCenterArcFaceLoss(num_classes=7, embedding_size=5, margin=20, scale=24, sub_centers=3),
    ),
]


@pytest.mark.parametrize(("make", "make_oracle"), [row[1:] for row in ORACLES], ids=[row[0] for row in ORACLES])
def test_loss_and_gradient_are_those_of_pytorch_metric_learning(
    make: Callable[[], AngularSoftmax], make_oracle: Callable[[], Any]
) -> None:
    objective, oracle = make(), make_oracle()
    oracle.W.data.copy_(objective.weight.detach().flatten(0, -2).T)
    gradients, values = [], []
    for loss_of in (lambda *args: objective(*args)[0], oracle):
        embeddings, labels = batch(length=3)
        embeddings.requires_grad_()
        values.append(loss_of(embeddings, labels))
        gradients.append(torch.autograd.grad(values[-1], embeddings)[0])
    assert torch.allclose(*values, rtol=1e-4)
    assert torch.allclose(*gradients, atol=1e-4)


def test_a_class_is_its_nearest_sub_center() -> None:
    embeddings, labels = batch()
    objective = AamSoftmax(5, 7, scale=20, margin=0, sub_centers=3)
    assert objective.weight.shape == (7, 3, 5)
    cosines = np.cos(angles(objective.weight.flatten(0, 1), embeddings)).reshape(20, 7, 3).max(2)
    loss, correct = objective(embeddings, labels)
    assert abs(loss.item() - cross_entropy(20 * cosines, labels)) < 1e-4
    assert (correct.numpy() == (cosines.argmax(1) == labels.numpy())).all()


@pytest.mark.parametrize("top_k", [1, 3, 6])
@pytest.mark.parametrize("sub_centers", [1, 2])
def test_the_nearest_wrong_classes_are_nearer_by_the_penalty(top_k: int, sub_centers: int) -> None:
    embeddings, labels = batch()
    objective = AamSoftmax(5, 7, scale=20, margin=0.2, sub_centers=sub_centers, top_k=top_k, top_k_margin=0.1)
    with torch.no_grad():  # where the target is the nearest of all, and where it is not
        embeddings[:7] = one_direction(objective.weight)[labels[:7]] + 0.1 * embeddings[:7]
    theta = angles(objective.weight.view(-1, 5), embeddings).reshape(20, 7, sub_centers).min(2)
    shifted = theta.copy()
    for label, row, changed in zip(labels.tolist(), theta, shifted, strict=True):
        wrong = [number for number in np.argsort(row) if number != label]
        changed[wrong[:top_k]] -= 0.1
        changed[label] += 0.2
    assert shifted.min() > 0 and shifted.max() < math.pi  # what is past them is another test's
    loss, correct = objective(embeddings, labels)
    assert abs(loss.item() - cross_entropy(20 * np.cos(shifted), labels)) < 1e-4
    assert (correct.numpy() == (theta.argmin(1) == labels.numpy())).all()
    assert correct.any() and not correct.all()


def test_the_penalty_grows_with_the_margin_and_moves_no_class_past_the_embedding() -> None:
    embeddings, labels = batch()
    settings = {"scale": 20, "margin": 0.2, "warmup": MarginWarmup(0, 10), "top_k": 5, "top_k_margin": 0.1}
    objective = AamSoftmax(5, 7, **settings)  # type: ignore[arg-type]
    plain = AamSoftmax(5, 7, scale=20, margin=0)
    plain.load_state_dict(objective.state_dict() | {"margin": torch.tensor(0.0)})
    assert torch.allclose(objective(embeddings, labels)[0], plain(embeddings, labels)[0])
    half = AamSoftmax(5, 7, scale=20, margin=0.1, top_k=5, top_k_margin=0.05)
    half.weight = objective.weight
    objective.update(5, 100)
    assert torch.allclose(objective(embeddings, labels)[0], half(embeddings, labels)[0])
    nearer = -add_angle(-torch.linspace(0, math.pi, 9999, dtype=torch.float64).cos(), torch.tensor(0.1))
    assert nearer.diff().max() < 0 and nearer.diff().min() > -1e-3


def test_one_sub_center_and_no_penalty_is_plain() -> None:
    embeddings, labels = batch()
    plain = AamSoftmax(5, 7)
    same = AamSoftmax(5, 7, sub_centers=1, top_k=0, top_k_margin=0.3)
    same.load_state_dict(plain.state_dict())
    assert torch.equal(plain(embeddings, labels)[0], same(embeddings, labels)[0])
    copies = AamSoftmax(5, 7, sub_centers=2)
    copies.weight.data = plain.weight.data[:, None].repeat(1, 2, 1)
    assert torch.allclose(plain(embeddings, labels)[0], copies(embeddings, labels)[0])


@pytest.mark.parametrize(
    "objective",
    [
        AmSoftmax(5, 7),
        AamSoftmax(5, 7, sub_centers=2),
        AamSoftmax(5, 7, easy_margin=True),
        AamSoftmax(5, 7, top_k=2, top_k_margin=0.2),
        AamSoftmax(5, 7, top_k=9, top_k_margin=0.2, sub_centers=2),
        ASoftmax(5, 7),
    ],
    ids=lambda objective: type(objective).__name__,
)
@pytest.mark.parametrize("chunk", [1, 3, 7])
def test_slices_of_the_classes_make_up_the_loss(objective: AngularSoftmax, chunk: int) -> None:
    embeddings, labels = batch()
    loss, correct = objective(embeddings, labels)
    parts = class_cross_entropy(
        embeddings, labels, objective.weight, objective.class_logits, chunk, None, objective.top_k
    )
    assert torch.allclose(loss, parts[0], atol=1e-5) and torch.equal(correct, parts[1])
    gradients = [torch.autograd.grad(part, objective.weight)[0] for part in (loss, parts[0])]
    assert torch.allclose(*gradients, atol=1e-5)


def sphereface2(objective: SphereFace2, embeddings: torch.Tensor, labels: torch.Tensor) -> float:
    """Example by example and class by class."""
    margin, total = objective.full_margin, 0.0
    for label, row in zip(labels.tolist(), angles(objective.weight, embeddings), strict=True):
        for number, theta in enumerate(row):
            own = number == label
            if objective.margin_type == "A":
                theta += margin if own else -margin
            similarity = 2 * ((math.cos(theta) + 1) / 2) ** objective.exponent - 1
            if objective.margin_type == "C":
                similarity -= margin if own else -margin
            logit = objective.scale * similarity + objective.bias.item()
            weight = objective.positive_weight if own else 1 - objective.positive_weight
            total += weight * math.log1p(math.exp(-logit if own else logit))
    return total / len(labels)


@pytest.mark.parametrize("margin_type", ["A", "C"])
@pytest.mark.parametrize("exponent", [1, 3])
def test_sphereface2_is_its_closed_form(margin_type: Any, exponent: int) -> None:
    embeddings, labels = batch()
    objective = SphereFace2(5, 7, scale=12, margin=0.1, margin_type=margin_type, exponent=exponent, positive_weight=0.6)
    theta = angles(objective.weight, embeddings)
    assert theta.min() > 0.1 and theta.max() < math.pi - 0.1
    torch.nn.init.constant_(objective.bias, 1.5)
    loss, correct = objective(embeddings, labels)
    assert loss.item() == pytest.approx(sphereface2(objective, embeddings, labels), rel=1e-5)
    assert (correct.numpy() == (theta.argmin(1) == labels.numpy())).all()


@pytest.mark.parametrize("margin_type", ["A", "C"])
@pytest.mark.parametrize("num_speakers", [2, 7, 6000])
def test_the_bias_of_sphereface2_starts_where_the_loss_is_least(margin_type: Any, num_speakers: int) -> None:
    objective = SphereFace2(4, num_speakers, margin=0.15, margin_type=margin_type)
    with torch.no_grad():
        objective.weight[:, 0] = 0
    embeddings = torch.tensor([[1.0, 0, 0, 0]])  # orthogonal to all classes
    loss, _ = objective(embeddings, torch.tensor([1]))
    (gradient,) = torch.autograd.grad(loss, objective.bias)
    assert abs(gradient) < 1e-3
    start, losses = objective.bias.detach().clone(), []
    for shift in (-1.0, 0.0, 1.0):
        objective.bias.data = start + shift
        losses.append(objective(embeddings, torch.tensor([1]))[0].item())
    assert losses[1] < min(losses[0], losses[2])


def test_the_margin_of_sphereface2_warms_up() -> None:
    embeddings, labels = batch()
    settings = {"class_path": "SphereFace2", "init_args": {"margin": 0.2, "warmup": {"start": 0, "end": 10}}}
    objective = build_objective(settings, 5, 7)
    found = []
    for step in (0, 5, 10):
        objective.update(step, 100)
        assert objective.current_margin == pytest.approx(0.02 * step)
        found.append(objective(embeddings, labels)[0].item())
    assert found == sorted(found) and found[0] < found[2]


OBJECTIVES: list[Objective] = [
    AmSoftmax(5, 3),
    AamSoftmax(5, 3),
    AamSoftmax(5, 3, sub_centers=2, top_k=2),
    ASoftmax(5, 3, 4, NO_ANNEALING),
    SphereFace2(5, 3, margin_type="A"),
    SphereFace2(5, 3, margin_type="C"),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: type(objective).__name__)
def test_gradients_are_finite_at_and_opposite_to_the_classes(objective: Any) -> None:
    objective.zero_grad()
    directions = one_direction(objective.weight.detach())
    embeddings = torch.cat((directions, -directions, torch.zeros(1, 5))).requires_grad_()
    loss, _ = objective(embeddings, torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    loss.backward()
    assert loss.isfinite() and embeddings.grad is not None and embeddings.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in objective.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_it_compiles_to_one_graph_which_a_schedule_does_not_break(name: str) -> None:
    torch._dynamo.reset()
    objective = build_objective(CONF / f"{name}.yaml", 5, 7).eval()
    graphs = []

    def count(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(objective, fullgraph=True, backend=count)
    for step in (0, 200, 400):
        embeddings, labels = batch(length=step / 100 + 1)
        objective.update(step, 1000)
        with torch.autocast("cpu", torch.bfloat16):
            found = compiled(embeddings, labels)
        assert torch.allclose(found[0], objective(embeddings, labels)[0], atol=1e-5)
    assert len(graphs) == 1


@pytest.mark.parametrize("name", [name for name in NAMES if name != "softmax"])
def test_training_separates_speakers(name: str) -> None:
    labels = torch.arange(30) % 5
    embeddings = functional.one_hot(labels, 6) + 0.1 * torch.randn(30, 6)
    objective = build_objective(CONF / f"{name}.yaml", 6, 5)
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.1)
    losses = []
    for step in range(150):
        objective.update(step, 150)
        loss, correct = objective(embeddings, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    assert correct is not None and correct.all()


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_the_logits_without_margin(name: str) -> None:
    """Of the class with the largest cosine the largest; where there is no margin, the loss is made of them."""
    objective = build_objective(CONF / f"{name}.yaml", 5, 7).eval()
    own = next(one for one in objective.modules() if isinstance(one, Objective) and not hasattr(one, "terms"))
    embeddings, labels = batch(length=3.0)
    if name == "asoftmax":
        own.with_margin = lambda cosines: cosines
    elif name not in ("softmax", "softmax_center", "softmax_ring"):
        own.set_margin(0.0)
        own.top_k = 0
    outputs = objective.outputs(embeddings)
    loss, right = own(embeddings, labels)
    assert torch.equal(outputs.argmax(1) == labels, right)
    if name == "sphereface2":
        signs = 2 * functional.one_hot(labels, 7) - 1
        weights = torch.where(signs > 0, own.positive_weight, 1 - own.positive_weight)
        expected = (weights * functional.softplus(-signs * outputs)).sum(1).mean()
    else:
        expected = functional.cross_entropy(outputs, labels)
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)
    objective.input_length = 10.0
    scaled = objective.outputs(embeddings)
    assert torch.allclose(scaled, objective.outputs(7 * embeddings), atol=1e-4)
    objective.input_length = 0.0
    assert torch.allclose(scaled, objective.outputs(10 * functional.normalize(embeddings)), atol=1e-4)
    with pytest.raises(DataError, match="Triplet: it has no outputs, one for each speaker"):
        build_objective({"class_path": "Triplet"}, 5, 7).outputs(embeddings)
