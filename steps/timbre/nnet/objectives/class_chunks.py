"""Cross-entropy over very many classes: in chunks, and with the classes shared out among ranks. margin.py calls it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.utils.checkpoint import checkpoint

# (embeddings (B, D), class weights (C, ...), targets (B,), -1 where the target is not among these classes, floors) ->
# logits (B, C) with margin, and cosines (B, C) without; floors are (B, 1) cosines of the least of the nearest wrong
# classes, of all classes, or None where these are all, or nothing depends on it
ClassLogits = Callable[[Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Shard:
    """Which classes a rank holds.

    Attributes:
        rank, size: this rank, of how many
        first: number of its first class
        num_classes: how many it has
    """

    rank: int
    size: int
    first: int
    num_classes: int

    @classmethod
    def of_rank(cls, rank: int, size: int, num_classes: int) -> "Shard":
        """The share of RANK when SIZE ranks share NUM_CLASSES as evenly as can be."""
        bounds = [number * num_classes // size for number in range(size + 1)]
        return cls(rank, size, bounds[rank], bounds[rank + 1] - bounds[rank])


def class_cross_entropy(
    embeddings: Tensor,
    labels: Tensor,
    weight: Tensor,
    logits_of: ClassLogits,
    chunk: int,
    shard: Shard | None,
    nearest: int = 0,
) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy of a batch, and whether each example's largest cosine is that of its class.

    With more classes than CHUNK, the logits of so many at a time are computed, and computed again in the backward pass:
    B x CHUNK numbers are held instead of B x classes, for half again as much work. With a SHARD, each rank has the
    logits of its classes for the examples of all ranks; what it gives is then the mean over all ranks, the same on
    each, and the gradients of embeddings are scaled so that ranks that average theirs, as DistributedDataParallel does,
    get that of this mean. A rank's gradient of its class weights is whole; it must not be averaged.

    Args:
        embeddings: (B, D) of this rank
        labels: (B,) int64
        weight: (C, ...) of the classes that this rank holds
        logits_of: the logits of a chunk of them
        chunk: classes at a time
        shard: which classes they are; None: all
        nearest: so many of the nearest wrong classes have logits of their own kind: logits_of is told how near they are
    """
    size = len(embeddings)
    if shard is not None:
        embeddings, labels = _GatherRows.apply(embeddings, shard), _gather(labels, shard).flatten()  # type: ignore[no-untyped-call]
    first = 0 if shard is None else shard.first
    pieces = []
    for rows in torch.split(weight, chunk):
        pieces.append((rows, torch.where((labels >= first) & (labels < first + len(rows)), labels - first, -1)))
        first += len(rows)
    partial = len(pieces) > 1 or shard is not None
    floors = _floors(embeddings, pieces, logits_of, nearest, shard) if nearest and partial else None
    if len(pieces) == 1:
        parts = [_reduce(embeddings, *pieces[0], floors, logits_of)]
    else:
        parts = [checkpoint(_reduce, embeddings, *piece, floors, logits_of, use_reentrant=False) for piece in pieces]
    log_sums, target_logits, target_cosines, best_cosines = (torch.stack(part) for part in zip(*parts, strict=True))
    log_sum, target = log_sums.logsumexp(0), target_logits.sum(0)
    target_cosine, best_cosine = target_cosines.sum(0), best_cosines.amax(0)
    if shard is not None:
        all_sums = _gather(log_sum.detach(), shard)
        others = torch.arange(shard.size, device=log_sum.device)[:, None] != shard.rank
        log_sum = torch.where(others, all_sums, log_sum).logsumexp(0)
        target = target + (_gather(target.detach(), shard).sum(0) - target.detach())
        target_cosine, best_cosine = _gather(target_cosine, shard).sum(0), _gather(best_cosine, shard).amax(0)
    correct = target_cosine >= best_cosine
    if shard is not None:
        correct = correct[shard.rank * size : (shard.rank + 1) * size]
    return (log_sum - target).mean(), correct


@torch.no_grad()
def _floors(
    embeddings: Tensor,
    pieces: list[tuple[Tensor, Tensor]],
    logits_of: ClassLogits,
    nearest: int,
    shard: Shard | None,
) -> Tensor:
    """(B, 1): the cosine of the NEAREST-th of the nearest wrong classes; -inf where there are no more than that."""
    best = embeddings.new_full((len(embeddings), nearest), -torch.inf)
    for rows, targets in pieces:
        _, cosines = logits_of(embeddings, rows, targets, best[:, -1:])
        wrong = cosines.masked_fill(targets[:, None] == torch.arange(len(rows), device=rows.device), -torch.inf)
        best = torch.cat((best, wrong.topk(min(nearest, len(rows)), 1).values), 1).topk(nearest, 1).values
    if shard is not None:
        best = _gather(best, shard).transpose(0, 1).flatten(1).topk(nearest, 1).values
    return best[:, -1:]


def _reduce(
    embeddings: Tensor, rows: Tensor, targets: Tensor, floors: Tensor | None, logits_of: ClassLogits
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What is wanted of a chunk of classes, (B,) each.

    Logsumexp of the logits; logit and cosine of the target, 0 where it is elsewhere; the largest cosine.
    """
    logits, cosines = logits_of(embeddings, rows, targets, floors)
    here, place = targets >= 0, targets.clamp(min=0)[:, None]
    target = torch.where(here, logits.gather(1, place)[:, 0], 0)
    cosines = cosines.detach()
    return logits.logsumexp(1), target, torch.where(here, cosines.gather(1, place)[:, 0], 0), cosines.amax(1)


def _gather(values: Tensor, shard: Shard) -> Tensor:
    """(size, B) or (size, B, D): VALUES of every rank; no gradient."""
    gathered = [torch.empty_like(values) for _ in range(shard.size)]
    dist.all_gather(gathered, values.contiguous())
    return torch.stack(gathered)


class _GatherRows(torch.autograd.Function):
    """Rows of all ranks, one rank after the other.

    Backward: each rank knows the gradients through its own classes; their sum is the gradient of the mean over all
    ranks, times the number of ranks so that averaging what the ranks make of it gives it back.
    """

    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor, shard: Shard) -> Tensor:
        ctx.shard = shard  # type: ignore[attr-defined]
        return _gather(rows, shard).flatten(0, 1)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        shard: Shard = ctx.shard  # type: ignore[attr-defined]
        total = gradient.clone(memory_format=torch.contiguous_format)  # autograd may hand this gradient to others too
        dist.all_reduce(total)
        return shard.size * total.chunk(shard.size)[shard.rank], None
