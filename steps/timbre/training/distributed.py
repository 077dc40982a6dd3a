"""One process or many: the world as torchrun's environment has it, and what its ranks tell each other; for loop.py."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx

from timbre.utils.errors import DataError

AGREE_INTERVAL = 10  # steps between questions whether to stop


@dataclass(frozen=True)
class World:
    """This process, RANK of SIZE, and its device; CONTROL is a group that talks between CPUs, past the devices."""

    rank: int
    size: int
    device: torch.device
    control: dist.ProcessGroup | None = None

    @property
    def leads(self) -> bool:
        """True for the one rank that logs and saves."""
        return self.rank == 0

    def agree(self, number: int, step: int) -> int:
        """The largest NUMBER of all ranks, so that all stop at the same step; 0 at steps at which they do not ask."""
        if self.size == 1:
            return number
        if step % AGREE_INTERVAL:
            return 0
        tensor = torch.tensor(number)
        dist.all_reduce(tensor, dist.ReduceOp.MAX, self.control)
        return int(tensor)

    def mean(self, scalars: list[torch.Tensor]) -> torch.Tensor:
        """(len(scalars),) float32 on the CPU: the mean of each of SCALARS over the ranks. Waits for the device."""
        values = torch.stack(scalars).float().cpu() if scalars else torch.empty(0)
        if self.size > 1:
            dist.all_reduce(values, dist.ReduceOp.SUM, self.control)
            values /= self.size
        return values

    def gather(self, value: Any) -> list[Any]:
        """VALUE of every rank, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, self.control)
        return values

    def told(self, value: Any) -> Any:
        """VALUE of the rank that leads, on every rank."""
        return self.gather(value)[0]

    def collect_rows(self, rows: Tensor) -> Tensor | None:
        """ROWS of every rank, one rank after the other, on the CPU of the one that leads; None on the others."""
        counts = self.gather(len(rows))
        own = rows.detach().cpu().contiguous()
        if not self.leads:
            dist.send(own, 0, self.control)
            return None
        parts = [own]
        for rank, count in enumerate(counts[1:], 1):
            parts.append(own.new_empty(count, *own.shape[1:]))
            dist.recv(parts[-1], rank, self.control)
        return torch.cat(parts)

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.size > 1:
            dist.barrier(self.control)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def gather_rows(rows: Tensor) -> Tensor:
    """(size * B, ...): ROWS (B, ...) of every rank, by rank, for a loss that every rank then computes alike.

    Backward: each rank has the gradient of its own rows, times the number of ranks. So where ranks average the
    gradients of their parameters, as DistributedDataParallel does, they get those of one rank with all the rows.
    """
    gathered: Tensor = _GatherRows.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: FunctionCtx, gradient: Tensor) -> Tensor:
        size = dist.get_world_size()
        return size * gradient.chunk(size)[dist.get_rank()]


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """The world that torchrun started this process in, over nccl on GPUs and gloo on CPUs; alone without torchrun.

    Args:
        device: "cpu", "cuda", or "auto": cuda if there is one

    Raises:
        DataError: there is no GPU for this rank
    """
    rank, size, local = (int(os.environ.get(name, "0")) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.device("cpu")
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise DataError(f"rank {rank} needs GPU {local}, but there are {torch.cuda.device_count()}")
        where = torch.device("cuda", local)
        torch.cuda.set_device(where)
    if size <= 1:
        yield World(0, 1, where)
        return
    if rank:
        logging.disable(logging.WARNING)
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield World(rank, size, where, dist.new_group(backend="gloo"))
    finally:
        dist.destroy_process_group()
