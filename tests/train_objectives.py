"""Objectives for the tests of training, each with a trait that the trainer has to cope with."""

import os
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.objectives import Objective
from timbre.nnet.objectives.objective import Batches


class Tempered(Objective):
    """A softmax whose scale rises from step to step, and whose weights are put back to length 1 after each.

    Attributes:
        calls: (what, step) of every call since the last one to be made
    """

    classifies = True
    calls: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, embedding_dim: int, num_speakers: int, top: float = 10.0) -> None:
        super().__init__()
        self.top = top
        self.weight = nn.Parameter(torch.randn(num_speakers, embedding_dim))
        self.scale: Tensor
        self.register_buffer("scale", torch.tensor(0.0))
        Tempered.calls = []

    def update(self, step: int, num_steps: int) -> None:
        self.calls.append(("update", step))
        self.scale.fill_(1 + (self.top - 1) * step / num_steps)

    def constrain(self, step: int) -> None:
        self.calls.append(("constrain", step))
        self.weight.div_(self.weight.norm(dim=1, keepdim=True))

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.scale * functional.linear(functional.normalize(embeddings), self.weight)
        return functional.cross_entropy(logits, labels), logits.detach().argmax(1) == labels


class Unopinionated(Objective):
    """Embeddings of a learned length, on every other step; it says of no example that it is right.

    On the other steps the length is in no graph, and of two ranks it is so on one at a time.
    """

    def __init__(self, embedding_dim: int, num_speakers: int) -> None:
        super().__init__()
        self.length = nn.Parameter(torch.tensor(1.0))
        self.step = 0

    def update(self, step: int, num_steps: int) -> None:
        self.step = step

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        if self.step % 3 == 2:
            return embeddings.new_zeros(()), None  # on all ranks, and not even the network is in the graph
        learned = self.step % 2 == int(os.environ.get("RANK", "0"))
        return (embeddings.norm(dim=1) - (self.length if learned else 1.0)).square().mean(), None


class Parted(Objective):
    """Refuses a batch that is not of whole groups of different speakers, or of whole and balanced pairs."""

    def __init__(self, embedding_dim: int, num_speakers: int, needs: str) -> None:
        super().__init__()
        self.batches: Batches = "pairs" if needs == "pairs" else "speakers"

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        if self.batches == "speakers":
            groups = labels.reshape(-1, self.utts_per_speaker)
            assert (groups == groups[:, :1]).all() and len(groups[:, 0].unique()) == len(groups)
        else:
            same = labels[::2] == labels[1::2]
            assert 2 * same.sum() == len(same)
        return embeddings.square().mean(), None


class Opposite(Objective):
    """Scores trials by the negative cosine: the error rate is what the cosine's is not."""

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, None]:
        return embeddings.square().mean(), None

    def __init__(self, embedding_dim: int, num_speakers: int) -> None:
        super().__init__()

    def score(self, enroll: Tensor, test: Tensor) -> Tensor:
        return -functional.cosine_similarity(enroll, test)
