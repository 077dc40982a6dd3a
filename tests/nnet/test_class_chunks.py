"""Cross-entropy in chunks and over ranks is cross-entropy."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from timbre.nnet.objectives.class_chunks import Shard, _GatherRows, class_cross_entropy

B, D, C, NEAREST = 12, 6, 50, 4


def logits_of(embeddings: Tensor, rows: Tensor, targets: Tensor, floors: Tensor | None) -> tuple[Tensor, Tensor]:
    """A margin of 0.2 on the target, where it is among the rows, and one of -0.1 on the NEAREST wrong ones."""
    cosines = embeddings @ functional.normalize(rows).T
    own = targets[:, None] == torch.arange(len(rows))
    margins = 0.2 * own
    if floors is not None:
        margins = margins - 0.1 * (~own & (cosines >= floors))
    return 10 * (cosines - margins), cosines


def case() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    embeddings = functional.normalize(torch.randn(B, D, generator=generator)).requires_grad_()
    weight = torch.randn(C, D, generator=generator).requires_grad_()
    return embeddings, torch.randint(C, (B,), generator=generator), weight


def expected() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss, correct, and the gradients of embeddings and weights, the plain way."""
    embeddings, labels, weight = case()
    wrong = (embeddings @ functional.normalize(weight).T).detach().scatter(1, labels[:, None], -torch.inf)
    logits, cosines = logits_of(embeddings, weight, labels, wrong.sort(1).values[:, -NEAREST, None])
    loss = functional.cross_entropy(logits, labels)
    return loss.detach(), cosines.argmax(1) == labels, *torch.autograd.grad(loss, (embeddings, weight))


@pytest.mark.parametrize("chunk", [1, 7, 25, C - 1])
def test_chunks_change_nothing(chunk: int) -> None:
    embeddings, labels, weight = case()
    loss, correct = class_cross_entropy(embeddings, labels, weight, logits_of, chunk, None, NEAREST)
    exact = expected()
    assert torch.allclose(loss, exact[0], atol=1e-6) and torch.equal(correct, exact[1])
    for found, wanted in zip(torch.autograd.grad(loss, (embeddings, weight)), exact[2:], strict=True):
        assert torch.allclose(found, wanted, atol=1e-6)


def test_chunks_hold_no_matrix_of_all_classes() -> None:
    sizes: list[int] = []

    def note(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    for chunk, holds in ((5, False), (C, True)):
        sizes.clear()
        embeddings, labels, weight = case()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            class_cross_entropy(embeddings, labels, weight, logits_of, chunk, None)
        assert (max(sizes) >= B * C) is holds


def test_ranks_share_classes_evenly() -> None:
    shards = [Shard.of_rank(rank, 4, 10) for rank in range(4)]
    assert [shard.num_classes for shard in shards] == [2, 3, 2, 3]
    assert [shard.first for shard in shards] == [0, 2, 5, 7]


SCRIPT = """
import sys
import torch, torch.distributed as dist
sys.path.insert(0, sys.argv[4])
from test_class_chunks import B, C, NEAREST, case, logits_of
from timbre.nnet.objectives.class_chunks import Shard, _GatherRows, class_cross_entropy
rank, store, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
shard = Shard.of_rank(rank, 2, C)
embeddings, labels, weight = case()
mine = slice(rank * B // 2, (rank + 1) * B // 2)
held = weight.detach()[shard.first : shard.first + shard.num_classes].requires_grad_()
own = embeddings.detach()[mine].requires_grad_()
loss, correct = class_cross_entropy(own, labels[mine], held, logits_of, 7, shard, NEAREST)
gradients = torch.autograd.grad(loss, (own, held))
torch.save((loss.detach(), correct, *gradients), f"{out}.{rank}")
dist.barrier()
dist.destroy_process_group()  # its threads must not outlive the interpreter
"""


def test_two_ranks_with_half_of_the_classes_each(tmp_path: Path) -> None:
    here = Path(__file__).resolve().parent
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), str(tmp_path / "store"), str(tmp_path / "out"), str(here)],
            cwd=here.parent.parent,
        )
        for rank in range(2)
    ]
    assert [process.wait(120) for process in ranks] == [0, 0]
    first, second = (torch.load(tmp_path / f"out.{rank}") for rank in range(2))
    loss, correct, for_embeddings, for_weight = expected()
    assert torch.allclose(first[0], loss, atol=1e-6) and torch.equal(first[0], second[0])
    assert torch.equal(torch.cat((first[1], second[1])), correct)
    # twice that of the mean, since DistributedDataParallel halves it
    assert torch.allclose(torch.cat((first[2], second[2])) / 2, for_embeddings, atol=1e-6)
    assert torch.allclose(torch.cat((first[3], second[3])), for_weight, atol=1e-6)


def test_the_gradient_that_is_reduced_is_no_one_elses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autograd hands one tensor to all that wait for it: a sum in place would change what the others get."""
    monkeypatch.setattr("torch.distributed.all_gather", lambda parts, values: [part.copy_(values) for part in parts])
    monkeypatch.setattr("torch.distributed.all_reduce", lambda total: total.mul_(3))
    rows, other = (torch.randn(B, D, requires_grad=True) for _ in range(2))
    scaled = 2 * other  # made first, so that its gradient comes last
    total = _GatherRows.apply(rows, Shard(0, 1, 0, C)) + scaled
    total.backward(torch.ones(B, D))
    assert rows.grad is not None and other.grad is not None
    assert torch.equal(rows.grad, torch.full((B, D), 3.0)) and torch.equal(other.grad, torch.full((B, D), 2.0))
