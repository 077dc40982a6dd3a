"""Objectives on pairs of examples: contrastive loss, and a classifier of pairs, which also scores trials.

In batches of pairs, rows 2 i and 2 i + 1 are a pair; it is of one speaker if their labels are equal.
"""

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from timbre.nnet.objectives.in_batch import nearest_is_positive, pair_masks
from timbre.nnet.objectives.objective import Batches, Objective
from timbre.utils.errors import DataError

SMALLEST_DISTANCE = 1e-4


class Contrastive(Objective):
    """Contrastive loss (Hadsell et al. 2006): D^2 / 2 of a pair of one speaker, max(0, margin - D)^2 / 2 of two.

    D is the Euclidean distance. A pair is decided rightly if D is below half the margin for one speaker, and not for
    two.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of training speakers
        margin: from which on two speakers are far enough from each other; 1 suits embeddings of length 1, 3 others
        normalize: embeddings are scaled to length 1
        half: the 1/2 of the definition; false: twice the loss, as some programs have it
        pairs: those of the batch, in their order; or all that a batch of any order makes, where pairs of one speaker
            and of two have half of the weight each, and what counts as right is a nearest neighbour of the same speaker
    """

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        margin: float = 1.0,
        normalize: bool = True,
        half: bool = True,
        pairs: Literal["listed", "all"] = "listed",
    ) -> None:
        super().__init__()
        if margin <= 0:
            raise DataError(f"Contrastive: margin is {margin}; it must be above 0")
        self.margin, self.normalize, self.factor, self.pairs = margin, normalize, 0.5 if half else 1.0, pairs
        self.batches: Batches = "pairs" if pairs == "listed" else "any"

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and whether each pair is decided rightly, (B / 2,), or each example's neighbour is right, (B,)."""
        if self.normalize:
            embeddings = functional.normalize(embeddings)
        if self.pairs == "all":
            return self._of_all(embeddings, labels)
        first, second, same = split_pairs(embeddings, labels)
        squares = (first - second).square().sum(1)
        losses = self.factor * torch.where(same, squares, self._push(squares))
        return losses.mean(), (squares.detach() < (self.margin / 2) ** 2) == same

    def _of_all(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        centred = embeddings - embeddings.mean(0)  # what all have in common would cost digits
        lengths = centred.square().sum(1)
        squares = (lengths[:, None] + lengths - 2 * centred @ centred.T).clamp(min=0)
        positive, negative = pair_masks(labels)
        pull, push = _masked_mean(squares, positive), _masked_mean(self._push(squares), negative)
        return self.factor * (pull + push) / 2, nearest_is_positive(-squares, positive)

    def _push(self, squares: Tensor) -> Tensor:
        """The loss of pairs of two speakers with squared distances SQUARES; flat where the root has no gradient."""
        distances = squares.clamp(min=SMALLEST_DISTANCE**2).sqrt()
        return functional.relu(self.margin - distances).square()


class PairHead(nn.Module):
    """Whether two embeddings are of one speaker, as a logit that does not depend on their order.

    Args:
        embedding_dim: size of an embedding
        inputs: concat: both embeddings, one after the other; the logit is the mean over both orders. symmetric:
            [|u - v|, u * v], which has but one order
        hidden_dims: sizes of the hidden layers, each followed by GELU and dropout
        dropout: share of a hidden layer that is dropped
    """

    def __init__(
        self, embedding_dim: int, inputs: Literal["concat", "symmetric"], hidden_dims: tuple[int, ...], dropout: float
    ) -> None:
        super().__init__()
        self.concat = inputs == "concat"
        self.first = nn.Linear(2 * embedding_dim, (*hidden_dims, 1)[0])
        layers: list[nn.Module] = []
        for ingoing, outgoing in pairwise((*hidden_dims, 1)):
            layers += [nn.GELU(), nn.Dropout(dropout), nn.Linear(ingoing, outgoing)]
        self.rest = nn.Sequential(*layers)

    def prepare(self, embeddings: Tensor) -> Tensor:
        """All that can be done with EMBEDDINGS (N, D) before they meet another: (N, K).

        A trial list names each embedding many times. Of concatenated ones the first layer is a sum of what it does to
        either, as the first or as the second of the two.
        """
        if not self.concat:
            return embeddings
        return functional.linear(embeddings, torch.cat(self.first.weight.chunk(2, 1)))

    def compare(self, one: Tensor, other: Tensor) -> Tensor:
        """Logits (N,) of prepared embeddings, two of (N, K)."""
        if not self.concat:
            logits: Tensor = self.rest(self.first(torch.cat([(one - other).abs(), one * other], 1)))
            return logits[:, 0]
        (one_first, one_second), (other_first, other_second) = one.chunk(2, 1), other.chunk(2, 1)
        orders = torch.stack([one_first + other_second, other_first + one_second])
        logits = self.rest(orders + self.first.bias)
        return logits.mean(0)[:, 0]

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Logits (N,) of embeddings, two of (N, D)."""
        return self.compare(self.prepare(one), self.prepare(other))


class Siamese(Objective):
    """Binary cross-entropy of a network that says of two embeddings whether they are of one speaker.

    Args:
        embedding_dim: size of an embedding
        num_speakers: number of training speakers
        inputs: of the head. concat: both embeddings, one after the other, the logit being the mean over both orders;
            symmetric: [|u - v|, u * v]
        hidden_dims: sizes of the head's hidden layers, each followed by GELU and dropout
        dropout: share of a hidden layer that is dropped in training
    """

    batches: Batches = "pairs"

    def __init__(
        self,
        embedding_dim: int,
        num_speakers: int,
        inputs: Literal["concat", "symmetric"] = "concat",
        hidden_dims: tuple[int, ...] = (512,),
        dropout: float = 0.3,
    ) -> None:
        super().__init__()
        if min(hidden_dims, default=1) < 1 or not 0 <= dropout < 1:
            raise DataError(f"Siamese: hidden_dims {hidden_dims} must be above 0, dropout {dropout} from 0 to below 1")
        if inputs == "concat" and not hidden_dims:
            raise DataError("Siamese: a head without hidden layers cannot compare concatenated embeddings")
        self.head = PairHead(embedding_dim, inputs, hidden_dims, dropout)

    def loss(self, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and of each pair whether the sign of its logit is right, (B / 2,)."""
        first, second, same = split_pairs(embeddings, labels)
        logits = self.score(first, second)
        loss = functional.binary_cross_entropy_with_logits(logits, same.to(logits.dtype))
        return loss, (logits.detach() > 0) == same

    def score(self, enroll: Tensor, test: Tensor) -> Tensor:
        """Logits (N,) of pairs of embeddings, two of (N, D): above 0 for one speaker; the order does not matter."""
        logits: Tensor = self.head(enroll, test)
        return logits


def split_pairs(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The first and the second embedding of each pair, two of (B / 2, D), and whether they are of one speaker."""
    if embeddings.shape[0] % 2:
        raise ValueError(f"a batch of {embeddings.shape[0]} examples is not of pairs")
    first, second = embeddings.reshape(-1, 2, embeddings.shape[1]).unbind(1)
    return first, second, labels[::2] == labels[1::2]


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of VALUES where MASK; 0, with a gradient, if that is nowhere."""
    return (values * mask).sum() / mask.sum().clamp(min=1)
