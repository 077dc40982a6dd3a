"""What makes the host wait for a GPU, found without one: operations that it must see the result of, plain copies."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
# the host reads a number, or has to know how much comes out
WAITING = {
    aten._local_scalar_dense, aten.equal, aten.is_nonzero, aten.nonzero, aten.argwhere, aten.masked_select,
    aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.bincount, aten.histc, aten.is_pinned,
}  # fmt: skip


class Synchronisations(TorchDispatchMode):
    """Counts, while it is in force, what would make the host wait for a device.

    Attributes:
        found: by name of the operation
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        result = func(*args, **options)
        if self._waits(func, args, options, result):
            self.found[str(func)] += 1
        return result

    def _waits(self, func: Any, args: tuple[Any, ...], options: Mapping[str, Any], result: Any) -> bool:
        packet = func.overloadpacket
        if packet in (aten.index, aten.index_put, aten.index_put_):
            return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1])
        if packet is aten.repeat_interleave:
            return options.get("output_size") is None
        if packet is aten._to_copy:
            return args[0].device.type != result.device.type and not options.get("non_blocking")
        if packet is aten.copy_:
            non_blocking = args[2] if len(args) > 2 else options.get("non_blocking")
            return args[0].device.type != args[1].device.type and not non_blocking
        return packet in WAITING


def count(work: Callable[[], Any]) -> Counter[str]:
    """What in WORK makes the host wait."""
    with Synchronisations() as mode:
        work()
    return mode.found
