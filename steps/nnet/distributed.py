"""One process or many: what torchrun's environment says, and the few collectives training needs. Used by train.py."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from steps.utils.errors import DataError


@dataclass(frozen=True)
class World:
    """This process (RANK of SIZE) and its device."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """True for the one rank that logs and saves."""
        return self.rank == 0

    def any(self, flag: int) -> int:
        """The largest FLAG of all ranks; does not wait for the device."""
        if self.size == 1:
            return flag
        tensor = torch.tensor(flag)
        dist.all_reduce(tensor, dist.ReduceOp.MAX, _control)
        return int(tensor)

    def gather(self, value: Any) -> list[Any]:
        """VALUE of every rank, by rank."""
        values: list[Any] = [value]
        if self.size > 1:
            values = [None] * self.size
            dist.all_gather_object(values, value, _control)
        return values

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean of VALUES over the ranks (on the CPU)."""
        if self.size == 1:
            return values
        dist.all_reduce(values, dist.ReduceOp.SUM, _control)
        return values / self.size

    def wait(self) -> None:
        """Until all ranks are here."""
        if self.size > 1:
            dist.barrier(_control)


_control: dist.ProcessGroup | None = None  # gloo: flags and numbers go between CPUs without touching the devices


@contextmanager
def join_world(device: str) -> Iterator[World]:
    """The world torchrun started this process in (nccl on GPUs, gloo on CPUs); alone without torchrun.

    Args:
        device: "auto", "cpu" or "cuda"

    Raises:
        DataError: a GPU is asked for and there is none for this rank
    """
    global _control
    rank, size, local = (
        int(os.environ.get(name, value)) for name, value in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0))
    )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise DataError(f"rank {rank} wants GPU {local}, but there are {torch.cuda.device_count()}")
        torch.cuda.set_device(local)
    where = torch.device(device, local) if device == "cuda" else torch.device("cpu")
    if size == 1:
        yield World(rank, size, where)
        return
    dist.init_process_group("nccl" if device == "cuda" else "gloo")
    _control = dist.new_group(backend="gloo")
    try:
        yield World(rank, size, where)
    finally:
        dist.destroy_process_group()
        _control = None
