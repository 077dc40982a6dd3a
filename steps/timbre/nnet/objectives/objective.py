"""What every training objective is to the trainer: a loss, with class weights and a schedule."""

from abc import ABC, abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.objectives.class_chunks import Shard
from timbre.nnet.scheduled import Scheduled
from timbre.utils.errors import DataError

Batches = Literal["any", "speakers", "pairs"]


class Objective(nn.Module, Scheduled, ABC):
    """Base of the objectives: a class `(embedding_dim, num_speakers, options) -> module`.

    Attributes:
        config: the settings it was built from, defaults included, as build_objective takes them
        classifies: it has a class for each training speaker, so that any batch can tell how well it does
        batches: the order of examples it needs. speakers: rows i * M to (i + 1) * M - 1 are M utterances of a speaker,
            and the speakers of a batch differ; pairs: rows 2 i and 2 i + 1 are a pair, of one speaker if their labels
            are equal
        utts_per_speaker: the M of such batches
        shard: which classes this rank has, if ranks share them out
        gathers: it must see the examples of all ranks together, whatever the batches are
        input_length: Euclidean length that embeddings are scaled to before it sees them; 0: as they are
    """

    classifies: bool = False
    batches: Batches = "any"
    shard: Shard | None = None
    gathers: bool = False
    input_length: float = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.config: dict[str, Any] = {}
        self.utts_per_speaker = 2

    def forward(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Loss of a batch, in float32 also under autocast.

        Args:
            embeddings: (B, embedding_dim)
            labels: (B,) int64 speakers

        Returns:
            the mean loss, and for each example (or pair), detached, whether the objective finds it right: the class is
            recognised, the own centroid is the nearest, the pair is decided rightly; None where it has no opinion
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.loss(self._scaled(embeddings), labels)

    def outputs(self, embeddings: Tensor) -> Tensor:
        """Logits (B, num_speakers) float32 of EMBEDDINGS (B, embedding_dim), without any margin.

        Raises:
            DataError: this objective has none
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.logits(self._scaled(embeddings))

    @abstractmethod
    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor | None]:
        """As forward, on float32 EMBEDDINGS with autocast off."""

    def logits(self, embeddings: Tensor) -> Tensor:
        """As outputs, on float32 EMBEDDINGS with autocast off."""
        raise DataError(f"{type(self).__name__}: it has no outputs, one for each speaker")

    def _scaled(self, embeddings: Tensor) -> Tensor:
        embeddings = embeddings.float()
        return self.input_length * functional.normalize(embeddings) if self.input_length else embeddings

    def shard_classes(self, rank: int, size: int) -> None:
        """Keeps the weights of the classes of RANK of SIZE alone.

        Raises:
            DataError: this objective has no classes that could be shared out
        """
        raise DataError(f"{type(self).__name__}: there are no classes that ranks could share out")

    @property
    def current_margin(self) -> float:
        """The margin in force now (reading it synchronises the device); 0 without one."""
        return 0.0
