"""Objectives against closed forms in float64, their margins and their schedule."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch.nn import functional

from timbre.nnet.objectives import (
    AamSoftmax,
    AmSoftmax,
    CosineSoftmax,
    MarginWarmup,
    Softmax,
    WeightedSum,
    build_objective,
)
from timbre.utils.errors import DataError

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "conf" / "objective").glob("*.yaml"))


def batch(num_speakers: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(20, 5, generator=generator), torch.arange(20) % num_speakers


def angles(objective: CosineSoftmax, embeddings: torch.Tensor) -> np.ndarray:
    """Between embeddings and class weights, (B, num_speakers) float64."""
    vectors, weights = embeddings.double().numpy(), objective.weight.detach().double().numpy()
    norms = np.linalg.norm(vectors, axis=1)[:, None] * np.linalg.norm(weights, axis=1)
    return np.arccos(vectors @ weights.T / norms)


def cross_entropy(logits: np.ndarray, labels: torch.Tensor) -> float:
    target = logits[np.arange(len(logits)), labels.numpy()]
    return float(np.mean(np.log(np.exp(logits).sum(1)) - target))


@pytest.mark.parametrize("easy_margin", [False, True])
def test_aam_is_its_closed_form(easy_margin: bool) -> None:
    embeddings, labels = batch()
    objective = AamSoftmax(5, 7, scale=20, margin=0.35, easy_margin=easy_margin)
    # one embedding nearly opposite to its class: past pi - m
    embeddings[0] = -3 * objective.weight.detach()[labels[0]] + 0.05
    theta = angles(objective, embeddings)
    assert theta[0, labels[0]] > math.pi - 0.35
    target = theta[np.arange(20), labels.numpy()]
    if easy_margin:
        shifted = np.where(target < math.pi / 2, np.cos(target + 0.35), np.cos(target))
    else:
        shifted = np.where(
            target < math.pi - 0.35, np.cos(target + 0.35), np.cos(target) - (1 + np.cos(math.pi - 0.35))
        )
    logits = 20 * np.cos(theta)
    loss, correct = objective(embeddings, labels)
    assert (correct.numpy() == (logits.argmax(1) == labels.numpy())).all()  # without margin
    logits[np.arange(20), labels.numpy()] = 20 * shifted
    assert abs(loss.item() - cross_entropy(logits, labels)) < 1e-4


def test_am_is_its_closed_form() -> None:
    embeddings, labels = batch()
    objective = AmSoftmax(5, 7, scale=20, margin=0.3)
    logits = 20 * np.cos(angles(objective, embeddings))
    logits[np.arange(20), labels.numpy()] -= 20 * 0.3
    assert abs(objective(embeddings, labels)[0].item() - cross_entropy(logits, labels)) < 1e-4


@pytest.mark.parametrize("kind", [AamSoftmax, AmSoftmax])
def test_without_margin_it_is_a_normalised_softmax(kind: type[CosineSoftmax]) -> None:
    embeddings, labels = batch()
    objective = kind(5, 7, margin=0)
    logits = 30 * functional.normalize(embeddings) @ functional.normalize(objective.weight).T
    loss, correct = objective(embeddings, labels)
    assert torch.allclose(loss, functional.cross_entropy(logits, labels), atol=1e-5)
    assert torch.equal(correct, logits.argmax(1) == labels)


def test_aam_falls_with_the_angle_all_the_way_without_a_jump() -> None:
    objective = AamSoftmax(2, 2, margin=0.4)
    theta = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
    steps = objective.with_margin(theta.cos()[:, None])[:, 0].diff()
    assert steps.max() < 0 and steps.min() > -2e-4


@pytest.mark.parametrize("easy_margin", [False, True])
def test_gradients_are_finite_at_and_opposite_to_the_class(easy_margin: bool) -> None:
    objective = AamSoftmax(5, 3, easy_margin=easy_margin)
    embeddings = torch.cat((objective.weight.detach(), -objective.weight.detach(), torch.zeros(1, 5)))
    embeddings.requires_grad_()
    loss, _ = objective(embeddings, torch.tensor([0, 1, 2, 0, 1, 2, 0]))
    loss.backward()
    assert loss.isfinite() and embeddings.grad is not None and embeddings.grad.isfinite().all()
    assert objective.weight.grad is not None and objective.weight.grad.isfinite().all()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_float32_under_autocast(path: Path) -> None:
    embeddings, labels = batch()
    objective = build_objective(path, 5, 7).eval()
    torch.manual_seed(1)  # some draw among the examples
    expected = objective(embeddings, labels)[0]
    torch.manual_seed(1)
    with torch.autocast("cpu", torch.bfloat16):
        loss, correct = objective(embeddings, labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)
    assert correct is None or not correct.requires_grad


@pytest.mark.parametrize("kind", [Softmax, AmSoftmax, AamSoftmax])
def test_training_separates_speakers(kind: type[Softmax | AmSoftmax | AamSoftmax]) -> None:
    torch.manual_seed(0)
    embeddings, labels = (
        torch.nn.functional.one_hot(torch.arange(30) % 5, 6) + 0.1 * torch.randn(30, 6),
        torch.arange(30) % 5,
    )
    objective = kind(6, 5)
    optimizer = torch.optim.SGD(objective.parameters(), lr=0.1)
    first = objective(embeddings, labels)[0].item()
    for _ in range(100):
        loss, correct = objective(embeddings, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first
    assert correct is not None and correct.all()


def test_margin_warms_up() -> None:
    warmup = MarginWarmup(start=100, end=300)
    assert [warmup.fraction(step) for step in (0, 100, 200, 250, 300, 1000)] == [0, 0, 0.5, 0.75, 1, 1]
    early = MarginWarmup(100, 300, "exponential")
    shares = [early.fraction(step) for step in range(0, 400, 10)]
    assert shares == sorted(shares) and shares[0] == shares[10] == 0 and shares[30] == 1
    assert early.fraction(200) > 0.9
    assert MarginWarmup().fraction(0) == 1
    assert MarginWarmup(50, 50).fraction(49) == 0 and MarginWarmup(50, 50).fraction(50) == 1


def test_margin_warms_up_over_a_share_of_the_training() -> None:
    """As WeSpeaker: none in the first 19 of 150 epochs, full after 39, whatever the number of updates."""
    warmup = MarginWarmup(shape="exponential", start_share=19 / 150, end_share=39 / 150)
    for num_steps in (150, 15000):
        shares = [warmup.fraction(step * num_steps // 150, num_steps) for step in (0, 19, 20, 29, 38, 39, 149)]
        assert shares[:2] == [0, 0] and shares[-2:] == [1, 1]
        assert shares[2:5] == pytest.approx([1 - 1e-3 ** (epoch / 20) for epoch in (1, 10, 19)], rel=2e-3)
    settings = {"class_path": "AamSoftmax", "init_args": {"warmup": {"start_share": 0.5, "end_share": 0.5}}}
    objective = build_objective(settings, 5, 7)
    assert objective.current_margin == 0
    margins = []
    for step in range(6):
        objective.update(step, 6)
        margins.append(objective.current_margin)
    assert margins == pytest.approx([0, 0, 0, 0.2, 0.2, 0.2])


def test_margin_in_force_is_kept_and_changes_the_loss() -> None:
    embeddings, labels = batch()
    settings = {"class_path": "AamSoftmax", "init_args": {"margin": 0.4, "warmup": {"start": 0, "end": 10}}}
    objective = build_objective(settings, 5, 7)
    losses = []
    for step in (0, 5, 10):
        objective.update(step, 100)
        losses.append(objective(embeddings, labels)[0].item())
        assert objective.current_margin == pytest.approx(0.04 * step)
    assert losses == sorted(losses) and losses[0] < losses[2]
    objective.update(5, 100)
    resumed = build_objective(settings, 5, 7)
    resumed.load_state_dict(objective.state_dict())
    assert torch.equal(resumed(embeddings, labels)[0], objective(embeddings, labels)[0])
    assert build_objective({"class_path": "Softmax"}, 5, 7).current_margin == 0


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_an_objective_is_rebuilt_from_its_own_configuration(path: Path) -> None:
    objective = build_objective(path, 5, 7)
    again = build_objective(yaml.safe_load(yaml.safe_dump(objective.config)), 5, 7)
    assert again.config == objective.config
    again.load_state_dict(objective.state_dict())
    embeddings, labels = batch()
    losses = []
    for one in (objective, again):
        torch.manual_seed(1)
        losses.append(one(embeddings, labels)[0])
    assert torch.equal(*losses)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"class_path": "AamSoftmax", "init_args": {"margins": 0.2}}, "AamSoftmax: .*margins"),
    ({"class_path": "AamSoftmax", "init_args": {"margin": 2}}, "margin is 2"),
    ({"class_path": "AamSoftmax", "init_args": {"num_speakers": 9}}, "num_speakers"),
    ({"class_path": "AamSoftmax", "init_args": {"sub_centers": 0}}, "AamSoftmax: sub_centers is 0"),
    ({"class_path": "AamSoftmax", "init_args": {"top_k": -1}}, "AamSoftmax: top_k is -1"),
    ({"class_path": "AamSoftmax", "init_args": {"top_k": 5, "top_k_margin": 2}}, "top_k_margin is 2"),
    ({"class_path": "AamSoftmax", "init_args": {"top_k": 5, "margin": 0}}, "AamSoftmax: top_k_margin grows"),
    ({"class_path": "AmSoftmax", "init_args": {"margin": -0.1}}, "AmSoftmax: margin is -0.1"),
    ({"class_path": "ASoftmax", "init_args": {"margin": 0}}, "ASoftmax: margin is 0"),
    ({"class_path": "ASoftmax", "init_args": {"annealing": {"gamma": -1}}}, "gamma -1"),
    ({"class_path": "SphereFace2", "init_args": {"scale": 0}}, "SphereFace2: scale is 0"),
    ({"class_path": "SphereFace2", "init_args": {"exponent": 0}}, "exponent is 0"),
    ({"class_path": "SphereFace2", "init_args": {"positive_weight": 1}}, "positive_weight is 1"),
    ({"class_path": "SphereFace2", "init_args": {"margin": -1}}, "SphereFace2: margin is -1"),
    ({"class_path": "SphereFace2", "init_args": {"margin": 1.6, "margin_type": "A"}}, "SphereFace2: margin is 1.6"),
    ({"class_path": "SphereFace2", "init_args": {"margin_type": "B"}}, "SphereFace2: .*margin_type"),
    ({"class_path": "CenterLoss", "init_args": {"alpha": 2}}, "CenterLoss: alpha is 2"),
    ({"class_path": "RingLoss", "init_args": {"radius": 0}}, "RingLoss: radius is 0"),
    ({"class_path": "AmSoftmax", "init_args": {"warmup": {"start": 5, "end": 3}}}, "step 5 to step 3"),
    ({"class_path": "AmSoftmax", "init_args": {"warmup": {"shape": "cubic"}}}, "cubic"),
    ({"class_path": "AmSoftmax", "init_args": {"warmup": {"end_share": 0.3}}}, "from the share None to the share 0.3"),
    (
        {"class_path": "AmSoftmax", "init_args": {"warmup": {"start_share": 0.3, "end_share": 0.2}}},
        "is not an interval",
    ),
    ({"class_path": "AmSoftmax", "init_args": {"warmup": {"start_share": 0, "end_share": 1.5}}}, "within 0 to 1"),
    (
        {"class_path": "AmSoftmax", "init_args": {"warmup": {"end": 400, "start_share": 0, "end_share": 0.2}}},
        "give one",
    ),
    ({"class_path": "AmSoftmax", "init_args": {"scale": 0}}, "AmSoftmax: scale is 0"),
    ({"class_path": "Arc"}, "objective 'Arc' is unknown; there are .*AamSoftmax, .*Softmax"),
    ({"class_path": "WeightedSum", "init_args": {"terms": []}}, "there are no terms"),
    ({"class_path": "WeightedSum", "init_args": {"terms": [{"weight": 0, "class_path": "Softmax"}]}}, "weight is 0"),
    ({"class_path": "WeightedSum", "init_args": {"terms": [{"class_path": "Arc"}]}}, "'Arc' is unknown"),
    ({"class_path": "CosineSoftmax"}, "'CosineSoftmax' is unknown"),
    ({"margin": 0.2}, "class_path and init_args"),
]


@pytest.mark.parametrize(("config", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_configuration_is_one_line_that_names_the_file(
    config: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "objective.yaml"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(DataError, match=message) as caught:
        build_objective(path, 5, 7)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_weighted_sum_is_the_sum_of_its_terms() -> None:
    embeddings, labels = batch()
    terms = [{"class_path": "Softmax"}, {"weight": 0.25, "class_path": "AmSoftmax", "init_args": {"margin": 0.1}}]
    total = build_objective({"class_path": "WeightedSum", "init_args": {"terms": terms}}, 5, 7, utts_per_speaker=4)
    assert isinstance(total, WeightedSum) and total.classifies and total.batches == "any"
    first, second = total.terms
    loss, correct = total(embeddings, labels)
    expected, recognised = first(embeddings, labels)
    assert torch.allclose(loss, expected + 0.25 * second(embeddings, labels)[0])
    assert torch.equal(correct, recognised)
    assert total.current_margin == pytest.approx(0.1)
    assert [term.utts_per_speaker for term in total.terms] == [4, 4]
    again = build_objective(yaml.safe_load(yaml.safe_dump(total.config)), 5, 7)
    assert again.config == total.config and total.config["init_args"]["terms"][1]["init_args"]["scale"] == 30.0
