"""SIGTERM and SIGINT as a wish that the training loop grants between two steps. Used by loop.py."""

import signal
from types import FrameType, TracebackType
from typing import Self


class Interrupt:
    """While in its `with` block, the first SIGTERM or SIGINT only sets `signal`; a second one has its usual effect."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._catch) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
