"""From a typed function to a command: what every script of steps/ and local/ ends with."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from jsonargparse import auto_cli

from steps.utils.errors import DataError


def run_step(step: Callable[..., Any]) -> None:
    """Parses the command line from STEP's signature and docstring (jsonargparse) and runs it.

    Bad input (DataError, OSError) becomes one line on stderr and exit status 1; wrong options exit with 2.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    name = os.path.basename(sys.argv[0])  # noqa: PTH119
    try:
        auto_cli(step)
    except DataError as error:
        sys.exit(f"{name}: error: {error}")
    except BrokenPipeError:  # `step | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(f"{name}: error: {where}{error.strerror or error}")
    except MemoryError:
        sys.exit(f"{name}: error: out of memory")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted")
