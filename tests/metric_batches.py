"""Batches for the tests of the objectives that compare their examples, and the objectives of conf/objective."""

from pathlib import Path

import torch
from torch import Tensor

from timbre.nnet.objectives import Objective, build_objective

FOLDER = Path(__file__).resolve().parents[1] / "conf" / "objective"
NAMES = [
    "ge2e",
    "ge2e_contrast",
    "prototypical",
    "angular_prototypical",
    "softmax_angular_prototypical",
    "triplet",
    "triplet_semihard",
    "triplet_ranked",
    "aam_triplet",
    "multi_similarity",
    "aam_multi_similarity",
    "contrastive",
    "siamese",
]
DIM, SPEAKERS, UTTS = 8, 6, 4


def of(name: str, utts_per_speaker: int = UTTS) -> Objective:
    """The objective of conf/objective/NAME.yaml."""
    torch.manual_seed(0)
    return build_objective(FOLDER / f"{name}.yaml", DIM, SPEAKERS, utts_per_speaker)


def batch(spread: float = 1.0, utts: int = UTTS) -> tuple[Tensor, Tensor]:
    """UTTS embeddings of each speaker, one speaker after another, SPREAD around a place of its own; their labels."""
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(SPEAKERS, 1, DIM, generator=generator)
    noise = torch.randn(SPEAKERS, utts, DIM, generator=generator)
    return (centres + spread * noise).flatten(0, 1), torch.arange(SPEAKERS).repeat_interleave(utts)


def pairs(spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """Pairs, every other one of a speaker."""
    embeddings, labels = batch(spread)
    order = [row for first in range(0, len(labels), 4) for row in (first, first + 1, first + 2, (first + 7) % 24)]
    return embeddings[order], labels[order]


def suitable(objective: Objective, spread: float = 1.0) -> tuple[Tensor, Tensor]:
    """A batch of the kind that OBJECTIVE needs."""
    return pairs(spread) if objective.batches == "pairs" else batch(spread)


def gradient(objective: Objective, embeddings: Tensor, labels: Tensor) -> Tensor:
    """Of the loss, by the embeddings."""
    leaf = embeddings.clone().requires_grad_()
    objective(leaf, labels)[0].backward()
    assert leaf.grad is not None
    return leaf.grad
