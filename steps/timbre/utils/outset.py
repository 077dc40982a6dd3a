"""How a command begins: what ends it before `run_step` has begun is one line, too. Called by `import timbre`.

Nothing but the standard library is imported here, and nothing newer than Python 3.7: it tells who has no more.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType

ADVICE = "first `. ./path.sh`, which makes the environment and enters it"


def begin() -> None:
    """For the commands of steps/ and local/, and for no other program that imports the library.

    Ctrl-C ends it without a traceback from whatever is being imported; a module that is not installed is a line that
    says what to do. Processes that a command starts leave Ctrl-C to it.
    """
    steps = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    folders = (os.path.realpath(steps), os.path.realpath(os.path.join(steps, os.pardir, "local")))
    script = sys.argv[0] if sys.argv else ""
    if not os.path.isfile(script) or os.path.realpath(os.path.dirname(script)) not in folders:
        return
    if sys.version_info < (3, 11):  # noqa: UP036
        sys.exit(f"{_name()}: error: {sys.executable} is not Python 3.11 or newer: {ADVICE}")
    sys.excepthook = _tell_missing
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        is_worker = "--multiprocessing-fork" in sys.orig_argv
        signal.signal(signal.SIGINT, signal.SIG_IGN if is_worker else _end)


def _name() -> str:
    return os.path.basename(sys.argv[0])


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, f"{_name()}: error: interrupted\n".encode())
    os._exit(128 + number)  # nothing is to be tidied up yet, and an exception may be lost in what is imported


def _tell_missing(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, ModuleNotFoundError) and error.name and error.name.partition(".")[0] != "timbre":
        print(f"{_name()}: error: {sys.executable} has no module {error.name}: {ADVICE}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
