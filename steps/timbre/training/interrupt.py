"""SIGTERM, SIGINT and SIGHUP as a wish that the training loop grants between two steps. Used by loop.py."""

import signal
from types import FrameType, TracebackType
from typing import Self

_NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Interrupt:
    """While in its `with` block, a signal only sets `signal`, however often it comes: torchrun and schedulers send two.

    Ctrl-\\ (SIGQUIT) ends training at once.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        heard = [number for number in _NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]  # as under nohup
        self._before = {number: signal.signal(number, self._catch) for number in heard}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self.signal = self.signal or number
